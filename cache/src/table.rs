//! The block cache: which chunks of the log are in memory, on whichever core.
//!
//! Callers: READ (through [`Volume`]), the log (puts its head's chunks in). The [`Directory`] is
//! shared by all cores; a core allocates from its own arena and evicts only what it put in itself,
//! by a clock hand that passes over chunks in use. Bytes are checked against the frame header
//! before they are handed out, once per block and life in memory.

#![expect(clippy::disallowed_types, reason = "the directory of blocks is where cores meet")]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_channel::oneshot;
use parking_lot::{Mutex, RwLock};

use crate::block::{Arena, Blank, CHUNK_BLOCKS, CHUNK_BYTES, Chunk, Piece};
use crate::disk::Disk;
use crate::extent::{BLOCK_BYTES, Extent, Place, SegmentId};
use crate::frame::{self, Frame};
use crate::world::World;

/// Names a chunk: 16 blocks of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkKey {
    /// The filesystem, as numbered by this process.
    pub filesystem: u32,
    /// The segment.
    pub segment: SegmentId,
    /// Number of the chunk within the segment.
    pub index: u32,
}

/// Why bytes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The disk failed.
    Io(std::io::ErrorKind),
    /// The bytes are not what was written, or the segment is gone. The caller looks at its extent
    /// again: when it moved meanwhile, this means nothing.
    Corrupt {
        /// The segment.
        segment: SegmentId,
        /// The block.
        block: u32,
    },
    /// All memory is in use; ask again later.
    NoMemory,
}

/// All chunks in memory, of all cores and filesystems.
pub struct Directory {
    stripes: Box<[Stripe]>,
}

/// A part of the directory with its own lock, on cache lines of its own.
#[repr(align(128))]
struct Stripe {
    chunks: Mutex<HashMap<ChunkKey, Arc<Chunk>, BuildHasherDefault<KeyHasher>>>,
}

/// One core's part of the cache.
pub struct BlockCache {
    directory: Arc<Directory>,
    world: Rc<dyn World>,
    arena: Arena,
    clock: RefCell<Clock>,
    /// Chunks on their way from disk, and who waits for each.
    fills: RefCell<HashMap<ChunkKey, Vec<oneshot::Sender<Filled>>>>,
    counters: Cell<CacheCounters>,
}

type Filled = Result<Arc<Chunk>, ReadError>;

/// The chunks that this core put in, and the hand that looks for one to evict.
#[derive(Default)]
struct Clock {
    slots: Vec<Option<(ChunkKey, Arc<Chunk>)>>,
    vacant: Vec<usize>,
    hand: usize,
}

/// Plain counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounters {
    /// Extents served from memory.
    pub hits: u64,
    /// Extents that were not.
    pub misses: u64,
    /// Chunks read from disk.
    pub fills: u64,
    /// Chunks evicted.
    pub evictions: u64,
    /// Blocks that did not match their checksum.
    pub corrupt_blocks: u64,
}

/// Which slot holds which segment, of one filesystem; shared by all cores.
#[derive(Default)]
pub struct Slots {
    by_segment: RwLock<HashMap<SegmentId, u32>>,
}

/// One filesystem as one core reads it.
#[derive(Clone)]
pub struct Volume {
    inner: Rc<VolumeInner>,
}

struct VolumeInner {
    cache: Rc<BlockCache>,
    disk: Rc<dyn Disk>,
    slots: Arc<Slots>,
    filesystem: u32,
    identity: u64,
}

/// Stripes of the directory.
pub const STRIPES: usize = 4096;
/// Most chunks on their way from disk before read-ahead is refused.
pub const PREFETCH_FILLS_MAX: usize = 64;
/// How often a fill asks for memory, a millisecond apart, before it gives up.
pub const MEMORY_TRIES_MAX: u32 = 100;
/// Least memory of a core's cache: the log's unwritten bytes and a few large reads have to fit.
pub const BUDGET_BYTES_MIN: usize = 16 * 1024 * 1024;

impl Directory {
    /// An empty directory, made once per process.
    pub fn new() -> Arc<Directory> {
        let stripe = || Stripe { chunks: Mutex::default() };
        Arc::new(Directory { stripes: std::iter::repeat_with(stripe).take(STRIPES).collect() })
    }

