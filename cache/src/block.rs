//! Chunks: 64 KiB of aligned memory that hold sixteen blocks of the log, shared between cores.
//!
//! Callers: the block cache (fills chunks from disk), the log (writes its head's chunks), the
//! connections (send pieces of chunks). One rule makes sharing sound: **a block's bytes are written
//! once, before they are published, and never again while the chunk lives.** A chunk is made in
//! one of two ways: whole, by a read from disk into a [`Blank`]; or block by block, by the one
//! [`Head`] that the log holds, where each block is published by its verified bit.
//!
//! Unsafe code: raw memory, and the gather list that the kernel reads.

#![expect(clippy::disallowed_types, reason = "a chunk may come back on another thread")]

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use memmap2::MmapMut;
use parking_lot::Mutex;

use crate::checksum;
use crate::extent::BLOCK_BYTES;

/// Blocks of a chunk.
pub const CHUNK_BLOCKS: usize = 16;
/// Bytes of a chunk.
pub const CHUNK_BYTES: usize = CHUNK_BLOCKS * BLOCK_BYTES;
/// Most memory ranges handed to the kernel in one send (`IOV_MAX`).
pub const IOVECS_MAX: usize = 1024;
/// With this many bytes a send is long enough: what the kernel copies before other connections get
/// their turn.
pub const SEND_BYTES: usize = 1 << 20;

/// A fixed budget of chunk memory: one range of addresses, cut into slabs that the kernel can back by
/// huge pages, and those into chunks. The kernel gives memory to a slab when it is first touched, and
/// takes its time; where somebody calls [`Arena::prepare`], some were touched before they are needed.
/// Memory is kept as long as the arena or one of its chunks lives, and used again last in, first out.
#[derive(Clone)]
pub struct Arena {
    shared: Arc<ArenaShared>,
}

struct ArenaShared {
    stock: Mutex<Stock>,
    region: Region,
    chunks_max: usize,
    /// Woken whenever a slab was begun.
    preparer: OnceLock<Thread>,
}

/// What an arena has.
#[derive(Default)]
struct Stock {
    free: Vec<Memory>,
    /// What chunks are cut from.
    slab: Slab,
    /// Slabs that were touched, and not begun yet.
    ready: Vec<Slab>,
    /// Chunks that belong to a slab: the region behind them is untouched.
    claimed: usize,
    /// Chunks cut from slabs so far.
    made: usize,
}

/// The memory of an arena: zero where it was never written, as the kernel gives it.
struct Region {
    /// Aligned to a slab.
    start: NonNull<u8>,
    bytes: usize,
    /// Unmapped when the region is dropped.
    _map: MmapMut,
}

/// Up to 32 chunks of the region that were not used yet. Whoever holds it owns them alone.
#[derive(Default)]
struct Slab {
    first: usize,
    count: usize,
}

/// A chunk's bytes; whoever holds it owns them alone. They live as long as the arena's shared part,
/// which every holder keeps alive.
struct Memory {
    start: NonNull<u8>,
}

/// A chunk that nobody else sees yet: to be filled.
pub struct Blank {
    /// Taken on drop, to go back to the arena.
    memory: Option<Memory>,
    arena: Arc<ArenaShared>,
}

/// A chunk in the cache.
pub struct Chunk {
    blank: Blank,
    /// All bytes were there when the chunk was made; otherwise only verified blocks may be read.
    whole: bool,
    /// Bits 0-15: the block was checked against its checksum. Bits 16-31: as a frame header.
    verified: AtomicU32,
    /// Used again since it came or the eviction hand came by: what is read once does not drive out
    /// what is read often.
    touched: AtomicBool,
}

/// The writing end of a chunk that the log fills block by block. There is one per chunk.
pub struct Head {
    chunk: Arc<Chunk>,
}

/// A run of bytes inside one chunk, or of zeros. Keeps the chunk alive.
#[derive(Clone)]
pub struct Piece {
    /// `None`: zeros.
    chunk: Option<Arc<Chunk>>,
    offset: u32,
    bytes: u32,
}

impl Arena {
    /// An arena that never holds more than `budget_bytes`, rounded down to chunks.
    pub fn new(budget_bytes: usize) -> Arena {
        let chunks_max = budget_bytes / CHUNK_BYTES;
        let region = Region::new(chunks_max);
        let shared = ArenaShared { stock: Mutex::default(), region, chunks_max, preparer: OnceLock::new() };
        Arena { shared: Arc::new(shared) }
    }

