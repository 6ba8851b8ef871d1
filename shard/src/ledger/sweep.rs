//! Sweep: the extents of removed files are freed, some at a time.
//!
//! Caller: the ledger, for [`super::command::Job::Sweep`]. A removed file is a row of `orphans`
//! until its last extent is gone, so a crash in between loses nothing and frees nothing twice.

use super::batch::{Batch, Fault};
use super::record::{Table, extent, tree};
use crate::inode::Ino;
use cache::extent::Extent;

/// Frees up to [`EXTENTS_MAX`] extents. Answers whether more are left.
pub(super) fn apply(batch: &mut Batch<'_>) -> Result<bool, Fault> {
    let mut room = EXTENTS_MAX;
    while let Some(ino) = first_orphan(batch)? {
        let keys = extents(batch, ino, room)?;
        for (key, found) in &keys {
            batch.delete(Table::Extents, key)?;
            if let Some(extent) = found {
                batch.segments.take(extent);
            }
        }
        room -= keys.len();
        if room == 0 {
            return Ok(true);
        }
        batch.delete(Table::Orphans, tree::orphan_key(ino).as_bytes())?;
    }
    Ok(false)
}

/// The key alone says which: the row is on its way out.
fn first_orphan(batch: &Batch<'_>) -> Result<Option<Ino>, Fault> {
    let (first, last) = (tree::orphan_key(Ino(0)), tree::orphan_key(Ino(u64::MAX)));
    let first = batch.rows().range(Table::Orphans, first.as_bytes(), last.as_bytes())?.next();
    let Some((key, value)) = first.transpose()? else { return Ok(None) };
    match tree::decode_orphan(&key, &value) {
        Ok((ino, _)) => Ok(Some(ino)),
        Err(corrupt) => Err(batch.corrupt(corrupt)),
    }
}

type Row = (Vec<u8>, Option<Extent>);

/// Up to `room` extents of a removed file. One that is damaged is freed without being counted: the
/// segment that it lay in stays, which is the safe side.
fn extents(batch: &Batch<'_>, ino: Ino, room: usize) -> Result<Vec<Row>, Fault> {
    let (first, last) = (extent::key(ino, 0), extent::key(ino, u64::MAX));
    let mut found = Vec::new();
    for row in batch.rows().range(Table::Extents, first.as_bytes(), last.as_bytes())?.take(room) {
        let (key, value) = row?;
        let extent = extent::decode(&key, &value).map(|(_, extent)| extent);
        if let Err(corrupt) = extent {
            batch.corrupt(corrupt);
        }
        found.push((key.to_vec(), extent.ok()));
    }
    Ok(found)
}

/// Most extents that one sweep frees, so that requests do not wait long behind it.
pub const EXTENTS_MAX: usize = 4096;