    /// The chunk, whichever core put it in.
    pub fn chunk(&self, key: ChunkKey) -> Option<Arc<Chunk>> {
        self.stripe(key).chunks.lock().get(&key).cloned()
    }

    /// Puts a chunk in unless there is one: the chunk that is there now.
    fn insert(&self, key: ChunkKey, chunk: &Arc<Chunk>) -> Arc<Chunk> {
        self.stripe(key).chunks.lock().entry(key).or_insert_with(|| chunk.clone()).clone()
    }

    /// Puts the log head's chunk in, whatever is there.
    fn replace(&self, key: ChunkKey, chunk: Arc<Chunk>) {
        self.stripe(key).chunks.lock().insert(key, chunk);
    }

    /// Takes out a chunk from disk that does not hold what it should. A head's chunk stays: it is
    /// the only place where its newest blocks are.
    fn discard(&self, key: ChunkKey, chunk: &Arc<Chunk>) {
        let mut chunks = self.stripe(key).chunks.lock();
        if chunk.is_whole() && chunks.get(&key).is_some_and(|listed| Arc::ptr_eq(listed, chunk)) {
            chunks.remove(&key);
        }
    }

    /// Takes the chunk out when nobody but the directory and the caller (with one reference) has it.
    /// New references come from the directory only, so the count cannot grow under the lock.
    fn remove_idle(&self, key: ChunkKey, chunk: &Arc<Chunk>) -> bool {
        let mut chunks = self.stripe(key).chunks.lock();
        let listed = chunks.get(&key).is_some_and(|listed| Arc::ptr_eq(listed, chunk));
        let idle = Arc::strong_count(chunk) == if listed { 2 } else { 1 };
        if idle && listed {
            chunks.remove(&key);
        }
        idle
    }

    fn stripe(&self, key: ChunkKey) -> &Stripe {
        let hash = BuildHasherDefault::<KeyHasher>::default().hash_one(key);
        // The map inside uses the low and the highest bits.
        &self.stripes[(hash >> 32) as usize % STRIPES]
    }
}

