//! Sweep: the extents of removed files are freed, some at a time.
//!
//! Caller: the ledger, for [`super::command::Job::Sweep`]. A removed file is a row of `orphans`
//! until its last extent is gone, so a crash in between loses nothing and frees nothing twice.

use super::batch::{Batch, Fault};
use super::record::{Table, extent, tree};
use crate::inode::Ino;
use cache::extent::Extent;

/// Frees up to [`EXTENTS_MAX`] extents of up to as many files. Answers whether more are left.
///
/// It begins where the sweep before has ended, or at an earlier orphan that has come since: what was swept is still passed by
/// in the rows that wait for a checkpoint.
pub(super) fn apply(batch: &mut Batch<'_>) -> Result<bool, Fault> {
    let mut room = EXTENTS_MAX;
    let orphans = orphans(batch)?;
    for &ino in &orphans {
        let keys = extents(batch, ino, room)?;
        for (key, found) in &keys {
            batch.delete(Table::Extents, key)?;
            if let Some(extent) = found {
                batch.segments.take(extent);
            }
        }
        room -= keys.len();
        if room == 0 {
            *batch.first_orphan = ino;
            return Ok(true);
        }
        batch.delete(Table::Orphans, tree::orphan_key(ino).as_bytes())?;
    }
    let last = orphans.last().filter(|_| orphans.len() == EXTENTS_MAX);
    *batch.first_orphan = last.map_or(Ino(u64::MAX), |last| Ino(last.0 + 1));
    Ok(last.is_some())
}

/// The next ones. The key alone says which: the row is on its way out.
fn orphans(batch: &Batch<'_>) -> Result<Vec<Ino>, Fault> {
    let (first, last) = (tree::orphan_key(*batch.first_orphan), tree::orphan_key(Ino(u64::MAX)));
    let mut found = Vec::new();
    for row in batch.rows().range(Table::Orphans, first.as_bytes(), last.as_bytes())?.take(EXTENTS_MAX) {
        let (key, value) = row?;
        match tree::decode_orphan(&key, &value) {
            Ok((ino, _)) => found.push(ino),
            Err(corrupt) => return Err(batch.corrupt(corrupt)),
        }
    }
    Ok(found)
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
