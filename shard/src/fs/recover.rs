//! Recovery: what the log holds and the ledger does not is folded before anything is served.
//!
//! Caller: [`super::filesystem::Filesystem::open`]. Every segment that the ledger says needs replay
//! is read, of whichever core; the records are applied in the order of their log sequence numbers by
//! the very code that serves, and folded. What was read may be in the disk's cache only (the daemon
//! was killed, not the machine, perhaps after a flush had failed), so it is written once more and made
//! durable before the ledger refers to it.

use super::checkpoint::{BATCH_EXTENTS, joined};
use super::filesystem::Shared;
use super::write::FILE_BYTES_MAX;
use crate::inode::{FileId, Ino, Inode, Kind};
use crate::ledger::apply::{Ledger, Poisoned};
use crate::ledger::command::{Done, Fold, Job, ReplayFrom, SegmentInfo};
use crate::ledger::reader::Reader;
use crate::live::Stamp;
use crate::status::Status;
use crate::table::Entry;
use cache::block::CHUNK_BYTES;
use cache::disk::{Disk, slot_name};
use cache::extent::{Extent, SegmentId};
use cache::frame::{Record, RecordKind};
use cache::replay::{ReplayError, ReplayScope, replay, rewrite};
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering;

/// What a recovery did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Segments read.
    pub segments: u64,
    /// Frames found whole.
    pub frames: u64,
    /// Records found.
    pub records: u64,
    /// Files folded.
    pub files: u64,
}

/// Why a filesystem cannot be recovered. Nothing is served then.
#[derive(Debug)]
pub enum RecoverError {
    /// The log cannot be read, or what was durable is damaged.
    Replay(ReplayError),
    /// A record of the log is sound but cannot be.
    Record {
        /// The file.
        ino: u64,
        /// The record.
        lsn: u64,
    },
    /// The ledger cannot be read or written, or it refuses what the log says of a file.
    Ledger(Status),
}

impl fmt::Display for RecoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecoverError::Replay(error) => write!(f, "recovery: {error}"),
            RecoverError::Record { ino, lsn } => {
                write!(f, "recovery: record {lsn} of the log, of inode {ino}, is not possible")
            }
            RecoverError::Ledger(status) => write!(f, "recovery: the ledger answers {status:?}"),
        }
    }
}

impl std::error::Error for RecoverError {}

impl From<ReplayError> for RecoverError {
    fn from(error: ReplayError) -> RecoverError {
        RecoverError::Replay(error)
    }
}

impl From<Status> for RecoverError {
    fn from(status: Status) -> RecoverError {
        RecoverError::Ledger(status)
    }
}

impl From<Poisoned> for RecoverError {
    fn from(Poisoned: Poisoned) -> RecoverError {
        RecoverError::Ledger(Status::Io)
    }
}

/// Replays and folds. Afterwards no segment needs replay. Nobody else uses the filesystem meanwhile.
pub async fn recover(shared: &Shared, ledger: &mut Ledger, disk: Rc<dyn Disk>) -> Result<Recovered, RecoverError> {
    let mut reader = Reader::new(ledger.store(), ledger.shared().clone());
    reader.refresh()?;
    let segments = reader.segments()?;
    for info in &segments {
        shared.slots.insert(info.id, info.slot);
    }
    let mut done = Recovered::default();
    let mut found = read_all(shared, &segments, &disk, &mut done).await?;
    found.sort_unstable_by_key(|(record, _)| record.lsn);
    if let Some((last, _)) = found.last() {
        let next = last.lsn.checked_add(1).ok_or(RecoverError::Record { ino: last.ino, lsn: last.lsn })?;
        shared.next_lsn.fetch_max(next, Ordering::Relaxed);
    }
    let mut files = BTreeSet::new();
    for (record, extent) in &found {
        if apply(shared, &reader, record, *extent)? {
            files.insert((Ino(record.ino), record.generation));
        }
    }
    done.files = files.len() as u64;
    fold(shared, ledger, files)?;
    forget(ledger, &segments)?;
    Ok(done)
}

/// All records of the segments that need replay, with the extents that they make.
async fn read_all(
    shared: &Shared,
    segments: &[SegmentInfo],
    disk: &Rc<dyn Disk>,
    done: &mut Recovered,
) -> Result<Vec<(Record, Option<Extent>)>, RecoverError> {
    let mut found = Vec::new();
    for info in segments {
        let Some(from_block) = info.replay_from else { continue };
        let scope = ReplayScope {
            filesystem: shared.identity,
            segment: info.id,
            slot: info.slot,
            from_block,
            segment_bytes: slot_bytes(shared, info.slot),
        };
        let replayed = replay(Rc::clone(disk), scope, |frame| {
            found.extend(frame.records.iter().map(|record| (*record, frame.extent(record))));
        });
        match replayed.await {
            Ok(end) => {
                done.segments += 1;
                done.frames += end.frames;
                if end.frames > 0 {
                    rewrite(disk, info.slot, from_block..end.end_block).await.map_err(ReplayError::Io)?;
                }
            }
            // The ledger gave the slot out and the power went before its file was made.
            Err(ReplayError::Io(error)) if error.kind() == io::ErrorKind::NotFound && is_unused(info) => {}
            Err(error) => return Err(error.into()),
        }
        disk.close(info.slot);
    }
    done.records = found.len() as u64;
    Ok(found)
}