    /// A chunk to fill; `None` when the budget is spent. Its bytes are whatever was there before.
    pub fn take(&self) -> Option<Blank> {
        let mut stock = self.shared.stock.lock();
        let kept = stock.free.pop();
        let begins = kept.is_none() && stock.slab.count == 0;
        let memory = match kept {
            Some(memory) => memory,
            None => stock.cut(&self.shared.region, self.shared.chunks_max)?,
        };
        drop(stock);
        if begins && let Some(preparer) = self.shared.preparer.get() {
            preparer.unpark();
        }
        Some(Blank { memory: Some(memory), arena: self.shared.clone() })
    }

    /// Makes one slab ready for [`Arena::take`], if one more should be: an eighth of the budget in any case,
    /// and as many as were used so far. So what is idle takes little, and what is busy soon has all.
    /// Answers whether there was anything to do; if not, wait for [`Arena::wake_to_prepare`].
    pub fn prepare(&self) -> bool {
        let Some(slab) = self.shared.stock.lock().claim_ahead(self.shared.chunks_max) else { return false };
        slab.touch(&self.shared.region);
        self.shared.stock.lock().ready.push(slab);
        true
    }

    /// Unparks `preparer` whenever there may be something to prepare. One thread in an arena's life.
    pub fn wake_to_prepare(&self, preparer: Thread) {
        let is_first = self.shared.preparer.set(preparer).is_ok();
        assert!(is_first, "one thread prepares an arena");
    }

    /// Chunks taken from the system so far.
    pub fn chunks_made(&self) -> usize {
        self.shared.stock.lock().made
    }

    /// Bytes that are ready and were not used yet.
    pub fn bytes_ready(&self) -> usize {
        let stock = self.shared.stock.lock();
        stock.ready.iter().map(|slab| slab.count * CHUNK_BYTES).sum()
    }

    /// Chunks of the budget.
    pub fn chunks_max(&self) -> usize {
        self.shared.chunks_max
    }
}

impl Stock {
    /// A chunk that was never used, if the budget allows one more: of a slab that is ready, if there is one.
    fn cut(&mut self, region: &Region, chunks_max: usize) -> Option<Memory> {
        if self.slab.count == 0 {
            self.slab = self.ready.pop().or_else(|| self.claim(chunks_max))?;
        }
        self.made += 1;
        Some(self.slab.cut(region))
    }

    /// A slab to make ready, if there are too few.
    fn claim_ahead(&mut self, chunks_max: usize) -> Option<Slab> {
        let wanted = self.made.max(chunks_max / READY_SHARE).div_ceil(SLAB_CHUNKS);
        if self.ready.len() < wanted { self.claim(chunks_max) } else { None }
    }

    /// The next untouched slab.
    fn claim(&mut self, chunks_max: usize) -> Option<Slab> {
        let count = SLAB_CHUNKS.min(chunks_max - self.claimed);
        let slab = Slab { first: self.claimed, count };
        self.claimed += count;
        (count > 0).then_some(slab)
    }
}

/// Chunks of a full slab: a huge page.
const SLAB_CHUNKS: usize = 32;
/// This part of the budget is ready before anything is used.
const READY_SHARE: usize = 8;

impl Region {
    fn new(chunks: usize) -> Region {
        let bytes = chunks.max(1) * CHUNK_BYTES;
        let align = if chunks >= SLAB_CHUNKS { SLAB_CHUNKS * CHUNK_BYTES } else { BLOCK_BYTES };
        let layout = Layout::from_size_align(bytes, align).expect("a power of two, and far from overflow");
        let Ok(mut map) = MmapMut::map_anon(bytes + align) else { handle_alloc_error(layout) };
        // Where it is refused, small pages do.
        #[cfg(not(miri))]
        let _ = map.advise(memmap2::Advice::HugePage);
        let skew = map.as_ptr().align_offset(align);
        let start = NonNull::from(&mut map[skew..skew + bytes]).cast();
        Region { start, bytes, _map: map }
    }

    /// Where `count` chunks from `first` on begin.
    fn chunks(&self, first: usize, count: usize) -> NonNull<u8> {
        assert!((first + count) * CHUNK_BYTES <= self.bytes);
        // SAFETY: the place lies inside the region, or at its end.
        unsafe { self.start.add(first * CHUNK_BYTES) }
    }
}

