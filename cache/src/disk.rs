//! The disk under a filesystem's log: slot files in one directory. Real: [`RingDisk`], O_DIRECT over
//! the core's own io_uring. Simulated: `sim::SimDisk`.
//!
//! Callers: the log (writes, flushes), the block cache (reads), replay (reads). Offsets and lengths
//! are multiples of 4 KiB. A dropped future does not stop what it began; its memory stays alive
//! until the kernel is done with it. No I/O error panics.
//!
//! Unsafe code: buffers handed to the kernel.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use io_uring::{IoUring, opcode, squeue, types};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{Mode, OFlags};

use crate::block::{Blank, CHUNK_BYTES, Piece};
use crate::extent::BLOCK_BYTES;
use crate::signal::Signal;
use crate::world::LocalFuture;

/// When a write counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stable {
    /// When a read would see it.
    Later,
    /// When it is durable. Says nothing about other writes.
    Now,
}

/// One filesystem's slot files, as one core sees them.
pub trait Disk {
    /// Makes the slot file, all of its bytes allocated; the file itself is durable afterwards. A
    /// slot file that is there is brought to the size.
    fn create(&self, slot: u32, bytes: u64) -> LocalFuture<io::Result<()>>;

    /// Writes zeros, so that later writes of the range need no allocation. Durable after a flush.
    fn zero(&self, slot: u32, range: Range<u64>) -> LocalFuture<io::Result<()>>;

    /// Writes the pieces one behind the other from `offset` on.
    fn write(&self, slot: u32, offset: u64, pieces: Vec<Piece>, stable: Stable) -> LocalFuture<io::Result<()>>;

    /// Fills a chunk from `offset` on; beyond the end of the file with zeros.
    fn read(&self, slot: u32, offset: u64, into: Blank) -> LocalFuture<io::Result<Blank>>;

    /// Makes durable every write of the slot that was finished before this was called.
    fn flush(&self, slot: u32) -> LocalFuture<io::Result<()>>;

    /// Closes the slot's file where it is open and idle; the next use opens it again.
    fn close(&self, slot: u32);
}

/// Name of a slot's file in the log directory.
pub fn slot_name(slot: u32) -> String {
    format!("seg.{slot:08}")
}

/// The disk ring of a core, shared by its filesystems. Made inside the core's monoio runtime.
#[derive(Clone)]
pub struct Ring {
    inner: Rc<RingInner>,
}

struct RingInner {
    uring: RefCell<IoUring>,
    ops: RefCell<Ops>,
    /// Rung when there is something to submit.
    work: Signal,
    /// Room for the wakers of one round of completions.
    woken: RefCell<Vec<Waker>>,
    /// Signalled by the kernel at every completion.
    event: OwnedFd,
}

/// Operations by their index, which is the kernel's `user_data`.
struct Ops {
    slab: Vec<Op>,
    free: Vec<u32>,
    /// Operations that the kernel has.
    in_flight: usize,
    in_flight_max: usize,
    /// Operations that wait for room in the kernel; bounded by the limits of those who ask.
    backlog: VecDeque<squeue::Entry>,
}

/// One operation.
enum Op {
    Free,
    Waiting {
        keep: Keep,
        waker: Option<Waker>,
        /// Nobody asks for the result any more.
        abandoned: bool,
    },
    Done {
        keep: Keep,
        result: i32,
    },
}

/// What the kernel reads from or writes to while an operation runs.
enum Keep {
    /// A file only.
    File { _file: Rc<SlotFile> },
    /// Memory that is written to the file.
    Pieces { _pieces: Rc<Vec<Piece>>, iovecs: Vec<libc::iovec>, _file: Rc<SlotFile> },
    /// Memory that is filled from the file.
    Blank { blank: Blank, _file: Rc<SlotFile> },
}

/// The result of an operation, to come.
struct Completion {
    ring: Rc<RingInner>,
    index: u32,
    taken: bool,
}

impl Ring {
    /// A ring that keeps up to `depth` operations in the kernel; more wait their turn.
    pub fn new(depth: u32) -> io::Result<Ring> {
        let uring = build(depth)?;
        let event = eventfd(0, EventfdFlags::CLOEXEC)?;
        uring.submitter().register_eventfd(event.as_raw_fd())?;
        let listener = monoio::fs::File::from_std(File::from(event.try_clone()?))?;
        let ops = Ops {
            slab: Vec::new(),
            free: Vec::new(),
            in_flight: 0,
            in_flight_max: depth as usize,
            backlog: VecDeque::new(),
        };
        let inner = Rc::new(RingInner {
            uring: RefCell::new(uring),
            ops: RefCell::new(ops),
            work: Signal::default(),
            woken: RefCell::default(),
            event,
        });
        monoio::spawn(submit_turns(Rc::downgrade(&inner)));
        monoio::spawn(reap_events(Rc::downgrade(&inner), listener));
        Ok(Ring { inner })
    }
}

