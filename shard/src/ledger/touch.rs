//! Page faults of LMDB's map, taken by other threads: what a core is about to look up is looked up
//! before, in a snapshot of its own, for the sake of the faults alone. Only while the ledger has less
//! memory than it needs ([`Room::Short`]); otherwise nothing here costs anything.
//!
//! Callers: each core ([`TouchPort`]), before it serves a call; the threads ([`super::touchers`]) or the
//! simulator, which make the look-ups ([`Touches::serve`]). Nothing depends on the outcome: the core
//! looks again, and meets there whatever is wrong. Bounded: beyond [`TOUCHES_MAX`] a core looks itself.

use super::port::Doorbell;
use super::reader::Reader;
use crate::fs::filesystem::Shared;
use crate::inode::Ino;
use crate::status::Status;
use crossbeam::channel::{Receiver, Sender, unbounded};
use crossbeam::queue::ArrayQueue;
use futures_channel::oneshot;
use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// What is about to be looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Touch {
    /// An inode.
    Inode(Ino),
    /// A name in a directory, and the inode that it leads to.
    Name(Ino, Box<[u8]>),
    /// The extents of a file from here on.
    Extents(Ino, u64),
    /// The entries of a directory after a cookie.
    Entries(Ino, u64),
    /// The same, and their inodes.
    Objects(Ino, u64),
}

/// Whether the ledger's pages are in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is memory for all of them.
    Enough,
    /// Many are not there when they are needed.
    Short,
}

/// The look-ups that the cores of one filesystem wait for.
pub struct Touches {
    is_short: AtomicBool,
    orders: (Sender<Order>, Receiver<Order>),
    lanes: Box<[Lane]>,
}

/// What a thread is to do.
enum Order {
    Touch { core: u16, place: usize, touch: Touch },
    End,
}

/// The way back to a core.
struct Lane {
    done: ArrayQueue<usize>,
    doorbell: OnceLock<Doorbell>,
}

/// A core's end. Lives on the core.
pub struct TouchPort {
    shared: Arc<Shared>,
    core: u16,
    waiting: RefCell<Waiting>,
    recent: RefCell<Recent>,
}

/// Who waits at which place.
struct Waiting {
    senders: Vec<Option<oneshot::Sender<()>>>,
    free: Vec<usize>,
}

impl Touch {
    /// Makes it.
    pub(super) fn make(&self, reader: &Reader) -> Result<(), Status> {
        match self {
            Touch::Inode(ino) => reader.inode(*ino).map(drop),
            Touch::Name(dir, name) => {
                let dir = reader.inode(*dir)?.ok_or(Status::Stale)?;
                let found = match &name[..] {
                    b".." => Some(dir.parent),
                    name => reader.lookup(dir.ino, name)?.map(|found| found.ino),
                };
                found.map_or(Ok(()), |ino| reader.inode(ino).map(drop))
            }
            Touch::Extents(ino, start) => {
                reader.inode(*ino)?;
                let extents = reader.extents(*ino, *start, start.saturating_add(EXTENTS_BYTES))?;
                extents.take(ROWS_MAX).try_for_each(|extent| extent.map(drop))
            }
            Touch::Entries(dir, after) => {
                reader.inode(*dir)?;
                reader.entries(*dir, *after)?.take(ROWS_MAX).try_for_each(|entry| entry.map(drop))
            }
            Touch::Objects(dir, after) => {
                reader.inode(*dir)?;
                let mut entries = reader.entries(*dir, *after)?.take(ROWS_MAX);
                entries.try_for_each(|entry| reader.inode(entry?.ino).map(drop))
            }
        }
    }

    /// What tells it from others. Parts of a file that are touched together are one.
    fn mark(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        match self {
            Touch::Extents(ino, start) => Touch::Extents(*ino, start / EXTENTS_BYTES).hash(&mut hasher),
            touch => touch.hash(&mut hasher),
        }
        hasher.finish()
    }
}

