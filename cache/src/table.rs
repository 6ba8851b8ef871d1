//! The block cache: which chunks of the log are in memory, on whichever core.
//!
//! Callers: READ (through [`Volume`]), the log (puts its head's chunks in). The [`Directory`] is
//! shared by all cores; a core allocates from its own arena and evicts only what it put in itself,
//! by a clock hand that passes over chunks in use. Bytes are checked against the frame header
//! before they are handed out, once per block and life in memory.

use std::rc::Rc;
use std::sync::Arc;

use crate::block::Piece;
use crate::disk::Disk;
use crate::extent::{Extent, SegmentId};
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
pub struct Directory {}

/// One core's part of the cache.
pub struct BlockCache {}

/// Which slot holds which segment, of one filesystem; shared by all cores.
#[derive(Default)]
pub struct Slots {}

/// One filesystem as one core reads it.
#[derive(Clone)]
pub struct Volume {}

impl Directory {
    /// An empty directory, made once per process.
    pub fn new() -> Arc<Directory> {
        todo!()
    }
}

impl BlockCache {
    /// A core's cache with a budget of memory.
    pub fn new(_directory: Arc<Directory>, _world: Rc<dyn World>, _budget_bytes: usize) -> Rc<BlockCache> {
        todo!()
    }
}

impl Slots {
    /// No segments.
    pub fn new() -> Arc<Slots> {
        todo!()
    }

    /// Notes where a segment is. The ledger calls it when a segment is opened and at start.
    pub fn insert(&self, _segment: SegmentId, _slot: u32) {
        todo!()
    }

    /// Forgets a segment that was freed.
    pub fn remove(&self, _segment: SegmentId) {
        todo!()
    }

    /// The slot of a segment.
    pub fn slot(&self, _segment: SegmentId) -> Option<u32> {
        todo!()
    }
}

impl Volume {
    /// `filesystem` numbers the filesystem within this process; `identity` is the one on disk.
    pub fn new(
        _cache: Rc<BlockCache>,
        _disk: Rc<dyn Disk>,
        _slots: Arc<Slots>,
        _filesystem: u32,
        _identity: u64,
    ) -> Volume {
        todo!()
    }

    /// Puts the bytes of an extent (as clipped by the map; holes too) behind `pieces` when all of
    /// them are in memory and verified. Otherwise leaves `pieces` as they are and answers false.
    /// Allocates nothing but room in `pieces`.
    pub fn read(&self, _extent: &Extent, _pieces: &mut Vec<Piece>) -> bool {
        todo!()
    }

    /// The bytes of `extents` in order, from memory or disk.
    pub async fn fetch(&self, _extents: Vec<Extent>) -> Result<Vec<Piece>, ReadError> {
        todo!()
    }

    /// Begins to read `extents` into memory without waiting; does nothing when memory or disk are busy.
    pub fn prefetch(&self, _extents: &[Extent]) {
        todo!()
    }

    /// Drops what is cached of a segment that was freed.
    pub fn forget(&self, _segment: SegmentId) {
        todo!()
    }
}
