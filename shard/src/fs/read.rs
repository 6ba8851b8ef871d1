//! READ: a file's bytes, as pieces of the block cache.
//!
//! Callers: nfs3::read, the cleaner's checks. Under the stripe the live extents of the range are
//! copied; the ledger's extents fill the gaps: those that the entry keeps from earlier reads, else those
//! of a snapshot. The ledger may have moved on in between, so a gap or
//! a damaged block counts as corruption only when a second look finds the same. RFC 1813 3.3.6.

use super::column::{Fs, Scratch};
use super::{Step, access};
use crate::cred::Cred;
use crate::inode::{FileId, Ino, Inode, Kind};
use crate::ledger::reader::Reader;
use crate::status::Status;
use crate::table::LockTable;
use cache::block::Piece;
use cache::extent::Extent;
use cache::table::ReadError;
use std::rc::Rc;
use std::time::Duration;

/// What READ answers.
#[derive(Clone)]
pub struct ReadDone {
    /// The bytes.
    pub pieces: Vec<Piece>,
    /// Their number. May be less than asked before the end of the file, where it lies in very many
    /// extents.
    pub bytes: u64,
    /// They reach the end of the file.
    pub eof: bool,
    /// The file.
    pub attr: Inode,
}

/// Reads up to `count` bytes from `offset` on. Whoever has sent the pieces hands the list back
/// ([`Fs::reuse`]), so that reads of what is in memory allocate nothing.
pub fn read(fs: &Rc<Fs>, cred: &Cred, id: FileId, offset: u64, count: u32) -> Step<Result<ReadDone, Status>> {
    let want = Want { cred: *cred, id, offset, count };
    let mut scratch = fs.scratch.take();
    let step = match tile(fs, &want, &mut scratch) {
        Err(status) => Step::Done(Err(status)),
        Ok(view) => {
            let is_here = gather(fs, &mut scratch);
            fs.read_ahead(&want, view.end, !is_here);
            match is_here {
                true => Step::Done(Ok(view.done(&want, std::mem::take(&mut scratch.pieces)))),
                false => Step::Later(Box::pin(fetch(Rc::clone(fs), want, view, scratch.tiled.clone()))),
            }
        }
    };
    fs.scratch.replace(scratch);
    if let Step::Done(Ok(done)) = &step {
        fs.count_read(done.bytes);
    }
    step
}

/// What is asked.
#[derive(Clone, Copy)]
pub(super) struct Want {
    pub(super) cred: Cred,
    pub(super) id: FileId,
    pub(super) offset: u64,
    pub(super) count: u32,
}

/// The file and the range found in it.
#[derive(Clone, Copy)]
pub(super) struct View {
    attr: Inode,
    /// Where the extents found end; at least `offset`.
    end: u64,
}

impl View {
    fn done(self, want: &Want, pieces: Vec<Piece>) -> ReadDone {
        ReadDone {
            pieces,
            bytes: self.end.saturating_sub(want.offset),
            eof: self.end >= self.attr.size,
            attr: self.attr,
        }
    }
}

/// Takes all pieces, when all of them are in memory.
fn gather(fs: &Fs, scratch: &mut Scratch) -> bool {
    let Scratch { tiled, pieces, .. } = scratch;
    pieces.clear();
    let is_here = tiled.iter().all(|(_, extent)| fs.volume.read(extent, pieces));
    if !is_here {
        pieces.clear();
    }
    is_here
}

/// Reads from the disk; looks again where the bytes turn out not to be what they should.
async fn fetch(fs: Rc<Fs>, want: Want, mut view: View, mut extents: Vec<(u64, Extent)>) -> Result<ReadDone, Status> {
    fs.stats.read_misses.set(fs.stats.read_misses.get() + 1);
    for _ in 0..FETCH_ATTEMPTS_MAX {
        let places = extents.iter().map(|(_, extent)| *extent).collect();
        match fs.volume.fetch(places).await {
            Ok(pieces) => {
                let done = view.done(&want, pieces);
                fs.count_read(done.bytes);
                return Ok(done);
            }
            Err(ReadError::Io(_)) => return Err(Status::Io),
            Err(ReadError::NoMemory) => fs.world.sleep(MEMORY_WAIT).await,
            Err(ReadError::Corrupt { .. }) => {
                let mut scratch = Scratch::default();
                view = tile(&fs, &want, &mut scratch)?;
                if scratch.tiled == extents {
                    return Err(fs.count_corrupt());
                }
                extents = scratch.tiled;
            }
        }
    }
    Err(Status::Delay)
}

/// Finds the extents of the range: they end up in `scratch.tiled`, in order and without gaps.
pub(super) fn tile(fs: &Fs, want: &Want, scratch: &mut Scratch) -> Result<View, Status> {
    let mut before = None;
    for _ in 0..TILE_ATTEMPTS_MAX {
        let (mut view, ledger_below) = look(fs, want, scratch)?;
        match fill_gaps(fs, want, view.end, ledger_below, scratch)? {
            Tiled::To(end) => {
                view.end = end;
                return Ok(view);
            }
            Tiled::Gap => {
                let state = Some((view.attr.change, view.attr.folded_lsn));
                if before == state {
                    return Err(fs.count_corrupt());
                }
                before = state;
            }
        }
    }
    Err(Status::Delay)
}