fn is_unused(info: &SegmentInfo) -> bool {
    info.replay_from == Some(0) && info.live_bytes == 0
}

/// Segments may have had another size when this one was made.
fn slot_bytes(shared: &Shared, slot: u32) -> u64 {
    let file = std::fs::metadata(shared.log_directory().join(slot_name(slot)));
    let bytes = file.map_or(0, |file| file.len()).max(shared.options.segment_bytes);
    bytes.next_multiple_of(CHUNK_BYTES as u64)
}

/// Applies a record to its file's live view. Answers whether it counts: not when the ledger has it or
/// the file is gone.
fn apply(shared: &Shared, reader: &Reader, record: &Record, extent: Option<Extent>) -> Result<bool, RecoverError> {
    let impossible = || RecoverError::Record { ino: record.ino, lsn: record.lsn };
    let Some(inode) = reader.inode(Ino(record.ino))? else { return Ok(false) };
    if inode.generation != record.generation || record.lsn <= inode.folded_lsn {
        return Ok(false);
    }
    let end = record.offset.checked_add(record.bytes).filter(|end| *end <= FILE_BYTES_MAX);
    if inode.kind != Kind::File || end.is_none() {
        return Err(impossible());
    }
    shared.table.learn(reader.commit(), &inode);
    let is_current = match (record.kind, extent) {
        (RecordKind::Move, Some(moved)) => is_moved_from(reader, &inode, record, &moved)?,
        _ => true,
    };
    let applied = shared.table.with(inode.ino, |stripe| {
        let entry = stripe.entry(inode.ino)?;
        apply_to(entry, record, extent, is_current)
    });
    applied.ok_or_else(impossible)
}

/// Whether the ledger still has, unchanged, the extent whose bytes a record moved.
fn is_moved_from(reader: &Reader, inode: &Inode, record: &Record, moved: &Extent) -> Result<bool, Status> {
    let mut extents = reader.extents(inode.ino, record.offset, record.offset + record.bytes)?;
    let Some((offset, extent)) = extents.next().transpose()? else { return Ok(false) };
    Ok(offset == record.offset && extent.bytes == moved.bytes && extent.version == moved.version)
}

/// `None` when the record is not possible.
fn apply_to(entry: &mut Entry, record: &Record, extent: Option<Extent>, is_current: bool) -> Option<bool> {
    let stamp = Stamp {
        lsn: record.lsn,
        now: record.time,
        core: 0,
        // It is durable already.
        position: 0,
        clears_setid: record.clears_setid,
    };
    let size = entry.inode().size;
    if entry.live().is_some_and(|live| live.lsn() >= record.lsn) {
        return None;
    }
    match (record.kind, extent) {
        (RecordKind::Truncate, _) => {
            let (live, inode) = entry.live_mut();
            live.truncate(inode, record.offset, stamp);
        }
        (RecordKind::Data, Some(extent)) => {
            let (live, inode) = entry.live_mut();
            live.write(inode, record.offset, extent.bytes, extent.place, stamp);
        }
        (RecordKind::Move, Some(extent)) => {
            let shows = match entry.live() {
                Some(live) => live.shows_ledger(record.offset, extent.bytes),
                None => record.offset + extent.bytes <= size,
            };
            if !is_current || !shows {
                return Some(false);
            }
            entry.live_mut().0.moved(record.offset, extent, stamp);
        }
        (_, None) => return None,
    }
    Some(true)
}

/// Makes what the table now says the ledger's.
fn fold(shared: &Shared, ledger: &mut Ledger, files: BTreeSet<(Ino, u32)>) -> Result<(), RecoverError> {
    let mut batch = Vec::new();
    let mut extents = 0;
    for (ino, generation) in files {
        let captured = shared.table.with(ino, |stripe| {
            let entry = stripe.entry(ino)?;
            entry.live()?;
            Some(entry.live_mut().0.capture())
        });
        let Some(captured) = captured else { continue };
        let id = FileId { ino, generation };
        let found = joined(captured.extents);
        extents += found.len() + 1;
        batch.push(Fold { id, lsn: captured.lsn, cut: captured.cut, extents: found, attr: captured.attr });
        if extents >= BATCH_EXTENTS {
            send(ledger, Job::Fold { files: std::mem::take(&mut batch), from: None })?;
            extents = 0;
        }
    }
    send(ledger, Job::Fold { files: batch, from: None })
}

/// No segment that there is needs replay any more.
fn forget(ledger: &mut Ledger, segments: &[SegmentInfo]) -> Result<(), RecoverError> {
    let cores: BTreeSet<u16> =
        segments.iter().filter(|info| info.replay_from.is_some()).map(|info| info.core).collect();
    for core in cores {
        let from = Some(ReplayFrom { core, segment: SegmentId(u64::MAX), block: 0 });
        send(ledger, Job::Fold { files: Vec::new(), from })?;
    }
    Ok(())
}

fn send(ledger: &mut Ledger, job: Job) -> Result<(), RecoverError> {
    let commit = ledger.apply(&[job])?;
    ledger.publish(&commit);
    match commit.answers.first() {
        Some(Done::Folded) => Ok(()),
        Some(Done::Refused(status)) => Err(RecoverError::Ledger(*status)),
        _ => Err(RecoverError::Ledger(Status::ServerFault)),
    }
}
