//! Segments and their slot files: each slot used once, each file there and of a size that holds what
//! is said to lie in it. The counts are filled by the check of the extents.

use super::progress::Progress;
use super::report::{Findings, Kind};
use super::source::Source;
use cache::disk::slot_name;
use cache::extent::{BLOCK_BYTES, SegmentId};
use shard::ledger::command::SegmentInfo;
use shard::ledger::record::Table;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// All segments in use.
pub(crate) struct Slots {
    by_segment: BTreeMap<SegmentId, Slot>,
    folder: PathBuf,
    /// All rows were read: a segment that is not here does not exist.
    is_complete: bool,
}

/// A segment and the file that holds it.
pub(crate) struct Slot {
    pub(crate) info: SegmentInfo,
    /// Whole blocks of the file; `None` when it is missing.
    pub(crate) blocks: Option<u32>,
    /// Bytes and number of the ledger's extents in it, as counted.
    pub(crate) live_bytes: u64,
    pub(crate) extents: u64,
}

/// Checks the table of segments and the folder. An error is a reason why it could not be looked at.
pub(crate) fn check(source: &Source, folder: &Path, findings: &mut Findings) -> Result<Slots, String> {
    let files = files(folder, findings)?;
    let mut by_slot: BTreeMap<u32, SegmentId> = BTreeMap::new();
    let mut by_segment = BTreeMap::new();
    let mut damaged = 0;
    let meta = source.meta;
    let mut progress = Progress::new("", true);
    let is_whole = source.each(Table::Segments, source.rows.segments(), findings, &mut progress, |row, findings| {
        let Ok(info) = row else {
            damaged += 1;
            return;
        };
        let (id, slot) = (info.id.0, info.slot);
        if id == 0 || id >= meta.next_segment {
            findings.problem(Kind::Number, format!("segment {id}: segments below {} exist", meta.next_segment));
        }
        if slot >= meta.slots_made {
            let what = format!("segment {id} is in slot {slot}; slots below {} were given out", meta.slots_made);
            findings.problem(Kind::Slot, what);
        }
        if let Some(other) = by_slot.insert(slot, info.id) {
            findings.problem(Kind::Slot, format!("{} holds segment {} and segment {id}", slot_name(slot), other.0));
        }
        let blocks = files.get(&slot).map(|&bytes| u32::try_from(bytes / BLOCK_BYTES as u64).unwrap_or(u32::MAX));
        findings.totals.segments += 1;
        findings.totals.segment_bytes += files.get(&slot).copied().unwrap_or(0);
        by_segment.insert(info.id, Slot { info, blocks, live_bytes: 0, extents: 0 });
    });
    for &slot in files.keys().filter(|&slot| *slot >= meta.slots_made && !by_slot.contains_key(slot)) {
        findings.problem(Kind::Slot, format!("{} was never given out", slot_name(slot)));
    }
    findings.totals.free_slots = (u64::from(meta.slots_made)).saturating_sub(by_slot.len() as u64);
    Ok(Slots { by_segment, folder: folder.to_path_buf(), is_complete: is_whole && damaged == 0 })
}

/// The folder of a filesystem that was never finished being made: nothing can lie in it.
pub(crate) fn check_new(folder: &Path, findings: &mut Findings) {
    match files(folder, findings) {
        Ok(files) if files.is_empty() => {
            findings.note("there is no ledger yet: the next start makes the filesystem".into());
        }
        Ok(files) => {
            let what = format!("the ledger is missing or empty, and {} slot files are there", files.len());
            findings.problem(Kind::Ledger, what);
        }
        Err(why) => findings.problem(Kind::Slot, why),
    }
}

/// Slot files and their bytes. A missing folder holds none.
fn files(folder: &Path, findings: &mut Findings) -> Result<BTreeMap<u32, u64>, String> {
    let failed = |error: io::Error| format!("{}: {error}", folder.display());
    let mut files = BTreeMap::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("seg.")?.parse().ok());
        match number {
            Some(slot) if slot_name(slot).as_str() == name => {
                files.insert(slot, entry.metadata().map_err(failed)?.len());
            }
            _ => findings.note(format!("{} is not one of Basalt's files", entry.path().display())),
        }
    }
    Ok(files)
}

impl Slots {
    /// A segment in use.
    pub(crate) fn segment(&self, id: SegmentId) -> Option<&Slot> {
        self.by_segment.get(&id)
    }

    /// The same, to count.
    pub(crate) fn segment_mut(&mut self, id: SegmentId) -> Option<&mut Slot> {
        self.by_segment.get_mut(&id)
    }

    /// All segments in use, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.by_segment.values()
    }

    /// Whether a segment that is not here does not exist.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Opens the file of a segment.
    pub(crate) fn open(&self, slot: &Slot) -> io::Result<File> {
        File::open(self.folder.join(slot_name(slot.info.slot)))
    }

    /// Judges what was counted. `is_counted` tells that all extents could be read.
    pub(crate) fn judge(&self, is_counted: bool, findings: &mut Findings) {
        for slot in self.by_segment.values() {
            let (id, name) = (slot.info.id.0, slot_name(slot.info.slot));
            if is_counted && slot.live_bytes != slot.info.live_bytes {
                let (says, is) = (slot.info.live_bytes, slot.live_bytes);
                let what = format!("{name}: segment {id} says that {says} bytes live in it, extents use {is}");
                findings.problem(Kind::LiveBytes, what);
            }
            // The commit that opens a segment comes before its file is made or brought to its size.
            let is_untouched = slot.extents == 0 && slot.info.replay_from == Some(0);
            match slot.blocks {
                None | Some(0) if is_untouched => {
                    findings.note(format!("{name}: segment {id} was opened, and its file is not made yet"));
                }
                None => findings.problem(Kind::Slot, format!("{name} of segment {id} is missing")),
                Some(blocks) => {
                    if slot.info.replay_from.is_some_and(|block| block > blocks) {
                        let what = format!("{name}: replay of segment {id} would begin behind its end");
                        findings.problem(Kind::Slot, what);
                    }
                }
            }
            if is_counted && slot.extents == 0 && slot.info.replay_from.is_none() {
                findings.problem(Kind::Slot, format!("{name}: segment {id} holds nothing and is not free"));
            }
        }
    }
}