impl Slab {
    /// Writes a zero to each page of it, which makes the kernel give it memory.
    fn touch(&self, region: &Region) {
        let start = region.chunks(self.first, self.count);
        for at in (0..self.count * CHUNK_BYTES).step_by(BLOCK_BYTES) {
            // SAFETY: the place lies inside these chunks, which lie inside the region, and nobody but
            // this slab has them.
            unsafe { start.add(at).write_volatile(0) }
        }
    }

    /// Its next chunk: all of its bytes are initialised, to zeros.
    fn cut(&mut self, region: &Region) -> Memory {
        assert!(self.count > 0);
        let start = region.chunks(self.first, 1);
        self.first += 1;
        self.count -= 1;
        Memory { start }
    }
}

// SAFETY: a Region owns its memory; the pointer is not tied to a thread.
unsafe impl Send for Region {}
// SAFETY: a shared Region gives out nothing but addresses. Who may read or write there is decided by
// slabs and memories, each of which is the only one for its chunks.
unsafe impl Sync for Region {}
// SAFETY: a Memory owns its bytes alone; the pointer is not tied to a thread.
unsafe impl Send for Memory {}
// SAFETY: a shared Memory gives out nothing but its address. The types around it decide who may
// read or write the bytes: Blank by exclusive borrow, Chunk and Head by the rule of this module.
unsafe impl Sync for Memory {}

impl Blank {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: CHUNK_BYTES initialised bytes (the kernel zeroed them); exclusive to this Blank.
        unsafe { std::slice::from_raw_parts(self.start(), CHUNK_BYTES) }
    }

    /// The bytes, to be filled.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start(), CHUNK_BYTES) }
    }

    /// Publishes the chunk with all its bytes in place, none verified yet.
    pub fn whole(self) -> Arc<Chunk> {
        Arc::new(Chunk::new(self, true))
    }

    /// Turns it into a chunk that is written block by block.
    pub fn head(self) -> Head {
        Head { chunk: Arc::new(Chunk::new(self, false)) }
    }

    /// Address of the first byte, for the kernel to write to while the ring owns the Blank.
    pub(crate) fn start(&self) -> *mut u8 {
        let memory = self.memory.as_ref().expect("only drop takes the memory");
        memory.start.as_ptr()
    }
}

impl Drop for Blank {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.arena.stock.lock().free.push(memory);
        }
    }
}

impl Chunk {
    fn new(blank: Blank, whole: bool) -> Chunk {
        Chunk { blank, whole, verified: AtomicU32::new(0), touched: AtomicBool::new(false) }
    }

    /// Whether it came from disk as a whole.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether `count` blocks from `first` on are all verified.
    pub fn is_verified(&self, first: usize, count: usize) -> bool {
        assert!(first + count <= CHUNK_BLOCKS);
        let wanted = ((1u32 << count) - 1) << first;
        self.verified.load(Ordering::Acquire) & wanted == wanted
    }

    /// Whether `count` blocks from `first` on are all verified, and none is a frame header.
    pub fn is_payload(&self, first: usize, count: usize) -> bool {
        assert!(first + count <= CHUNK_BLOCKS);
        let wanted = ((1u32 << count) - 1) << first;
        self.verified.load(Ordering::Acquire) & (wanted | wanted << CHUNK_BLOCKS) == wanted
    }

    /// Whether block `index` is verified to be a frame header.
    pub fn is_header(&self, index: usize) -> bool {
        assert!(index < CHUNK_BLOCKS);
        self.verified.load(Ordering::Acquire) & (1 << (index + CHUNK_BLOCKS)) != 0
    }

    /// The bytes of a block; `None` while the log has not written it.
    pub fn block(&self, index: usize) -> Option<&[u8; BLOCK_BYTES]> {
        assert!(index < CHUNK_BLOCKS);
        if !self.whole && !self.is_verified(index, 1) {
            return None;
        }
        // SAFETY: the block lies inside the chunk, is aligned (a byte array needs none) and was
        // initialised. A whole chunk has no writer. A Head writes a block only while its verified
        // bit is clear, and the bit was seen set with Acquire: nobody writes these bytes again.
        Some(unsafe { &*self.blank.start().add(index * BLOCK_BYTES).cast::<[u8; BLOCK_BYTES]>() })
    }