/// Multiplies and folds: keys are numbers that we gave out ourselves.
#[derive(Default)]
struct KeyHasher {
    state: u64,
}

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.state
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.state ^ value ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93_u128;
        self.state = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl BlockCache {
    /// A core's cache with a budget of memory, at least [`BUDGET_BYTES_MIN`] outside of tests.
    pub fn new(directory: Arc<Directory>, world: Rc<dyn World>, budget_bytes: usize) -> Rc<BlockCache> {
        BlockCache::over(directory, world, Arena::new(budget_bytes))
    }

    /// The same over an arena that somebody else prepares.
    pub fn over(directory: Arc<Directory>, world: Rc<dyn World>, arena: Arena) -> Rc<BlockCache> {
        Rc::new(BlockCache {
            directory,
            world,
            arena,
            clock: RefCell::default(),
            fills: RefCell::default(),
            counters: Cell::default(),
        })
    }

    /// What it counted.
    pub fn counters(&self) -> CacheCounters {
        self.counters.get()
    }

    /// The memory it draws from.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// A chunk to fill, if need be one that is taken from the cache; `None` when all are in use.
    pub fn allocate(&self) -> Option<Blank> {
        self.arena.take().or_else(|| if self.evict() { self.arena.take() } else { None })
    }

    /// Puts a chunk of the log's head into the cache. It stays while the log holds it.
    pub(crate) fn adopt_head(&self, key: ChunkKey, chunk: &Arc<Chunk>) {
        self.directory.replace(key, chunk.clone());
        self.clock.borrow_mut().put(key, chunk.clone());
    }

    /// Puts a chunk from disk into the cache. When another core was faster, its chunk is the answer.
    fn adopt_filled(&self, key: ChunkKey, chunk: Arc<Chunk>) -> Arc<Chunk> {
        let listed = self.directory.insert(key, &chunk);
        if Arc::ptr_eq(&listed, &chunk) {
            self.clock.borrow_mut().put(key, chunk);
        }
        listed
    }

    /// Evicts one chunk that was not used again since the hand's last visit.
    fn evict(&self) -> bool {
        let mut clock = self.clock.borrow_mut();
        for _ in 0..2 * clock.slots.len() {
            let place = clock.hand % clock.slots.len();
            clock.hand = place + 1;
            let Some((key, chunk)) = &clock.slots[place] else { continue };
            if !chunk.take_touched() && self.directory.remove_idle(*key, chunk) {
                clock.slots[place] = None;
                clock.vacant.push(place);
                self.count(|counters| counters.evictions += 1);
                return true;
            }
        }
        false
    }

    fn count(&self, change: impl FnOnce(&mut CacheCounters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }
}

impl Clock {
    /// A new chunk takes the place of the one evicted last: the hand has just passed it.
    fn put(&mut self, key: ChunkKey, chunk: Arc<Chunk>) {
        match self.vacant.pop() {
            Some(place) => self.slots[place] = Some((key, chunk)),
            None => self.slots.push(Some((key, chunk))),
        }
    }
}

impl Slots {
    /// No segments.
    pub fn new() -> Arc<Slots> {
        Arc::new(Slots::default())
    }

    /// Notes where a segment is. The ledger calls it when a segment is opened and at start.
    pub fn insert(&self, segment: SegmentId, slot: u32) {
        self.by_segment.write().insert(segment, slot);
    }

    /// Forgets a segment that was freed. What is cached of it ages out.
    pub fn remove(&self, segment: SegmentId) {
        self.by_segment.write().remove(&segment);
    }

    /// The slot of a segment.
    pub fn slot(&self, segment: SegmentId) -> Option<u32> {
        self.by_segment.read().get(&segment).copied()
    }
}

/// An extent that is wanted.
enum Sought {
    /// All of it is in memory and verified. The log's open frame has no header yet: none is needed.
    Here(Vec<Piece>),
    /// The chunk of the frame header, then those of the span.
    Chunks(Span, Vec<Wanted>),
}

/// A chunk that is wanted.
enum Wanted {
    Here(Arc<Chunk>),
    Coming(oneshot::Receiver<Filled>),
}

/// The blocks of an extent in the log.
#[derive(Clone, Copy)]
struct Span {
    segment: SegmentId,
    frame: u32,
    block: u32,
    skew: usize,
    bytes: usize,
}

/// The part of a span that lies in one chunk.
#[derive(Clone, Copy)]
struct Run {
    chunk: u32,
    /// First block within the chunk.
    first: usize,
    blocks: usize,
    /// First byte within the chunk.
    offset: usize,
    bytes: usize,
}

impl Volume {
    /// `filesystem` numbers the filesystem within this process; `identity` is the one on disk.
    pub fn new(cache: Rc<BlockCache>, disk: Rc<dyn Disk>, slots: Arc<Slots>, filesystem: u32, identity: u64) -> Volume {
        Volume { inner: Rc::new(VolumeInner { cache, disk, slots, filesystem, identity }) }
    }

    /// Puts the bytes of an extent (as clipped by the map; holes too) behind `pieces` when all of
    /// them are in memory and verified. Otherwise leaves `pieces` as they are and answers false.
    /// Allocates nothing but room in `pieces`.
    pub fn read(&self, extent: &Extent, pieces: &mut Vec<Piece>) -> bool {
        let hit = self.take_verified(extent, pieces);
        self.inner.cache.count(|counters| *(if hit { &mut counters.hits } else { &mut counters.misses }) += 1);
        hit
    }

    /// The bytes of `extents` in order, from memory or disk. All chunks are asked for at once. The
    /// total is bounded by the caller.
    pub async fn fetch(&self, extents: Vec<Extent>) -> Result<Vec<Piece>, ReadError> {
        let sought = extents.iter().map(|extent| self.seek(extent)).collect::<Result<Vec<_>, _>>()?;
        let mut pieces = Vec::new();
        for sought in sought {
            match sought {
                Sought::Here(here) => pieces.extend(here),
                Sought::Chunks(span, wanted) => {
                    let mut chunks = Vec::with_capacity(wanted.len());
                    for chunk in wanted {
                        chunks.push(chunk.arrive().await?);
                    }
                    self.gather(span, chunks, &mut pieces)?;
                }
            }
        }
        Ok(pieces)
    }

    /// Begins to read `extents` into memory without waiting; does nothing when the disk is busy.
    pub fn prefetch(&self, extents: Vec<Extent>) {
        if self.inner.cache.fills.borrow().len() >= PREFETCH_FILLS_MAX {
            return;
        }
        let volume = self.clone();
        // What goes wrong here goes wrong again for whoever really reads it.
        self.inner.cache.world.spawn(Box::pin(async move { drop(volume.fetch(extents).await) }));
    }

    /// The disk under it.
    pub fn disk(&self) -> &Rc<dyn Disk> {
        &self.inner.disk
    }

    /// The core's cache.
    pub fn cache(&self) -> &Rc<BlockCache> {
        &self.inner.cache
    }

    /// The filesystem's identity on disk.
    pub fn identity(&self) -> u64 {
        self.inner.identity
    }

    pub(crate) fn key(&self, segment: SegmentId, index: u32) -> ChunkKey {
        ChunkKey { filesystem: self.inner.filesystem, segment, index }
    }

    fn take_verified(&self, extent: &Extent, pieces: &mut Vec<Piece>) -> bool {
        let before = pieces.len();
        let span = match Span::of(extent) {
            Ok(Some(span)) => span,
            Ok(None) => {
                push_zeros(extent.bytes, pieces);
                return true;
            }
            Err(_) => return false,
        };
        for run in span.runs() {
            let chunk = self.inner.cache.directory.chunk(self.key(span.segment, run.chunk));
            let Some(chunk) = chunk.filter(|chunk| chunk.is_payload(run.first, run.blocks)) else {
                pieces.truncate(before);
                return false;
            };
            chunk.touch();
            pieces.push(Piece::new(chunk, run.offset, run.bytes));
        }
        true
    }

    /// Takes an extent that is in memory, and asks for the chunks of one that is not.
    fn seek(&self, extent: &Extent) -> Result<Sought, ReadError> {
        let mut here = Vec::new();
        if self.take_verified(extent, &mut here) {
            return Ok(Sought::Here(here));
        }
        let Some(span) = Span::of(extent)? else { unreachable!("a hole is always here") };
        let header = span.frame / CHUNK_BLOCKS as u32;
        let chunks = std::iter::once(header).chain(span.runs().map(|run| run.chunk));
        let wanted = chunks.map(|index| self.want_chunk(&span, index)).collect::<Result<_, _>>()?;
        Ok(Sought::Chunks(span, wanted))
    }

    fn want_chunk(&self, span: &Span, index: u32) -> Result<Wanted, ReadError> {
        let cache = &self.inner.cache;
        let key = self.key(span.segment, index);
        if let Some(chunk) = cache.directory.chunk(key) {
            chunk.touch();
            return Ok(Wanted::Here(chunk));
        }
        let (sender, receiver) = oneshot::channel();
        let mut fills = cache.fills.borrow_mut();
        if let Some(waiting) = fills.get_mut(&key) {
            waiting.push(sender);
            return Ok(Wanted::Coming(receiver));
        }
        let slot = self.inner.slots.slot(span.segment).ok_or(span.corrupt(span.block))?;
        fills.insert(key, vec![sender]);
        drop(fills);
        let volume = self.clone();
        cache.world.spawn(Box::pin(async move {
            let filled = volume.fill(key, slot).await;
            let waiting = volume.inner.cache.fills.borrow_mut().remove(&key);
            for sender in waiting.into_iter().flatten() {
                // Whoever stopped waiting does not need it.
                drop(sender.send(filled.clone()));
            }
        }));
        Ok(Wanted::Coming(receiver))
    }

    /// Reads a chunk from disk into the cache.
    async fn fill(&self, key: ChunkKey, slot: u32) -> Filled {
        let cache = &self.inner.cache;
        let mut tries = 0;
        let blank = loop {
            if let Some(blank) = cache.allocate() {
                break blank;
            }
            tries += 1;
            if tries >= MEMORY_TRIES_MAX {
                return Err(ReadError::NoMemory);
            }
            cache.world.sleep(Duration::from_millis(1)).await;
        };
        let offset = u64::from(key.index) * CHUNK_BYTES as u64;
        let blank = self.inner.disk.read(slot, offset, blank).await.map_err(|error| ReadError::Io(error.kind()))?;
        cache.count(|counters| counters.fills += 1);
        Ok(cache.adopt_filled(key, blank.whole()))
    }

    /// Verifies a span in its chunks (the header's first) and puts it behind `pieces`.
    fn gather(&self, span: Span, chunks: Vec<Arc<Chunk>>, pieces: &mut Vec<Piece>) -> Result<(), ReadError> {
        let mut chunks = chunks.into_iter();
        let header_chunk = chunks.next().expect("the header's chunk was asked for");
        let header = self.header(&span, &header_chunk)?;
        for (run, chunk) in span.runs().zip(chunks) {
            for index in run.first..run.first + run.blocks {
                let block = run.chunk * CHUNK_BLOCKS as u32 + index as u32;
                let checksum = frame::payload_checksum(header, block - span.frame - 1);
                if !checksum.is_some_and(|checksum| chunk.verify(index, checksum)) {
                    return Err(self.corrupt(&span, block, &chunk));
                }
            }
            pieces.push(Piece::new(chunk, run.offset, run.bytes));
        }
        Ok(())
    }

    /// Counts a bad block and takes its chunk out, so that the next try looks at the disk again.
    fn corrupt(&self, span: &Span, block: u32, chunk: &Arc<Chunk>) -> ReadError {
        let cache = &self.inner.cache;
        cache.count(|counters| counters.corrupt_blocks += 1);
        cache.directory.discard(self.key(span.segment, block / CHUNK_BLOCKS as u32), chunk);
        span.corrupt(block)
    }

    /// The span's frame header, verified now or earlier.
    fn header<'a>(&self, span: &Span, chunk: &'a Arc<Chunk>) -> Result<&'a [u8; BLOCK_BYTES], ReadError> {
        let index = span.frame as usize % CHUNK_BLOCKS;
        let corrupt = || self.corrupt(span, span.frame, chunk);
        let block = chunk.block(index).ok_or_else(corrupt)?;
        if !chunk.is_header(index) {
            let header = Frame::decode(block).map_err(|_| corrupt())?.header;
            let same_place = header.segment == span.segment && header.block == span.frame;
            if !same_place || header.filesystem != self.inner.identity {
                return Err(corrupt());
            }
            chunk.set_header(index);
        }
        Ok(block)
    }
}

