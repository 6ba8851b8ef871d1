//! Files and their extents: they tile `[0, size)` exactly, lie where data can be, and come to what
//! inodes and segments say they come to. Un-folded records of the log are laid over first.

use super::pending::Pending;
use super::progress::Progress;
use super::report::{Findings, Kind};
use super::slots::Slots;
use super::source::Source;
use super::tree::{Known, Node, Tree};
use cache::disk::slot_name;
use cache::extent::{BLOCK_BYTES, Extent, ExtentMap, Place};
use cache::frame::{FRAME_BLOCKS_MAX, PAYLOAD_MAX};
use shard::inode::{self, Ino};
use shard::ledger::check::ExtentRow;
use shard::ledger::record::{Table, extent};

/// Checks all extents of the ledger and of the log's pending records.
pub(crate) fn check(
    source: &Source,
    tree: &Tree,
    slots: &mut Slots,
    pending: &Pending,
    findings: &mut Findings,
    progress: &mut Progress,
) {
    let mut files = Files { tree, pending, next: 0, file: None };
    let mut damaged = 0_u64;
    let is_whole = source.each(Table::Extents, source.rows.extents(), findings, progress, |row, findings| match row {
        Ok(row) => {
            findings.totals.extents += 1;
            if row.extent.version >= source.meta.lsn_limit {
                let what = format!("bytes at {} have version {}", row.offset, row.extent.version);
                findings.wrong(Kind::Number, row.ino, what);
            }
            place(slots, &row, findings);
            files.row(&row, findings);
        }
        Err(key) => {
            damaged += 1;
            if let Ok((ino, _)) = extent::parse_key(key) {
                files.damaged(ino, findings);
            }
        }
    });
    if is_whole {
        files.finish(findings);
    }
    findings.totals.live_bytes = slots.iter().map(|slot| slot.live_bytes).sum();
    slots.judge(is_whole && damaged == 0, findings);
}

/// Counts an extent for its segment, and judges whether data can lie there.
fn place(slots: &mut Slots, row: &ExtentRow, findings: &mut Findings) {
    let Place::Log { segment, frame, block, skew } = row.extent.place else { return };
    let (from, end) = (row.offset, row.offset.saturating_add(row.extent.bytes));
    let is_complete = slots.is_complete();
    let Some(slot) = slots.segment_mut(segment) else {
        if is_complete {
            let what = format!("bytes [{from}, {end}) lie in segment {}, which does not exist", segment.0);
            findings.wrong(Kind::Extent, row.ino, what);
        }
        return;
    };
    slot.live_bytes = slot.live_bytes.saturating_add(row.extent.log_bytes());
    slot.extents += 1;
    let blocks = (u64::from(skew).saturating_add(row.extent.bytes)).div_ceil(BLOCK_BYTES as u64);
    let last = u64::from(block) + blocks;
    let in_frame = block > frame
        && row.extent.bytes <= PAYLOAD_MAX as u64
        && last <= u64::from(frame) + 1 + FRAME_BLOCKS_MAX as u64;
    let name = slot_name(slot.info.slot);
    if !in_frame {
        let what = format!("bytes [{from}, {end}) lie outside of their frame: {name}, frame {frame}, block {block}");
        findings.wrong(Kind::Extent, row.ino, what);
    } else if slot.blocks.is_some_and(|blocks| last > u64::from(blocks)) {
        let what = format!("bytes [{from}, {end}) lie behind the end of {name}: block {block}");
        findings.wrong(Kind::Extent, row.ino, what);
    }
}

/// Goes through files and the rows of their extents together; both come by number.
struct Files<'a> {
    tree: &'a Tree,
    pending: &'a Pending,
    /// The first inode that no row was seen of yet.
    next: usize,
    file: Option<File>,
}

/// The file whose rows are coming.
struct File {
    ino: Ino,
    /// Where the next extent must begin.
    end: u64,
    stored_bytes: u64,
    tiling: Tiling,
    is_damaged: bool,
    /// Kept where the log has more to say.
    map: Option<ExtentMap>,
}

/// What is wrong with the tiling of a file: the first fault, and how many.
#[derive(Default)]
struct Tiling {
    first: Option<String>,
    faults: u64,
}

impl Tiling {
    fn fault(&mut self, what: impl FnOnce() -> String) {
        self.faults += 1;
        self.first.get_or_insert_with(what);
    }

    /// The next extent begins at `start`, the one before ended at `end`.
    fn step(&mut self, end: u64, start: u64) {
        if start > end {
            self.fault(|| format!("no extent holds bytes [{end}, {start})"));
        } else if start < end {
            self.fault(|| format!("two extents hold bytes from {start} to {end}"));
        }
    }

