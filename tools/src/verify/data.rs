//! The bytes themselves: no two extents claim the same bytes of the log, the frames say of them what
//! the ledger says, and each block matches the checksum in its frame's header.
//!
//! Works segment by segment, several at once. What the ledger says of a segment is gathered for as many
//! segments at a time as fit into a fixed amount of memory; the table of extents is read once for each
//! such group.

use super::Depth;
use super::progress::{Progress, Unit};
use super::report::{Findings, Kind};
use super::slots::{Slot, Slots};
use super::source::Source;
use super::tree::{Known, Tree};
use cache::disk::slot_name;
use cache::extent::{BLOCK_BYTES, Place, SegmentId};
use cache::frame::{FRAME_BLOCKS_MAX, Frame, FrameError, Record, RecordKind};
use shard::inode::Ino;
use shard::ledger::check::ExtentRow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Extents kept in memory at a time, 48 bytes each.
const USES_MAX: u64 = 4 << 20;
/// Segments read at a time.
const THREADS_MAX: usize = 8;

/// Checks what the log holds for the ledger's extents.
pub(crate) fn check(
    source: &Source,
    tree: &Tree,
    slots: &Slots,
    depth: Depth,
    findings: &mut Findings,
    progress: &mut Progress,
) {
    let total = if depth == Depth::Data { findings.totals.live_bytes } else { 0 };
    progress.phase("data", total, Unit::Bytes);
    let mut group: BTreeMap<SegmentId, Vec<Use>> = BTreeMap::new();
    let mut extents = 0;
    for slot in slots.iter().filter(|slot| slot.extents > 0 && slot.blocks.is_some()) {
        if extents + slot.extents > USES_MAX && !group.is_empty() {
            check_group(source, tree, slots, depth, std::mem::take(&mut group), findings, progress);
            extents = 0;
        }
        extents += slot.extents;
        group.insert(slot.info.id, Vec::new());
    }
    check_group(source, tree, slots, depth, group, findings, progress);
}

/// An extent of the ledger, seen from its segment.
#[derive(Clone, Copy)]
struct Use {
    ino: Ino,
    offset: u64,
    version: u64,
    /// Byte of the segment where it begins.
    start: u64,
    bytes: u32,
    frame: u32,
}

impl Use {
    /// `None` for a hole, and for what cannot be and was reported.
    fn of(row: &ExtentRow) -> Option<(SegmentId, Use)> {
        let Place::Log { segment, frame, block, skew } = row.extent.place else { return None };
        let start = u64::from(block) * BLOCK_BYTES as u64 + u64::from(skew);
        let found = Use {
            ino: row.ino,
            offset: row.offset,
            version: row.extent.version,
            start,
            bytes: u32::try_from(row.extent.bytes).ok()?,
            frame,
        };
        let blocks = found.blocks();
        let is_inside = block > frame && blocks.end - blocks.start <= FRAME_BLOCKS_MAX as u64;
        (is_inside && blocks.end - u64::from(frame) - 1 <= FRAME_BLOCKS_MAX as u64).then_some((segment, found))
    }

    fn end(&self) -> u64 {
        self.start + u64::from(self.bytes)
    }

    /// Blocks of the segment that it touches.
    fn blocks(&self) -> std::ops::Range<u64> {
        self.start / BLOCK_BYTES as u64..self.end().div_ceil(BLOCK_BYTES as u64)
    }

    /// The range of the file.
    fn range(&self) -> String {
        format!("bytes [{}, {})", self.offset, self.offset + u64::from(self.bytes))
    }
}

fn check_group(
    source: &Source,
    tree: &Tree,
    slots: &Slots,
    depth: Depth,
    mut group: BTreeMap<SegmentId, Vec<Use>>,
    findings: &mut Findings,
    progress: &mut Progress,
) {
    if group.is_empty() {
        return;
    }
    // Rows that do not check were reported.
    for row in source.rows.extents().map_while(|row| match row {
        Err(shard::ledger::check::Damage::Lmdb(_)) => None,
        row => Some(row.ok()),
    }) {
        if let Some((segment, found)) = row.as_ref().and_then(Use::of)
            && let Some(uses) = group.get_mut(&segment)
        {
            uses.push(found);
        }
    }
    let checker = Checker { filesystem: source.meta.filesystem, tree, slots, depth, progress: Mutex::new(progress) };
    let found = checker.check_all(group, &findings.share);
    found.into_iter().for_each(|found| findings.join(found));
}