/// Prefers a ring that interrupts nobody; older kernels get a plain one.
fn build(depth: u32) -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_coop_taskrun()
        .build(depth)
        .or_else(|_| IoUring::builder().build(depth))
}

/// Submits what a turn gathered, once the tasks that were ready have run.
async fn submit_turns(ring: Weak<RingInner>) {
    loop {
        poll_fn(|cx| match ring.upgrade() {
            Some(ring) => ring.work.poll_heard(cx),
            None => Poll::Ready(()),
        })
        .await;
        let Some(ring) = ring.upgrade() else { return };
        ring.submit();
    }
}

/// Wakes whoever waits for a completion.
async fn reap_events(ring: Weak<RingInner>, listener: monoio::fs::File) {
    let mut counter = vec![0u8; 8];
    loop {
        (_, counter) = listener.read_at(counter, 0).await;
        let Some(ring) = ring.upgrade() else { return };
        ring.reap();
    }
}

impl RingInner {
    /// Queues an operation for the end of the turn.
    fn start(self: &Rc<Self>, entry: squeue::Entry, keep: Keep) -> Completion {
        let index = self.ops.borrow_mut().insert(keep);
        self.ops.borrow_mut().backlog.push_back(entry.user_data(u64::from(index)));
        self.work.ring();
        Completion { ring: self.clone(), index, taken: false }
    }

    /// Hands the kernel what it has room for.
    fn submit(&self) {
        let mut uring = self.uring.borrow_mut();
        {
            let mut ops = self.ops.borrow_mut();
            let mut queue = uring.submission();
            while ops.in_flight < ops.in_flight_max && !queue.is_full() {
                let Some(entry) = ops.backlog.pop_front() else { break };
                // SAFETY: whatever the entry points to is owned by its `Keep` in the slab, which is
                // dropped only after the completion was seen (or never, see `Drop`).
                let pushed = unsafe { queue.push(&entry) };
                assert!(pushed.is_ok(), "the queue has room: it was asked");
                ops.in_flight += 1;
            }
        }
        if let Err(error) = uring.submit()
            && error.kind() != io::ErrorKind::Interrupted
        {
            // The kernel is short of memory or its completion queue is full: try next turn.
            self.work.ring();
        } else if !uring.submission().is_empty() {
            self.work.ring();
        }
        drop(uring);
        self.reap();
    }

    /// Takes completions and wakes their tasks.
    fn reap(&self) {
        let mut woken = self.woken.take();
        {
            let mut uring = self.uring.borrow_mut();
            let mut ops = self.ops.borrow_mut();
            for completion in uring.completion() {
                ops.in_flight -= 1;
                woken.extend(ops.complete(completion.user_data() as usize, completion.result()));
            }
            if !ops.backlog.is_empty() && ops.in_flight < ops.in_flight_max {
                self.work.ring();
            }
        }
        // Outside of the borrows: the last waker of a task drops the task and what it waits for.
        woken.drain(..).for_each(Waker::wake);
        self.woken.replace(woken);
    }
}

impl Drop for RingInner {
    /// The kernel may still write into our memory: waits until it is done. Where waiting fails, the
    /// memory is leaked rather than given back.
    fn drop(&mut self) {
        // Wakes the listening task, which finds the ring gone.
        let _ = rustix::io::write(&self.event, &[1u8; 8]);
        let uring = self.uring.get_mut();
        let ops = self.ops.get_mut();
        while ops.in_flight > 0 {
            match uring.submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            }
            ops.in_flight -= uring.completion().count().min(ops.in_flight);
        }
        if ops.in_flight > 0 {
            let _leaked = ManuallyDrop::new(std::mem::take(&mut ops.slab));
        }
    }
}

impl Ops {
    fn insert(&mut self, keep: Keep) -> u32 {
        let op = Op::Waiting { keep, waker: None, abandoned: false };
        match self.free.pop() {
            Some(index) => {
                self.slab[index as usize] = op;
                index
            }
            None => {
                self.slab.push(op);
                (self.slab.len() - 1) as u32
            }
        }
    }

    /// Notes a result; the answer is whom to wake.
    fn complete(&mut self, index: usize, result: i32) -> Option<Waker> {
        match std::mem::replace(&mut self.slab[index], Op::Free) {
            Op::Waiting { abandoned: true, .. } => {
                self.free.push(index as u32);
                None
            }
            Op::Waiting { keep, waker, .. } => {
                self.slab[index] = Op::Done { keep, result };
                waker
            }
            Op::Free | Op::Done { .. } => unreachable!("the kernel completes an operation once"),
        }
    }
}