/// The part under the stripe: the file's attributes, the live extents of the range, and those of the
/// ledger that are kept.
fn look(fs: &Fs, want: &Want, scratch: &mut Scratch) -> Result<(View, u64), Status> {
    scratch.live.clear();
    scratch.kept.clear();
    fs.look_at(want.id, |entry| {
        let attr = entry.attr();
        match attr.kind {
            Kind::File => access::read_data(&attr, &want.cred)?,
            Kind::Directory => return Err(Status::IsDir),
            _ => return Err(Status::Inval),
        }
        let mut end = want.offset.saturating_add(u64::from(want.count)).min(attr.size).max(want.offset);
        let mut ledger_below = u64::MAX;
        if let Some(live) = entry.live() {
            ledger_below = live.ledger_below();
            let mut extents = live.extents().range(want.offset, end);
            scratch.live.extend(extents.by_ref().take(READ_EXTENTS_MAX));
            if let Some((next, _)) = extents.next() {
                end = next;
            }
        }
        scratch.kept.extend(entry.kept().range(want.offset, end).take(READ_EXTENTS_MAX));
        Ok((View { attr, end }, ledger_below))
    })?
}

/// What became of the range.
enum Tiled {
    /// Extents without gaps up to here.
    To(u64),
    /// Bytes below the size without an extent.
    Gap,
}

/// Puts the ledger's extents between the live ones: those that the lock table kept, else the ledger's
/// own.
fn fill_gaps(fs: &Fs, want: &Want, end: u64, ledger_below: u64, scratch: &mut Scratch) -> Result<Tiled, Status> {
    let Scratch { live, kept, found, tiled, .. } = scratch;
    tiled.clear();
    let mut at = want.offset;
    let mut is_fresh = false;
    let ends = live.iter().map(|&(offset, extent)| (offset, Some(extent))).chain([(end, None)]);
    for (offset, extent) in ends {
        if at < offset {
            let gap = Gap { ino: want.id.ino, end: offset };
            at = gap.fill(at, tiled, kept.iter().map(|&row| Ok(row)))?;
            if at < offset && tiled.len() < READ_EXTENTS_MAX {
                let mut reader = fs.reader.borrow_mut();
                if !std::mem::replace(&mut is_fresh, true) {
                    reader.refresh()?;
                }
                at = gap.look_up(&fs.shared.table, &reader, at, tiled, found)?;
            }
            if at < offset && tiled.len() >= READ_EXTENTS_MAX {
                return Ok(Tiled::To(at));
            }
            if at < offset || at > ledger_below {
                return Ok(Tiled::Gap);
            }
        }
        if let Some(extent) = extent {
            tiled.push((offset, extent));
            at = offset + extent.bytes;
        }
    }
    Ok(Tiled::To(at))
}

/// Where no live extent lies.
struct Gap {
    ino: Ino,
    end: u64,
}

impl Gap {
    /// Goes on from `at` with `rows`, which are in order, as far as they follow each other. Answers how
    /// far that is.
    fn fill(
        &self,
        mut at: u64,
        tiled: &mut Vec<(u64, Extent)>,
        rows: impl Iterator<Item = Result<(u64, Extent), Status>>,
    ) -> Result<u64, Status> {
        for row in rows {
            let (start, extent) = row?;
            if at >= self.end || start > at || tiled.len() >= READ_EXTENTS_MAX {
                break;
            }
            if start + extent.bytes > at {
                let extent = extent.tail(at - start);
                let extent = extent.head(extent.bytes.min(self.end - at));
                tiled.push((at, extent));
                at += extent.bytes;
            }
        }
        Ok(at)
    }

    /// The same with the rows of the ledger, which `table` keeps from then on.
    fn look_up(
        &self,
        table: &LockTable,
        reader: &Reader,
        at: u64,
        tiled: &mut Vec<(u64, Extent)>,
        found: &mut Vec<(u64, Extent)>,
    ) -> Result<u64, Status> {
        found.clear();
        let rows = reader.extents(self.ino, at, self.end)?;
        let at = self.fill(at, tiled, rows.inspect(|row| found.extend(row)))?;
        // From the same snapshot: it names the state of the file that the rows belong to.
        if let Some(inode) = reader.inode(self.ino)? {
            table.keep(self.ino, inode.folded_lsn, found);
        }
        Ok(at)
    }
}

impl Fs {
    /// Takes the list of a reply that was sent, for the next one.
    pub fn reuse(&self, mut pieces: Vec<Piece>) {
        pieces.clear();
        self.scratch.borrow_mut().pieces = pieces;
    }

    fn count_read(&self, bytes: u64) {
        self.stats.read_bytes.set(self.stats.read_bytes.get() + bytes);
    }

    /// Bytes or extents are not what they should be. Answers what the client is told.
    pub(super) fn count_corrupt(&self) -> Status {
        self.stats.corrupt.set(self.stats.corrupt.get() + 1);
        Status::Io
    }
}

/// Most extents of one reply; a read that meets more is answered short.
pub const READ_EXTENTS_MAX: usize = 512;
/// Looks before a file that changes all the time is answered with "later".
const TILE_ATTEMPTS_MAX: usize = 64;
/// Rounds of reading from the disk, most of them spent waiting for memory.
const FETCH_ATTEMPTS_MAX: usize = 1000;
/// Between two rounds when all memory is in use.
const MEMORY_WAIT: Duration = Duration::from_millis(1);