    /// Checks a block of payload against its checksum and remembers success.
    pub fn verify(&self, index: usize, checksum: u32) -> bool {
        if self.is_verified(index, 1) {
            return !self.is_header(index);
        }
        let Some(block) = self.block(index) else { return false };
        let matches = checksum::crc32c(block) == checksum;
        if matches {
            self.set_verified(1 << index);
        }
        matches
    }

    /// Remembers that block `index` was decoded as a frame header. The caller read it by [`Chunk::block`].
    pub fn set_header(&self, index: usize) {
        assert!(self.block(index).is_some(), "what was not written cannot be a header");
        self.set_verified((1 << index) | (1 << (index + CHUNK_BLOCKS)));
    }

    /// Whether it was used since the last call. The eviction hand asks.
    pub(crate) fn take_touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed) && self.touched.swap(false, Ordering::Relaxed)
    }

    /// Notes a use. Reads first: a hot chunk's line stays shared between the cores.
    pub(crate) fn touch(&self) {
        if !self.touched.load(Ordering::Relaxed) {
            self.touched.store(true, Ordering::Relaxed);
        }
    }

    fn set_verified(&self, bits: u32) {
        self.verified.fetch_or(bits, Ordering::Release);
    }
}

impl Head {
    /// The chunk, to be shared.
    pub fn chunk(&self) -> &Arc<Chunk> {
        &self.chunk
    }

    /// Writes a block that was not published yet: `payload` (at most a block) and zeros behind it.
    /// Returns the checksum of the block. May be repeated until [`Head::publish`].
    pub fn write(&mut self, index: usize, payload: &[u8]) -> u32 {
        assert!(payload.len() <= BLOCK_BYTES);
        let block = self.unpublished(index);
        let (data, padding) = block.split_at_mut(payload.len());
        // Before the copy where that is the same: after it, the sum would wait for the stores.
        let whole = padding.is_empty().then(|| checksum::crc32c(payload));
        data.copy_from_slice(payload);
        padding.fill(0);
        whole.unwrap_or_else(|| checksum::crc32c(block))
    }

    /// As [`Head::write`], past the processor's caches: for what is long, and so not looked at again soon.
    pub fn stream(&mut self, index: usize, payload: &[u8; BLOCK_BYTES]) -> u32 {
        let block = self.unpublished(index);
        let checksum = checksum::crc32c(payload);
        copy_past_caches(payload, block);
        checksum
    }

    fn unpublished(&mut self, index: usize) -> &mut [u8; BLOCK_BYTES] {
        assert!(index < CHUNK_BLOCKS);
        assert!(!self.chunk.is_verified(index, 1), "a published block is never written again");
        // SAFETY: the block lies inside the chunk, at whose start is a page. Its verified bit is clear, so `Chunk::block`
        // gives nobody a reference, and this Head, borrowed exclusively, is the only writer.
        unsafe { &mut *self.chunk.blank.start().add(index * BLOCK_BYTES).cast() }
    }

    /// Publishes `count` written blocks from `first` on.
    pub fn publish(&mut self, first: usize, count: usize) {
        assert!(first + count <= CHUNK_BLOCKS);
        end_copies_past_caches();
        self.chunk.set_verified(((1u32 << count) - 1) << first);
    }

    /// Writes and publishes a frame header.
    pub fn write_header(&mut self, index: usize, header: &[u8; BLOCK_BYTES]) {
        self.write(index, header);
        self.chunk.set_verified((1 << index) | (1 << (index + CHUNK_BLOCKS)));
    }
}

