//! Reads a segment's frames back, in order, and finds where they end.
//!
//! Callers: recovery (through the core's disk), verify and dump (through files, without a ring).
//! A frame counts when its header is sound, names this segment and block, follows the header before
//! it, and every payload block matches its checksum. The first that does not is the end: a torn
//! tail, unless a later frame says that it was durable; then it is corruption.

use std::fs::File;
use std::io;
use std::rc::Rc;

use crate::disk::Disk;
use crate::extent::SegmentId;
use crate::frame::{Header, Record};

/// What is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayScope {
    /// The filesystem's on-disk identity.
    pub filesystem: u64,
    /// The segment.
    pub segment: SegmentId,
    /// The slot that holds it.
    pub slot: u32,
    /// First block to replay: a frame header, or where the next one would be.
    pub from_block: u32,
    /// Bytes of a segment.
    pub segment_bytes: u64,
}

/// A frame that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayedFrame {
    /// Its header.
    pub header: Header,
    /// Its records.
    pub records: Vec<Record>,
}

/// Where the frames end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayEnd {
    /// Frames replayed.
    pub frames: u64,
    /// The block after the last whole frame.
    pub end_block: u32,
}

/// Why a segment cannot be replayed.
#[derive(Debug)]
pub enum ReplayError {
    /// The disk failed.
    Io(io::Error),
    /// A frame that was durable is damaged.
    Corrupt {
        /// The slot.
        slot: u32,
        /// The segment.
        segment: SegmentId,
        /// The block of the header that should be there.
        block: u32,
    },
}

/// Replays a segment through a disk; `on_frame` sees each frame in order.
pub async fn replay(
    _disk: Rc<dyn Disk>,
    _scope: ReplayScope,
    _on_frame: impl FnMut(&ReplayedFrame),
) -> Result<ReplayEnd, ReplayError> {
    todo!()
}

/// Replays a segment out of an open slot file, for offline tools.
pub fn scan(
    _file: &File,
    _scope: ReplayScope,
    _on_frame: impl FnMut(&ReplayedFrame),
) -> Result<ReplayEnd, ReplayError> {
    todo!()
}