impl Touches {
    /// For the cores 0 to `cores` - 1. There is room enough.
    pub fn new(cores: u16) -> Touches {
        let lane = |_| Lane { done: ArrayQueue::new(TOUCHES_MAX), doorbell: OnceLock::new() };
        // Each core sends no more than its places allow.
        Touches { is_short: AtomicBool::new(false), orders: unbounded(), lanes: (0..cores).map(lane).collect() }
    }

    /// Whether cores are to wait. While they are, somebody has to serve them.
    pub fn set(&self, room: Room) {
        self.is_short.store(room == Room::Short, Ordering::Relaxed);
    }

    /// As it was set.
    pub fn room(&self) -> Room {
        if self.is_short.load(Ordering::Relaxed) { Room::Short } else { Room::Enough }
    }

    /// Makes look-ups for as long as there are any, and waits for more until [`Touches::end`].
    pub fn serve(&self, reader: &mut Reader) {
        while let Ok(Order::Touch { core, place, touch }) = self.orders.1.recv() {
            self.answer(reader, core, place, &touch);
        }
    }

    /// Makes one, if there is one. For the simulator.
    pub fn serve_one(&self, reader: &mut Reader) -> bool {
        let Ok(Order::Touch { core, place, touch }) = self.orders.1.try_recv() else { return false };
        self.answer(reader, core, place, &touch);
        true
    }

    /// Ends `count` threads, after what was asked before.
    pub fn end(&self, count: usize) {
        (0..count).for_each(|_| self.order(Order::End));
    }

    fn order(&self, order: Order) {
        self.orders.0.send(order).expect("this holds the other end too");
    }

    fn answer(&self, reader: &mut Reader, core: u16, place: usize, touch: &Touch) {
        // Whoever waits looks again and meets the same error.
        let _ = reader.refresh().and_then(|()| touch.make(reader));
        reader.rest();
        let lane = &self.lanes[usize::from(core)];
        let pushed = lane.done.push(place);
        assert!(pushed.is_ok(), "a lane has room for all its places");
        if let Some(doorbell) = lane.doorbell.get() {
            doorbell();
        }
    }
}

impl TouchPort {
    /// The end of `core`, which `doorbell` wakes. Taken once for each core.
    pub fn new(shared: &Arc<Shared>, core: u16, doorbell: Doorbell) -> TouchPort {
        let is_first = shared.touches.lanes[usize::from(core)].doorbell.set(doorbell).is_ok();
        assert!(is_first, "a core takes its end once");
        let waiting =
            Waiting { senders: (0..TOUCHES_MAX).map(|_| None).collect(), free: (0..TOUCHES_MAX).rev().collect() };
        TouchPort { shared: Arc::clone(shared), core, waiting: RefCell::new(waiting), recent: RefCell::default() }
    }

    /// Whether there is anything to wait for at all.
    pub fn is_idle(&self) -> bool {
        self.shared.touches.room() == Room::Enough
    }

    /// Has `touch` made. `None` where it was made lately, so that its pages are there, and where too many
    /// are under way: then look at once.
    pub fn submit(self: &Rc<TouchPort>, touch: Touch) -> Option<impl Future<Output = ()> + use<>> {
        let mark = touch.mark();
        if self.recent.borrow().contains(mark) {
            return None;
        }
        let mut waiting = self.waiting.borrow_mut();
        let place = waiting.free.pop()?;
        let (sender, receiver) = oneshot::channel();
        waiting.senders[place] = Some(sender);
        self.shared.touches.order(Order::Touch { core: self.core, place, touch });
        let port = Rc::clone(self);
        Some(async move {
            // Without an answer the core faults itself.
            let _ = receiver.await;
            port.recent.borrow_mut().keep(mark);
        })
    }

    /// Lets those go on whose look-ups were made. Called when the core's doorbell rang.
    pub fn deliver(&self) {
        while let Some(place) = self.shared.touches.lanes[usize::from(self.core)].done.pop() {
            let mut waiting = self.waiting.borrow_mut();
            let sender = waiting.senders[place].take();
            waiting.free.push(place);
            drop(waiting);
            let sender = sender.expect("an answer names a place that is taken");
            // Whoever waited may have gone.
            let _ = sender.send(());
        }
    }
}