impl Future for Completion {
    type Output = (io::Result<usize>, Keep);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ring = self.ring.clone();
        let mut ops = ring.ops.borrow_mut();
        let ops = &mut *ops;
        let op = &mut ops.slab[self.index as usize];
        if let Op::Waiting { waker, .. } = op {
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        let Op::Done { keep, result } = std::mem::replace(op, Op::Free) else {
            unreachable!("a completion is not polled after it was ready")
        };
        ops.free.push(self.index);
        self.taken = true;
        let result = usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result));
        Poll::Ready((result, keep))
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let mut ops = self.ring.ops.borrow_mut();
        let ops = &mut *ops;
        let op = &mut ops.slab[self.index as usize];
        if let Op::Waiting { abandoned, .. } = op {
            *abandoned = true;
        } else {
            *op = Op::Free;
            ops.free.push(self.index);
        }
    }
}

/// Slot files in a directory, through the core's ring.
pub struct RingDisk {
    shared: Rc<RingDiskShared>,
}

struct RingDiskShared {
    ring: Ring,
    directory: PathBuf,
    files: RefCell<HashMap<u32, Rc<SlotFile>>>,
    /// Cleared when the file system under it refuses O_DIRECT.
    direct: Cell<bool>,
}

struct SlotFile {
    fd: OwnedFd,
}

/// Most slot files that a core keeps open in one filesystem.
pub const FILES_OPEN_MAX: usize = 256;

impl RingDisk {
    /// The slot files in `directory`, which exists.
    pub fn new(ring: Ring, directory: &Path) -> RingDisk {
        let files = RefCell::new(HashMap::new());
        let shared = RingDiskShared { ring, directory: directory.to_owned(), files, direct: Cell::new(true) };
        RingDisk { shared: Rc::new(shared) }
    }
}

impl Disk for RingDisk {
    fn create(&self, slot: u32, bytes: u64) -> LocalFuture<io::Result<()>> {
        let disk = self.shared.clone();
        Box::pin(async move {
            let file = disk.open(slot, OFlags::CREATE)?;
            let fd = types::Fd(file.fd.as_raw_fd());
            match disk.run_plain(opcode::Fallocate::new(fd, bytes).build(), &file).await {
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                    rustix::fs::ftruncate(&file.fd, bytes)?;
                }
                result => {
                    result?;
                }
            }
            disk.run_plain(opcode::Fsync::new(fd).build(), &file).await?;
            disk.sync_directory().await
        })
    }

    fn zero(&self, slot: u32, range: Range<u64>) -> LocalFuture<io::Result<()>> {
        let disk = self.shared.clone();
        Box::pin(async move {
            let mut at = range.start;
            while at < range.end {
                let step = (range.end - at).min(ZERO_STEP_BYTES as u64) as usize;
                let mut pieces = vec![Piece::zeros(CHUNK_BYTES); step / CHUNK_BYTES];
                if !step.is_multiple_of(CHUNK_BYTES) {
                    pieces.push(Piece::zeros(step % CHUNK_BYTES));
                }
                disk.write(slot, at, pieces, Stable::Later).await?;
                at += step as u64;
            }
            Ok(())
        })
    }

    fn write(&self, slot: u32, offset: u64, pieces: Vec<Piece>, stable: Stable) -> LocalFuture<io::Result<()>> {
        let disk = self.shared.clone();
        Box::pin(async move { disk.write(slot, offset, pieces, stable).await })
    }

    fn read(&self, slot: u32, offset: u64, into: Blank) -> LocalFuture<io::Result<Blank>> {
        let disk = self.shared.clone();
        Box::pin(async move { disk.read(slot, offset, into).await })
    }

    fn flush(&self, slot: u32) -> LocalFuture<io::Result<()>> {
        let disk = self.shared.clone();
        Box::pin(async move {
            let file = disk.open(slot, OFlags::empty())?;
            let fd = types::Fd(file.fd.as_raw_fd());
            let flush = opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
            disk.run_plain(flush, &file).await
        })
    }

    fn close(&self, slot: u32) {
        let mut files = self.shared.files.borrow_mut();
        if files.get(&slot).is_some_and(|file| Rc::strong_count(file) == 1) {
            files.remove(&slot);
        }
    }
}

