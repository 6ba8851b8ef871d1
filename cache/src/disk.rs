//! The disk under a filesystem's log: slot files in one directory. Real: [`RingDisk`], O_DIRECT over
//! the core's own io_uring. Simulated: `sim::SimDisk`.
//!
//! Callers: the log (writes, flushes), the block cache (reads), replay (reads). Offsets and lengths
//! are multiples of 4 KiB. A dropped future does not stop what it began; its memory stays alive
//! until the kernel is done with it. No I/O error panics.
//!
//! Unsafe code: buffers handed to the kernel.

use std::io;
use std::ops::Range;

use crate::block::{Blank, Piece};
use crate::world::LocalFuture;

/// When a write counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stable {
    /// When a read would see it.
    Later,
    /// When it, and with it every write of the slot that was finished before it was begun, is durable.
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
