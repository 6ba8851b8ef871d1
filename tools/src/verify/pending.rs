//! What the log says and the ledger does not know yet: the segments that a start would replay are
//! read, and their records applied in memory as recovery applies them.

use super::progress::{Progress, Unit};
use super::report::{Findings, Kind};
use super::slots::{Slot, Slots};
use super::source::{Lookup, Source};
use super::tree::{Known, Tree};
use cache::disk::slot_name;
use cache::extent::{BLOCK_BYTES, Extent};
use cache::frame::{Record, RecordKind};
use cache::replay::{ReplayError, ReplayScope, ReplayedFrame, scan};
use shard::fs::write::FILE_BYTES_MAX;
use shard::inode::{self, Ino, Inode};
use shard::ledger::check::ExtentRow;
use shard::live::{Live, Stamp};
use std::collections::{HashMap, HashSet};

/// Files with records that are not folded.
#[derive(Default)]
pub(crate) struct Pending {
    /// The log's view of each.
    pub(crate) files: HashMap<Ino, Live>,
}

/// A record and where its bytes lie.
struct Item {
    record: Record,
    core: u16,
    /// `None` for a truncation.
    extent: Option<Extent>,
}

/// Reads and applies all that a start would replay.
pub(crate) fn replay(
    source: &Source,
    tree: &Tree,
    slots: &Slots,
    findings: &mut Findings,
    progress: &mut Progress,
) -> Pending {
    let mut pending = Pending::default();
    let mut items = Vec::new();
    progress.phase("log", 0, Unit::Rows);
    for slot in slots.iter() {
        let Some(from) = slot.info.replay_from else { continue };
        if slot.blocks.is_none_or(|blocks| blocks == 0 || from > blocks) {
            continue;
        }
        if let Err(what) = read(source, slots, slot, from, &mut items, progress) {
            findings.problem(Kind::Log, what);
        }
    }
    items.sort_by_key(|item| item.record.lsn);
    for pair in items.windows(2) {
        if pair[0].record.lsn == pair[1].record.lsn {
            let (lsn, inodes) = (pair[0].record.lsn, (pair[0].record.ino, pair[1].record.ino));
            let what = format!("two records of the log have number {lsn}: inodes {} and {}", inodes.0, inodes.1);
            findings.problem(Kind::Log, what);
        }
    }
    if let Some(last) = items.last().filter(|item| item.record.lsn >= source.meta.lsn_limit) {
        let (lsn, limit) = (last.record.lsn, source.meta.lsn_limit);
        findings.problem(Kind::Number, format!("a record of the log has number {lsn}, numbers end below {limit}"));
    }
    let moved = moved(source, &items);
    let mut inodes = HashMap::new();
    for item in &items {
        findings.totals.pending_records += 1;
        let ino = Ino(item.record.ino);
        let inode = inodes.entry(ino).or_insert_with(|| match source.inode(ino) {
            Lookup::There(inode) => Some(inode),
            Lookup::Missing | Lookup::Damaged => None,
        });
        let Some(inode) = inode.filter(|inode| applies(tree, inode, &item.record)) else { continue };
        match is_possible(&inode, &item.record) {
            true => apply(&mut pending, &inode, item, &moved, findings),
            false => {
                let what = format!("record {} of the log cannot be: a start would refuse it", item.record.lsn);
                findings.wrong(Kind::Log, ino, what);
            }
        }
    }
    pending
}

/// Reads the frames of a segment from where replay begins.
fn read(
    source: &Source,
    slots: &Slots,
    slot: &Slot,
    from: u32,
    items: &mut Vec<Item>,
    progress: &mut Progress,
) -> Result<(), String> {
    let name = slot_name(slot.info.slot);
    let blocks = slot.blocks.unwrap_or(0);
    let scope = ReplayScope {
        filesystem: source.meta.filesystem,
        segment: slot.info.id,
        slot: slot.info.slot,
        from_block: from,
        segment_bytes: u64::from(blocks) * BLOCK_BYTES as u64,
    };
    let file = slots.open(slot).map_err(|error| format!("{name}: {error}"))?;
    let mut alien = None;
    let on_frame = |frame: &ReplayedFrame| {
        progress.row();
        if frame.header.core != slot.info.core {
            alien = alien.or(Some((frame.header.block, frame.header.core)));
        }
        for record in &frame.records {
            let extent = frame.extent(record);
            items.push(Item { record: *record, core: frame.header.core, extent });
        }
    };
    match scan(&file, scope, on_frame) {
        Ok(_) => {}
        Err(ReplayError::Io(error)) => return Err(format!("{name}: {error}")),
        Err(error @ ReplayError::Corrupt { .. }) => return Err(error.to_string()),
    }
    match alien {
        Some((block, core)) => {
            Err(format!("{name}, block {block}: core {core} wrote into a segment of core {}", slot.info.core))
        }
        None => Ok(()),
    }
}

/// The ledger's extents of the files that the cleaner moved bytes of.
fn moved(source: &Source, items: &[Item]) -> HashSet<(Ino, u64, u64, u64)> {
    let inos: HashSet<Ino> =
        items.iter().filter(|item| item.record.kind == RecordKind::Move).map(|item| Ino(item.record.ino)).collect();
    if inos.is_empty() {
        return HashSet::new();
    }
    let rows = source.rows.extents().filter_map(Result::ok).filter(|row| inos.contains(&row.ino));
    rows.map(|ExtentRow { ino, offset, extent }| (ino, offset, extent.bytes, extent.version)).collect()
}

/// Records of files that are gone, and those that a fold took, need nothing.
fn applies(tree: &Tree, inode: &Inode, record: &Record) -> bool {
    matches!(tree.known(inode.ino), Known::Node(_))
        && inode.generation == record.generation
        && record.lsn > inode.folded_lsn
}

fn is_possible(inode: &Inode, record: &Record) -> bool {
    let end = record.offset.checked_add(record.bytes);
    inode.kind == inode::Kind::File && end.is_some_and(|end| end <= FILE_BYTES_MAX)
}

fn apply(
    pending: &mut Pending,
    inode: &Inode,
    item: &Item,
    ledger: &HashSet<(Ino, u64, u64, u64)>,
    findings: &mut Findings,
) {
    let record = &item.record;
    let is_known = pending.files.contains_key(&inode.ino);
    let live = pending.files.entry(inode.ino).or_insert_with(|| Live::new(inode));
    if is_known && record.lsn <= live.lsn() {
        // The same number twice was reported.
        return;
    }
    let stamp =
        Stamp { lsn: record.lsn, now: record.time, core: item.core, position: 0, clears_setid: record.clears_setid };
    match (record.kind, item.extent) {
        (RecordKind::Truncate, _) => live.truncate(inode, record.offset, stamp),
        (RecordKind::Data, Some(extent)) => live.write(inode, record.offset, extent.bytes, extent.place, stamp),
        (RecordKind::Move, Some(extent)) => {
            let was = (inode.ino, record.offset, record.bytes, record.aux);
            if ledger.contains(&was) && live.shows_ledger(record.offset, record.bytes) {
                live.moved(record.offset, extent, stamp);
            } else if live.extents().is_empty() && live.lsn() == 0 {
                // Nothing of this file is pending but a move that came to nothing.
                pending.files.remove(&inode.ino);
            }
        }
        (RecordKind::Data | RecordKind::Move, None) => {
            findings.wrong(Kind::Log, inode.ino, format!("record {} of the log has no bytes", record.lsn));
        }
    }
}