/// Copies a block with stores that do not first read what they replace. Others see it in order only behind
/// [`end_copies_past_caches`].
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn copy_past_caches(from: &[u8; BLOCK_BYTES], to: &mut [u8; BLOCK_BYTES]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
    assert!(to.as_ptr().cast::<__m128i>().is_aligned());
    for at in (0..BLOCK_BYTES).step_by(size_of::<__m128i>()) {
        // SAFETY: 16 bytes inside each block, which are a multiple of that; the target is aligned; every x86-64
        // processor has these instructions.
        unsafe {
            let word = _mm_loadu_si128(from.as_ptr().add(at).cast());
            _mm_stream_si128(to.as_mut_ptr().add(at).cast(), word);
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn copy_past_caches(from: &[u8; BLOCK_BYTES], to: &mut [u8; BLOCK_BYTES]) {
    to.copy_from_slice(from);
}

/// Whatever was copied before is seen by everyone who sees a store that comes after.
fn end_copies_past_caches() {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every x86-64 processor has it.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

impl Piece {
    /// `bytes` bytes of `chunk` from `offset` on; all blocks that they touch are verified.
    pub fn new(chunk: Arc<Chunk>, offset: usize, bytes: usize) -> Piece {
        assert!(bytes > 0 && bytes <= CHUNK_BYTES && offset <= CHUNK_BYTES - bytes);
        let first = offset / BLOCK_BYTES;
        let last = (offset + bytes - 1) / BLOCK_BYTES;
        assert!(chunk.is_verified(first, last - first + 1), "only verified blocks leave the cache");
        Piece { chunk: Some(chunk), offset: offset as u32, bytes: bytes as u32 }
    }

    /// Zeros, at most a chunk of them.
    pub fn zeros(bytes: usize) -> Piece {
        assert!(bytes <= CHUNK_BYTES);
        Piece { chunk: None, offset: 0, bytes: bytes as u32 }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.bytes as usize
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        let Some(chunk) = &self.chunk else { return &ZEROS.0[..self.len()] };
        // SAFETY: `new` checked that the range lies inside the chunk and in verified blocks, which
        // nobody writes again while the chunk lives; the piece keeps it alive.
        unsafe {
            let start = chunk.blank.start().add(self.offset as usize);
            std::slice::from_raw_parts(start, self.len())
        }
    }
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Piece({} bytes)", self.bytes)
    }
}

/// What is sent where no bytes are stored. Aligned, so that it can be written with O_DIRECT too.
#[repr(align(4096))]
struct Zeros([u8; CHUNK_BYTES]);

static ZEROS: Zeros = Zeros([0; CHUNK_BYTES]);

/// What a connection is about to send: header bytes of its own, and pieces between them. Keeps its
/// memory when it is used again.
#[derive(Default)]
pub struct Gather {
    head: Vec<u8>,
    /// Each piece follows the header bytes below its mark.
    pieces: Vec<(usize, Piece)>,
    piece_bytes: usize,
    /// Bytes that the pieces hold in memory beside those that are sent.
    surplus_bytes: usize,
    iovecs: Vec<libc::iovec>,
}

/// A [`Gather`] on its way: what the kernel is given, and how far it got.
pub struct Sending {
    /// Neither changes while `iovecs` points into it.
    gather: Gather,
    /// Index of the first range that is not sent.
    next: usize,
    remaining: usize,
}

impl Gather {
    /// An empty list.
    pub fn new() -> Gather {
        Gather::default()
    }

    /// The header bytes so far; new ones are put at the end. What is appended after a push goes out
    /// after the pieces pushed. Bytes already there may be changed, never removed.
    pub fn head(&mut self) -> &mut Vec<u8> {
        &mut self.head
    }

    /// Sends `piece` after everything that is there.
    pub fn push(&mut self, piece: Piece) {
        if piece.is_empty() {
            return;
        }
        let before = self.pieces.last().and_then(|(_, before)| before.chunk.as_ref());
        match &piece.chunk {
            // A chunk stays as a whole for the least of its bytes.
            Some(chunk) if before.is_none_or(|before| !Arc::ptr_eq(before, chunk)) => {
                self.surplus_bytes += CHUNK_BYTES - piece.len();
            }
            Some(_) => self.surplus_bytes = self.surplus_bytes.saturating_sub(piece.len()),
            None => {}
        }
        self.surplus_bytes += PIECE_BYTES;
        self.piece_bytes += piece.len();
        self.pieces.push((self.head.len(), piece));
    }

    /// Bytes that it holds in memory: those to be sent, and the rest of the chunks that they lie in.
    pub fn held_bytes(&self) -> usize {
        self.bytes() + self.surplus_bytes
    }

    /// Bytes to be sent.
    pub fn bytes(&self) -> usize {
        self.head.len() + self.piece_bytes
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// Whether it has no memory of its own.
    pub fn is_bare(&self) -> bool {
        self.head.capacity() == 0
    }

    /// Closes the list for sending.
    pub fn seal(mut self) -> Sending {
        self.iovecs.clear();
        let mut sent = 0;
        for (mark, piece) in &self.pieces {
            let mark = (*mark).min(self.head.len());
            push_range(&mut self.iovecs, &self.head[sent.min(mark)..mark]);
            push_range(&mut self.iovecs, piece.as_slice());
            sent = mark;
        }
        push_range(&mut self.iovecs, &self.head[sent..]);
        let remaining = self.bytes();
        Sending { gather: self, next: 0, remaining }
    }

    fn clear(&mut self) {
        self.iovecs.clear();
        self.iovecs.shrink_to(GATHER_KEPT_PIECES);
        self.pieces.clear();
        self.pieces.shrink_to(GATHER_KEPT_PIECES);
        self.piece_bytes = 0;
        self.surplus_bytes = 0;
        self.head.clear();
        self.head.shrink_to(GATHER_KEPT_HEAD_BYTES);
    }
}

/// What a list that is used again keeps of its header's capacity, and of its lists.
const GATHER_KEPT_HEAD_BYTES: usize = 32 * 1024;
const GATHER_KEPT_PIECES: usize = 256;
/// What a piece costs in the lists.
const PIECE_BYTES: usize = size_of::<(usize, Piece)>() + 2 * size_of::<libc::iovec>();

fn push_range(iovecs: &mut Vec<libc::iovec>, bytes: &[u8]) {
    if !bytes.is_empty() {
        iovecs.push(libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
    }
}

impl Sending {
    /// Bytes not yet sent.
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// Notes that the kernel took `bytes` bytes.
    pub fn advance(&mut self, bytes: usize) {
        assert!(bytes <= self.remaining, "the kernel cannot send more than it was given");
        self.remaining -= bytes;
        let mut left = bytes;
        while left > 0 {
            let range = &mut self.gather.iovecs[self.next];
            let step = left.min(range.iov_len);
            range.iov_base = range.iov_base.wrapping_byte_add(step);
            range.iov_len -= step;
            left -= step;
            if range.iov_len == 0 {
                self.next += 1;
            }
        }
    }

    /// Bytes that it holds in memory beside those that are sent; see [`Gather::held_bytes`].
    pub fn surplus_bytes(&self) -> usize {
        self.gather.surplus_bytes
    }

    /// Gives the list back, empty, with its memory.
    pub fn reuse(mut self) -> Gather {
        self.gather.clear();
        self.gather
    }

    /// What is not yet sent, where it is in one place: answers without data.
    pub fn plain(&self) -> Option<&[u8]> {
        let head = &self.gather.head;
        self.gather.pieces.is_empty().then(|| &head[head.len() - self.remaining..])
    }

    /// A copy of what is not yet sent, for a simulated socket.
    #[cfg(any(test, feature = "sim"))]
    pub fn copied(&self) -> Vec<u8> {
        let Gather { head, pieces, .. } = &self.gather;
        let mut bytes = Vec::with_capacity(self.gather.bytes());
        let mut taken = 0;
        for (mark, piece) in pieces {
            bytes.extend_from_slice(&head[taken..*mark]);
            bytes.extend_from_slice(piece.as_slice());
            taken = *mark;
        }
        bytes.extend_from_slice(&head[taken..]);
        bytes.split_off(bytes.len() - self.remaining)
    }

    /// The ranges not yet sent, as many as go out at a time.
    fn ranges(&self) -> &[libc::iovec] {
        let rest = &self.gather.iovecs[self.next..];
        let rest = &rest[..rest.len().min(IOVECS_MAX)];
        let mut bytes = 0;
        let last = rest.iter().position(|range| {
            bytes += range.iov_len;
            bytes >= SEND_BYTES
        });
        last.map_or(rest, |last| &rest[..=last])
    }
}

// SAFETY: the ranges point into `head`'s heap memory and into chunks that `pieces` keeps alive.
// A Sending changes neither, moving it moves neither, and `iovecs` itself lives on the heap, so the
// pointer stays the same while the runtime owns the value.
unsafe impl monoio::buf::IoVecBuf for Sending {
    fn read_iovec_ptr(&self) -> *const libc::iovec {
        self.ranges().as_ptr()
    }

    fn read_iovec_len(&self) -> usize {
        self.ranges().len()
    }
}

#[cfg(test)]
mod tests;