impl Wanted {
    async fn arrive(self) -> Filled {
        match self {
            Wanted::Here(chunk) => Ok(chunk),
            Wanted::Coming(receiver) => receiver.await.unwrap_or(Err(ReadError::NoMemory)),
        }
    }
}

impl Span {
    /// The blocks of an extent; `None` for a hole. A place that cannot be is corrupt.
    fn of(extent: &Extent) -> Result<Option<Span>, ReadError> {
        let Place::Log { segment, frame, block, skew } = extent.place else { return Ok(None) };
        let corrupt = ReadError::Corrupt { segment, block };
        let bytes = usize::try_from(extent.bytes).map_err(|_| corrupt)?;
        let span = Span { segment, frame, block, skew: usize::from(skew), bytes };
        let inside_frame = block > frame && bytes > 0 && bytes <= frame::PAYLOAD_MAX && span.skew < BLOCK_BYTES;
        if !inside_frame || (block - frame) as usize + span.blocks() > frame::FRAME_BLOCKS_MAX + 1 {
            return Err(corrupt);
        }
        // Nothing below overflows.
        frame.checked_add(2 * frame::FRAME_BLOCKS_MAX as u32).ok_or(corrupt)?;
        Ok(Some(span))
    }

    fn blocks(&self) -> usize {
        (self.skew + self.bytes).div_ceil(BLOCK_BYTES)
    }

    fn runs(self) -> impl Iterator<Item = Run> {
        let end = self.block + self.blocks() as u32;
        let (mut block, mut skew, mut bytes) = (self.block, self.skew, self.bytes);
        std::iter::from_fn(move || {
            if block == end {
                return None;
            }
            let first = block as usize % CHUNK_BLOCKS;
            let blocks = (CHUNK_BLOCKS - first).min((end - block) as usize);
            let run = Run {
                chunk: block / CHUNK_BLOCKS as u32,
                first,
                blocks,
                offset: first * BLOCK_BYTES + skew,
                bytes: bytes.min(blocks * BLOCK_BYTES - skew),
            };
            block += blocks as u32;
            skew = 0;
            bytes -= run.bytes;
            Some(run)
        })
    }

    fn corrupt(&self, block: u32) -> ReadError {
        ReadError::Corrupt { segment: self.segment, block }
    }
}

fn push_zeros(bytes: u64, pieces: &mut Vec<Piece>) {
    let mut left = bytes;
    while left > 0 {
        let step = left.min(CHUNK_BYTES as u64);
        pieces.push(Piece::zeros(step as usize));
        left -= step;
    }
}

#[cfg(test)]
mod tests;