impl RingDiskShared {
    /// The slot's file, opened where it is not open yet. Opening is rare and done on the spot.
    fn open(&self, slot: u32, extra: OFlags) -> io::Result<Rc<SlotFile>> {
        if let Some(file) = self.files.borrow().get(&slot) {
            return Ok(file.clone());
        }
        let path = self.directory.join(slot_name(slot));
        let flags = OFlags::RDWR | OFlags::CLOEXEC | extra;
        let mode = Mode::RUSR | Mode::WUSR;
        let fd = match rustix::fs::open(&path, flags | self.direct_flag(), mode) {
            Err(rustix::io::Errno::INVAL) if self.direct.replace(false) => rustix::fs::open(&path, flags, mode),
            result => result,
        }?;
        let file = Rc::new(SlotFile { fd });
        let mut files = self.files.borrow_mut();
        if files.len() >= FILES_OPEN_MAX {
            let idle = files.iter().find(|(_, file)| Rc::strong_count(file) == 1).map(|(&slot, _)| slot);
            idle.and_then(|slot| files.remove(&slot));
        }
        files.insert(slot, file.clone());
        Ok(file)
    }

    fn direct_flag(&self) -> OFlags {
        if self.direct.get() { OFlags::DIRECT } else { OFlags::empty() }
    }

    /// An operation that touches no memory of ours.
    async fn run_plain(&self, entry: squeue::Entry, file: &Rc<SlotFile>) -> io::Result<()> {
        loop {
            let keep = Keep::File { _file: file.clone() };
            let (result, _) = self.ring.inner.start(entry.clone(), keep).await;
            match result {
                Err(error) if is_transient(&error) => {}
                result => return result.map(|_| ()),
            }
        }
    }

    /// Makes the names of the slot files durable.
    async fn sync_directory(&self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let file = Rc::new(SlotFile { fd: rustix::fs::open(&self.directory, flags, Mode::empty())? });
        let entry = opcode::Fsync::new(types::Fd(file.fd.as_raw_fd())).build();
        self.run_plain(entry, &file).await
    }

    async fn write(&self, slot: u32, offset: u64, pieces: Vec<Piece>, stable: Stable) -> io::Result<()> {
        let file = self.open(slot, OFlags::empty())?;
        let total: usize = pieces.iter().map(Piece::len).sum();
        assert!(offset.is_multiple_of(BLOCK_BYTES as u64));
        assert!(total.is_multiple_of(BLOCK_BYTES));
        let pieces = Rc::new(pieces);
        let mut written = 0;
        while written < total {
            let result = self.write_some(&file, offset, &pieces, written, stable).await;
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => written += bytes,
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes what lies behind the first `skip` bytes of `pieces`, or some of it.
    async fn write_some(
        &self,
        file: &Rc<SlotFile>,
        offset: u64,
        pieces: &Rc<Vec<Piece>>,
        skip: usize,
        stable: Stable,
    ) -> io::Result<usize> {
        let iovecs = ranges_behind(pieces, skip);
        let keep = Keep::Pieces { _pieces: pieces.clone(), iovecs, _file: file.clone() };
        let Keep::Pieces { iovecs, .. } = &keep else { unreachable!("made one line above") };
        let entry = opcode::Writev::new(types::Fd(file.fd.as_raw_fd()), iovecs.as_ptr(), iovecs.len() as u32)
            .offset(offset + skip as u64)
            .rw_flags(if stable == Stable::Now { libc::RWF_DSYNC } else { 0 })
            .build();
        self.ring.inner.start(entry, keep).await.0
    }

    async fn read(&self, slot: u32, offset: u64, into: Blank) -> io::Result<Blank> {
        let file = self.open(slot, OFlags::empty())?;
        let mut blank = into;
        let mut filled = 0;
        while filled < CHUNK_BYTES {
            let start = blank.start().wrapping_add(filled);
            let entry = opcode::Read::new(types::Fd(file.fd.as_raw_fd()), start, (CHUNK_BYTES - filled) as u32)
                .offset(offset + filled as u64)
                .build();
            let (result, keep) = self.ring.inner.start(entry, Keep::Blank { blank, _file: file.clone() }).await;
            let Keep::Blank { blank: back, .. } = keep else { unreachable!("an operation keeps what it was given") };
            blank = back;
            match result {
                Ok(bytes) => filled += bytes,
                Err(error) if is_transient(&error) => continue,
                Err(error) => return Err(error),
            }
            // Only the end of the file gives an odd count, or nothing.
            if result.is_ok_and(|bytes| bytes == 0 || !bytes.is_multiple_of(BLOCK_BYTES)) {
                break;
            }
        }
        blank.bytes_mut()[filled..].fill(0);
        Ok(blank)
    }
}

/// The kernel's view of `pieces` without their first `skip` bytes.
fn ranges_behind(pieces: &[Piece], skip: usize) -> Vec<libc::iovec> {
    let mut skip = skip;
    let mut iovecs = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let bytes = piece.as_slice();
        let step = skip.min(bytes.len());
        skip -= step;
        let rest = &bytes[step..];
        if !rest.is_empty() {
            iovecs.push(libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() });
        }
    }
    iovecs
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN))
}

/// Zeros written in one go.
const ZERO_STEP_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests;
