//! FSSTAT: how much there is and how much is free. RFC 1813 3.3.18.
//!
//! What is free is what can be written: room of the slots that are there less what lives in them, and
//! slots that may still be made under the capacity and on the disk. Bytes that wait for the cleaner
//! count as free, because it frees them when they are needed.

use super::column::Fs;
use super::filesystem::Shared;
use crate::ledger::store::Gauges;
use crate::status::Status;
use std::sync::atomic::Ordering;

/// What FSSTAT answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statfs {
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes free.
    pub free_bytes: u64,
    /// Bytes free for data; the rest is a reserve for truncation, recovery and cleaning.
    pub available_bytes: u64,
    /// Inodes in all. There is no fixed number: it follows from the space.
    pub total_files: u64,
    /// Inodes free.
    pub free_files: u64,
}

/// Looks at the ledger's figures and at the disk.
pub fn statfs(fs: &Fs) -> Result<Statfs, Status> {
    space(&fs.shared, fs.reader.borrow().gauges())
}

/// The same for who is not on a core, such as the daemon's metrics.
pub fn space(shared: &Shared, gauges: &Gauges) -> Result<Statfs, Status> {
    let disk = rustix::fs::statvfs(&shared.directory).map_err(|_| Status::Io)?;
    let disk_free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let options = &shared.options;
    let made = gauges.slots_made.load(Ordering::Relaxed).saturating_mul(options.segment_bytes);
    let may_grow = disk_free
        .saturating_sub(gauges.disk_reserve_bytes.load(Ordering::Relaxed))
        .min(options.capacity_bytes.saturating_sub(made));
    let total_bytes = made.saturating_add(may_grow);
    let free_bytes = total_bytes.saturating_sub(gauges.live_bytes.load(Ordering::Relaxed));
    let reserve = gauges.reserve_segments.load(Ordering::Relaxed).saturating_mul(options.segment_bytes);
    let free_files = free_bytes / INODE_BYTES;
    Ok(Statfs {
        total_bytes,
        free_bytes,
        available_bytes: free_bytes.saturating_sub(reserve),
        total_files: free_files.saturating_add(gauges.inodes.load(Ordering::Relaxed)),
        free_files,
    })
}

/// What an inode and its name take in the ledger, roughly.
const INODE_BYTES: u64 = 512;