/// What all threads need to check segments.
struct Checker<'a> {
    filesystem: u64,
    tree: &'a Tree,
    slots: &'a Slots,
    depth: Depth,
    progress: Mutex<&'a mut Progress>,
}

impl Checker<'_> {
    /// What is found in each segment, by name.
    fn check_all(&self, group: BTreeMap<SegmentId, Vec<Use>>, share: &str) -> Vec<Findings> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX).min(group.len());
        let queue = Mutex::new(group.into_iter().enumerate());
        let found = Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some((index, (segment, uses))) = locked(&queue).next() {
                        let mut findings = Findings::new(share);
                        self.check(segment, uses, &mut findings);
                        locked(&found).insert(index, findings);
                    }
                });
            }
        });
        found.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
    }

    fn check(&self, segment: SegmentId, mut uses: Vec<Use>, findings: &mut Findings) {
        let Some(slot) = self.slots.segment(segment) else { return };
        uses.sort_unstable_by_key(|found| (found.start, found.ino, found.offset));
        overlaps(slot, &uses, findings);
        if self.depth == Depth::Data {
            match self.slots.open(slot) {
                Ok(file) => Segment { checker: self, slot, file }.check(&uses, findings),
                Err(error) => findings.problem(Kind::Slot, format!("{}: {error}", slot_name(slot.info.slot))),
            }
        }
    }
}

/// A thread that panicked ends the scope anyway.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sorted by where they begin, no extent may begin before all earlier ones have ended.
fn overlaps(slot: &Slot, uses: &[Use], findings: &mut Findings) {
    let Some((mut furthest, rest)) = uses.split_first() else { return };
    for found in rest {
        if found.start < furthest.end() {
            let what = format!(
                "{} share bytes of {} (byte {}) with {} of inode {}",
                found.range(),
                slot_name(slot.info.slot),
                found.start,
                furthest.range(),
                furthest.ino.0
            );
            findings.wrong(Kind::Overlap, found.ino, what);
        }
        if found.end() > furthest.end() {
            furthest = found;
        }
    }
}

/// A segment whose frames are read.
struct Segment<'c, 'a> {
    checker: &'c Checker<'a>,
    slot: &'c Slot,
    file: File,
}

impl Segment<'_, '_> {
    fn check(&self, uses: &[Use], findings: &mut Findings) {
        let mut payload = vec![0; FRAME_BLOCKS_MAX * BLOCK_BYTES];
        for frame in uses.chunk_by(|left, right| left.frame == right.frame) {
            self.frame(frame, &mut payload, findings);
            let bytes = frame.iter().map(|found| u64::from(found.bytes)).sum();
            locked(&self.checker.progress).bytes(bytes);
        }
    }

    /// The extents of one frame.
    fn frame(&self, uses: &[Use], payload: &mut [u8], findings: &mut Findings) {
        let at = uses[0].frame;
        let mut block = [0; BLOCK_BYTES];
        let read = self.file.read_exact_at(&mut block, u64::from(at) * BLOCK_BYTES as u64);
        let frame = match read.map_err(|error| error.to_string()).and_then(|()| self.header(&block, at)) {
            Ok(frame) => frame,
            Err(why) => {
                for found in uses {
                    let what = format!("{}: their frame in {}, block {at}: {why}", found.range(), self.name());
                    findings.wrong(Kind::Frame, found.ino, what);
                }
                return;
            }
        };
        let records: Vec<Record> = frame.records().collect();
        for found in uses {
            if let Err(why) = self.agrees(&records, found) {
                let what = format!("{}: {}, frame {at}: {why}", found.range(), self.name());
                findings.wrong(Kind::Frame, found.ino, what);
            }
        }
        self.payload(&frame, uses, payload, findings);
    }