/// What was touched lately: until so many others were that its pages may be gone. Direct-mapped.
#[derive(Default)]
struct Recent {
    marks: Vec<u64>,
}

impl Recent {
    fn contains(&self, mark: u64) -> bool {
        self.marks.get(place(mark)) == Some(&mark)
    }

    fn keep(&mut self, mark: u64) {
        if self.marks.is_empty() {
            self.marks.resize(RECENT_MARKS, 0);
        }
        self.marks[place(mark)] = mark;
    }
}

fn place(mark: u64) -> usize {
    mark as usize % RECENT_MARKS
}

/// Look-ups that one core waits for at a time.
pub const TOUCHES_MAX: usize = 256;
/// Touches that a core remembers. Some three pages each: 200 MiB of the ledger.
const RECENT_MARKS: usize = 1 << 14;
/// Extents of so much of a file are touched together.
const EXTENTS_BYTES: u64 = 64 << 20;
/// Most rows of one touch: what a listing shows at a time.
const ROWS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::filesystem::Options;
    use crate::inode::ROOT;
    use crate::ledger::store::{LedgerOptions, RootDirectory, Store};
    use cache::world::Time;
    use std::path::Path;
    use std::pin::{Pin, pin};
    use std::sync::atomic::AtomicUsize;
    use std::task::{Context, Waker};

    fn shared() -> Arc<Shared> {
        let root = RootDirectory { mode: 0o755, uid: 0, gid: 0, now: Time::default() };
        Arc::new(Shared::new(0, 7, Path::new("nowhere"), Options::new(2, root), 1, 1, 0))
    }

    fn port(shared: &Arc<Shared>, core: u16) -> (Rc<TouchPort>, Arc<AtomicUsize>) {
        let rung = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&rung);
        let doorbell = Box::new(move || _ = count.fetch_add(1, Ordering::Relaxed));
        (Rc::new(TouchPort::new(shared, core, doorbell)), rung)
    }

    /// A fake of those who look: answers one order without looking, and says what it was.
    fn answer(shared: &Shared) -> Touch {
        let Ok(Order::Touch { core, place, touch }) = shared.touches.orders.1.try_recv() else { panic!("no order") };
        let lane = &shared.touches.lanes[usize::from(core)];
        lane.done.push(place).unwrap();
        lane.doorbell.get().unwrap()();
        touch
    }

    fn is_ready(future: Pin<&mut impl Future<Output = ()>>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn who_waits_goes_on_when_the_look_up_was_made_and_does_not_wait_for_it_again() {
        let shared = shared();
        let ((one, one_rung), (other, other_rung)) = (port(&shared, 0), port(&shared, 1));
        let mut first = pin!(one.submit(Touch::Inode(Ino(1))).unwrap());
        assert!(one.submit(Touch::Inode(Ino(1))).is_some(), "its pages are not there before they were looked up");
        let mut second = pin!(other.submit(Touch::Inode(Ino(2))).unwrap());
        assert!(!is_ready(first.as_mut()));
        assert_eq!(answer(&shared), Touch::Inode(Ino(1)));
        assert!(!is_ready(first.as_mut()), "nothing was delivered");
        one.deliver();
        other.deliver();
        assert!(is_ready(first.as_mut()) && !is_ready(second.as_mut()));
        assert_eq!((one_rung.load(Ordering::Relaxed), other_rung.load(Ordering::Relaxed)), (1, 0));
        assert!(one.submit(Touch::Inode(Ino(1))).is_none(), "its pages are there");
        assert!(one.submit(Touch::Inode(Ino(3))).is_some());
        assert!(other.submit(Touch::Inode(Ino(1))).is_some(), "a core knows what it waited for itself");
    }

    #[test]
    fn beyond_the_limit_nobody_waits_until_there_is_a_place_again() {
        let shared = shared();
        let (port, _) = port(&shared, 0);
        let inode = |ino| Touch::Inode(Ino(ino as u64));
        let waiting: Vec<_> = (0..TOUCHES_MAX).map(|ino| port.submit(inode(ino)).unwrap()).collect();
        assert!(port.submit(inode(TOUCHES_MAX)).is_none());
        // Whoever waited may have gone: the place comes back all the same.
        drop(waiting);
        answer(&shared);
        port.deliver();
        assert!(port.submit(inode(TOUCHES_MAX)).is_some());
        assert!(port.submit(inode(TOUCHES_MAX + 1)).is_none());
    }

    #[test]
    fn a_place_that_is_taken_again_is_nobody_elses() {
        let shared = shared();
        let (port, _) = port(&shared, 0);
        let submit = |ino: u64| Box::pin(port.submit(Touch::Inode(Ino(ino))).unwrap());
        let mut waiting: Vec<_> = (0..TOUCHES_MAX as u64).map(submit).collect();
        for round in 0..3 {
            answer(&shared);
            port.deliver();
            assert!(is_ready(waiting.remove(0).as_mut()), "the first one goes on");
            waiting.push(submit(1000 + round));
            assert!(waiting.iter_mut().all(|wait| !is_ready(wait.as_mut())), "and nobody else");
        }
        (0..TOUCHES_MAX).for_each(|_| _ = answer(&shared));
        port.deliver();
        assert!(waiting.iter_mut().all(|wait| is_ready(wait.as_mut())));
    }

    #[test]
    fn what_is_not_the_same_is_waited_for_and_a_part_of_a_file_only_once() {
        let name = |dir, name: &[u8]| Touch::Name(Ino(dir), name.into());
        let different = [
            Touch::Inode(Ino(1)),
            Touch::Inode(Ino(2)),
            name(1, b"a"),
            name(2, b"a"),
            name(1, b"b"),
            Touch::Extents(Ino(1), 0),
            Touch::Extents(Ino(1), EXTENTS_BYTES),
            Touch::Entries(Ino(1), 0),
            Touch::Entries(Ino(1), 1),
            Touch::Objects(Ino(1), 0),
        ];
        let marks: std::collections::HashSet<u64> = different.iter().map(Touch::mark).collect();
        assert_eq!(marks.len(), different.len());
        assert_eq!(Touch::Extents(Ino(1), EXTENTS_BYTES - 1).mark(), Touch::Extents(Ino(1), 0).mark());
    }

    #[test]
    fn look_ups_are_made_of_whatever_is_there_and_of_what_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let options = LedgerOptions::new(7, Time::default());
        let (store, _keeper) = Store::open(&folder.path().join("ledger"), &options).unwrap();
        let mut reader = Reader::new(&store, shared());
        reader.refresh().unwrap();
        let root = [
            Touch::Inode(ROOT),
            Touch::Name(ROOT, b".."[..].into()),
            Touch::Name(ROOT, b"missing"[..].into()),
            Touch::Name(ROOT, b""[..].into()),
            Touch::Extents(ROOT, u64::MAX),
            Touch::Entries(ROOT, u64::MAX),
            Touch::Objects(ROOT, 0),
            Touch::Inode(Ino(u64::MAX)),
        ];
        for touch in root {
            assert_eq!(touch.make(&reader), Ok(()), "{touch:?}");
        }
        assert_eq!(Touch::Name(Ino(99), b"a"[..].into()).make(&reader), Err(Status::Stale));
    }

    #[test]
    fn threads_end_after_what_was_asked_before() {
        let shared = shared();
        let folder = tempfile::tempdir().unwrap();
        let options = LedgerOptions::new(7, Time::default());
        let (store, _keeper) = Store::open(&folder.path().join("ledger"), &options).unwrap();
        let (port, rung) = port(&shared, 0);
        let mut waits: Vec<_> = (0..50).map(|ino| Box::pin(port.submit(Touch::Inode(Ino(ino))).unwrap())).collect();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| shared.touches.serve(&mut Reader::new(&store, shared.clone())));
            }
            shared.touches.end(2);
        });
        port.deliver();
        assert!(waits.iter_mut().all(|wait| is_ready(wait.as_mut())));
        assert_eq!(rung.load(Ordering::Relaxed), 50);
    }
}
