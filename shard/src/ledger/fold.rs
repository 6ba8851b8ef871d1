//! Fold: the log's view of a file becomes the ledger's.
//!
//! Caller: the ledger, for [`super::command::Job::Fold`]. Folding is idempotent and each file is
//! folded by itself. A fold that would leave a gap below the file's size is refused: extents tile a
//! file exactly, and that is decided from the fold and the record alone, before anything changes.

use super::batch::{Batch, Fault};
use super::command::Fold;
use super::record::{Table, extent};
use crate::inode::{Ino, Kind};
use crate::status::Status;
use cache::extent::{Extent, ExtentMap, Place};
use std::collections::BTreeMap;

/// Folds one file. A file that is gone, or whose fold has been done, needs nothing.
pub(super) fn apply(batch: &mut Batch<'_>, fold: &Fold) -> Result<(), Fault> {
    let inode = match batch.inode(fold.id.ino)? {
        Some(inode) if inode.generation == fold.id.generation && inode.kind == Kind::File => inode,
        _ => return Ok(()),
    };
    if fold.lsn <= inode.folded_lsn {
        return Ok(());
    }
    check(batch, inode.size, fold)?;
    let before = overlapped(batch, inode.ino, fold)?;
    let after = joined(&before, fold);

    let mut folded = inode;
    folded.overlay(&fold.attr);
    folded.folded_lsn = fold.lsn;
    for (offset, old) in &before {
        if after.get(offset) != Some(old) {
            batch.delete(Table::Extents, extent::key(inode.ino, *offset).as_bytes())?;
            batch.segments.take(old);
            folded.used = folded.used.saturating_sub(stored_bytes(old));
        }
    }
    for (offset, new) in &after {
        if before.get(offset) != Some(new) {
            let key = extent::key(inode.ino, *offset);
            extent::encode(key.as_bytes(), new, &mut batch.scratch);
            batch.put(Table::Extents, key.as_bytes());
            batch.segments.add(new);
            folded.used = folded.used.saturating_add(stored_bytes(new));
        }
    }
    batch.put_folded(folded, fold.lsn);
    Ok(())
}

/// The fold must be in order, lie in known segments, and together with what stays of the `size`
/// bytes of the ledger tile the file up to its new size.
fn check(batch: &Batch<'_>, size: u64, fold: &Fold) -> Result<(), Status> {
    let mut tiled = size.min(fold.cut.unwrap_or(u64::MAX));
    let mut last_end = 0;
    for (offset, extent) in &fold.extents {
        let end = offset.checked_add(extent.bytes).ok_or(Status::ServerFault)?;
        let in_order = *offset >= last_end && *offset <= tiled && extent.bytes > 0;
        if !in_order || !batch.segments.holds(extent) {
            return Err(Status::ServerFault);
        }
        last_end = end;
        tiled = tiled.max(end);
    }
    if tiled == fold.attr.size { Ok(()) } else { Err(Status::ServerFault) }
}

/// The ledger's extents that the fold touches.
fn overlapped(batch: &Batch<'_>, ino: Ino, fold: &Fold) -> Result<BTreeMap<u64, Extent>, Fault> {
    let mut found = BTreeMap::new();
    let mut covered_to = 0;
    for (offset, new) in &fold.extents {
        // Neighbours that follow each other are one range.
        let end = offset.saturating_add(new.bytes);
        collect(batch, ino, (*offset).max(covered_to), end, &mut found)?;
        covered_to = end;
    }
    if let Some(cut) = fold.cut {
        collect(batch, ino, cut, u64::MAX, &mut found)?;
    }
    Ok(found)
}

fn collect(batch: &Batch<'_>, ino: Ino, start: u64, end: u64, found: &mut BTreeMap<u64, Extent>) -> Result<(), Fault> {
    let rows = batch.rows();
    let decode = |key: &[u8], value: &[u8]| extent::decode(key, value).map_err(|corrupt| batch.corrupt(corrupt));
    let first = extent::key(ino, start);
    if let Some((key, value)) = rows.before(Table::Extents, first.as_bytes())?
        && extent::parse_key(&key).is_ok_and(|(owner, _)| owner == ino)
    {
        let (offset, old) = decode(&key, &value)?;
        if offset + old.bytes > start {
            found.insert(offset, old);
        }
    }
    let last = extent::key(ino, end.saturating_sub(1));
    if first.as_bytes() > last.as_bytes() {
        return Ok(());
    }
    for row in rows.range(Table::Extents, first.as_bytes(), last.as_bytes())? {
        let (key, value) = row?;
        let (offset, old) = decode(&key, &value)?;
        found.insert(offset, old);
    }
    Ok(())
}

/// What the touched extents become.
fn joined(before: &BTreeMap<u64, Extent>, fold: &Fold) -> BTreeMap<u64, Extent> {
    let mut map = ExtentMap::new();
    for (offset, old) in before {
        map.insert(*offset, *old);
    }
    if let Some(cut) = fold.cut {
        map.cut(cut);
    }
    for (offset, new) in &fold.extents {
        map.insert(*offset, Extent { lsn: 0, ..*new });
    }
    map.iter().collect()
}

/// Bytes of storage that an extent uses.
fn stored_bytes(extent: &Extent) -> u64 {
    match extent.place {
        Place::Hole => 0,
        Place::Log { .. } => extent.bytes,
    }
}