    fn header<'b>(&self, block: &'b [u8; BLOCK_BYTES], at: u32) -> Result<Frame<'b>, String> {
        let frame = Frame::decode(block).map_err(|error| match error {
            FrameError::Magic => "there is no header".to_owned(),
            FrameError::Version(version) => format!("a header of format version {version}"),
            FrameError::Checksum => "the header fails its checksum".to_owned(),
            FrameError::Field => "fields of the header contradict each other".to_owned(),
        })?;
        let header = &frame.header;
        if header.segment != self.slot.info.id || header.block != at {
            return Err(format!("the header belongs to segment {}, block {}", header.segment.0, header.block));
        }
        if header.filesystem != self.checker.filesystem {
            return Err(format!("the header belongs to filesystem {:016x}", header.filesystem));
        }
        Ok(frame)
    }

    /// Whether records of the frame wrote these bytes of this file, whole and not later than the
    /// ledger says. Neighbours in the file and in the frame are one extent, of the newest version.
    fn agrees(&self, records: &[Record], found: &Use) -> Result<(), String> {
        let mut reached = found.start;
        for record in records.iter().filter(|record| record.kind != RecordKind::Truncate) {
            let first_block = u64::from(found.frame) + 1 + u64::from(record.first_block);
            let start = first_block * BLOCK_BYTES as u64 + u64::from(record.skew);
            let end = start + record.bytes;
            if end <= reached || start >= found.end() {
                continue;
            }
            if start > reached {
                break;
            }
            if record.ino != found.ino.0 {
                return Err(format!("the log says that they are of inode {}", record.ino));
            }
            if self.generation(found.ino).is_some_and(|generation| generation != record.generation) {
                return Err(format!("the log says that they are of generation {}", record.generation));
            }
            if record.offset.wrapping_sub(start) != found.offset.wrapping_sub(found.start) {
                return Err(format!("the log says that they were written to offset {}", record.offset));
            }
            let version = if record.kind == RecordKind::Move { record.aux } else { record.lsn };
            if version > found.version {
                return Err(format!("the log has version {version}, the ledger {}", found.version));
            }
            reached = end;
        }
        match reached >= found.end() {
            true => Ok(()),
            false => Err("no record of the frame wrote them".into()),
        }
    }

    fn generation(&self, ino: Ino) -> Option<u32> {
        match self.checker.tree.known(ino) {
            Known::Node(node) => Some(node.generation),
            Known::Orphan => self.checker.tree.orphans.get(&ino).copied(),
            Known::Missing | Known::Unclear => None,
        }
    }

    /// Reads the blocks that are in use, and compares each with its checksum.
    fn payload(&self, frame: &Frame<'_>, uses: &[Use], payload: &mut [u8], findings: &mut Findings) {
        let first = uses.iter().map(|found| found.blocks().start).min().unwrap_or(0);
        let last = uses.iter().map(|found| found.blocks().end).max().unwrap_or(first);
        let bytes = (last - first) as usize * BLOCK_BYTES;
        let read = read_up_to(&self.file, &mut payload[..bytes], first * BLOCK_BYTES as u64);
        let (got, error) = match read {
            Ok(got) => (got, None),
            Err(error) => (0, Some(error)),
        };
        let blocks = payload[..got].as_chunks::<BLOCK_BYTES>().0;
        let mut good = [false; FRAME_BLOCKS_MAX];
        for (index, block) in blocks.iter().enumerate() {
            let within = first + index as u64 - u64::from(frame.header.block) - 1;
            let checksum = u32::try_from(within).ok().and_then(|within| frame.payload_checksum(within));
            good[index] = checksum == Some(crc32c::crc32c(block));
        }
        for found in uses {
            findings.totals.checked_bytes += u64::from(found.bytes);
            let Some(bad) = found.blocks().find(|block| !good[(block - first) as usize]) else { continue };
            let why = match &error {
                Some(error) => error.to_string(),
                None => "fails its checksum".to_owned(),
            };
            // The part of the file that the first bad block holds.
            let from = (bad * BLOCK_BYTES as u64).max(found.start) - found.start + found.offset;
            let what = format!("{}: from byte {from} on, {}, block {bad}: {why}", found.range(), self.name());
            findings.wrong(Kind::Payload, found.ino, what);
        }
    }

    fn name(&self) -> String {
        slot_name(self.slot.info.slot)
    }
}

/// Fills as much of `into` as the file has from `offset` on.
fn read_up_to(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < into.len() {
        match file.read_at(&mut into[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(bytes) => got += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
