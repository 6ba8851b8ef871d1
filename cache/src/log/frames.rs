//! The frames of a log on their way to the disk.
//!
//! Callers: the log, and what seals its last frame.

use crate::block::Piece;
use crate::extent::{BLOCK_BYTES, SegmentId};
use crate::frame::Record;

/// The frame that takes records.
pub(super) struct OpenFrame {
    pub(super) header_block: u32,
    pub(super) records: Vec<Record>,
    /// Payload blocks of the records.
    pub(super) blocks: usize,
    /// One per payload block; those of a reservation are behind the committed ones.
    pub(super) checksums: Vec<u32>,
}

/// A frame that takes no more records.
pub(super) struct ClosedFrame {
    pub(super) segment: SegmentId,
    pub(super) slot: u32,
    pub(super) header_block: u32,
    pub(super) end_block: u32,
    /// Taken when the write is begun.
    pub(super) pieces: Vec<Piece>,
    pub(super) stage: Stage,
}

impl ClosedFrame {
    /// With its header.
    pub(super) fn bytes(&self) -> usize {
        (self.end_block - self.header_block) as usize * BLOCK_BYTES
    }
}

/// How far a closed frame is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Closed,
    Writing,
    Written,
    Durable,
}