    /// The last extent ended at `end`, the file at `size`.
    fn close(&mut self, end: u64, size: u64) {
        if end < size {
            self.fault(|| format!("no extent holds bytes [{end}, {size}), the last of the file"));
        } else if end > size {
            self.fault(|| format!("its size is {size}, its extents reach to {end}"));
        }
    }

    fn report(self, ino: Ino, when: &str, findings: &mut Findings) {
        let Some(first) = self.first else { return };
        let more = if self.faults > 1 { format!("; and {} faults more", self.faults - 1) } else { String::new() };
        findings.wrong(Kind::Tiling, ino, format!("{when}{first}{more}"));
    }
}

impl Files<'_> {
    fn row(&mut self, row: &ExtentRow, findings: &mut Findings) {
        let file = self.of(row.ino, findings);
        file.tiling.step(file.end, row.offset);
        file.end = file.end.max(row.offset.saturating_add(row.extent.bytes));
        if row.extent.place != Place::Hole {
            file.stored_bytes = file.stored_bytes.saturating_add(row.extent.bytes);
        }
        if let Some(map) = &mut file.map {
            map.insert(row.offset, row.extent);
        }
    }

    fn damaged(&mut self, ino: Ino, findings: &mut Findings) {
        self.of(ino, findings).is_damaged = true;
    }

    fn finish(&mut self, findings: &mut Findings) {
        self.end(findings);
        self.without_rows(Ino(u64::MAX), findings);
    }

    /// The file that a row belongs to; ends the one before.
    fn of(&mut self, ino: Ino, findings: &mut Findings) -> &mut File {
        if self.file.as_ref().is_none_or(|file| file.ino != ino) {
            self.end(findings);
            self.without_rows(ino, findings);
        }
        let is_pending = self.pending.files.contains_key(&ino);
        self.file.get_or_insert_with(|| File::new(ino, is_pending))
    }

    fn end(&mut self, findings: &mut Findings) {
        if let Some(file) = self.file.take() {
            self.judge(file, findings);
        }
    }

    /// Files below `ino` that no row came of.
    fn without_rows(&mut self, ino: Ino, findings: &mut Findings) {
        let nodes = self.tree.nodes();
        while let Some(node) = nodes.get(self.next).filter(|node| node.ino <= ino) {
            self.next += 1;
            if node.ino < ino && node.kind == inode::Kind::File {
                self.judge(File::new(node.ino, self.pending.files.contains_key(&node.ino)), findings);
            }
        }
    }

    fn judge(&self, file: File, findings: &mut Findings) {
        let ino = file.ino;
        match self.tree.known(ino) {
            Known::Node(node) if node.kind == inode::Kind::File => self.judge_file(node, file, findings),
            Known::Node(node) => {
                let what = format!("extents belong to it, and it is a {:?}", node.kind);
                findings.wrong(Kind::Extent, ino, what);
            }
            // A removed file is swept a part at a time.
            Known::Orphan | Known::Unclear => {}
            Known::Missing => {
                let what = format!("{} bytes in extents of an inode that does not exist", file.stored_bytes);
                findings.wrong(Kind::Orphan, ino, what);
            }
        }
    }

    fn judge_file(&self, node: &Node, mut file: File, findings: &mut Findings) {
        // A damaged row was reported; what it held is not to be told.
        if file.is_damaged {
            return;
        }
        file.tiling.close(file.end, node.size);
        let is_tiled = file.tiling.first.is_none();
        file.tiling.report(node.ino, "", findings);
        if file.stored_bytes != node.used {
            let what = format!("it says that it uses {} bytes, its extents use {}", node.used, file.stored_bytes);
            findings.wrong(Kind::Used, node.ino, what);
        }
        if let (true, Some(map)) = (is_tiled, file.map) {
            self.judge_pending(node.ino, map, findings);
        }
    }

    /// The file as it will be after a start.
    fn judge_pending(&self, ino: Ino, mut map: ExtentMap, findings: &mut Findings) {
        let Some(live) = self.pending.files.get(&ino) else { return };
        map.cut(live.ledger_below());
        for (offset, extent) in live.extents().iter() {
            map.insert(offset, extent);
        }
        let mut tiling = Tiling::default();
        let mut end = 0;
        for (offset, Extent { bytes, .. }) in map.iter() {
            tiling.step(end, offset);
            end = offset.saturating_add(bytes);
        }
        tiling.close(end, live.attr().size);
        tiling.report(ino, "with the records of the log that are not folded yet: ", findings);
    }
}

impl File {
    fn new(ino: Ino, is_pending: bool) -> File {
        File {
            ino,
            end: 0,
            stored_bytes: 0,
            tiling: Tiling::default(),
            is_damaged: false,
            map: is_pending.then(ExtentMap::new),
        }
    }
}
