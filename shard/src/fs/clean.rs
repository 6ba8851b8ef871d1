//! Gives space back: sweeps what removed files held, and moves the last live bytes out of segments
//! that hold little else, so that their slots can be used again.
//!
//! Callers: the core's task, once a second or when a write found no space ([`wait_for_space`]).
//! Nothing is changed in place. A move appends the bytes to this core's log and shows them under the
//! file's stripe only if the ledger's extent still shows through there; the next checkpoint tells the
//! ledger, and a segment without live bytes is free.

use super::checkpoint;
use super::column::Fs;
use super::signal::Signal;
use super::statfs;
use crate::inode::{FileId, Ino};
use crate::ledger::command::{Done, Job, SegmentInfo};
use crate::live::Stamp;
use crate::status::Status;
use cache::block::{Arena, Blank, CHUNK_BLOCKS, CHUNK_BYTES, Piece};
use cache::disk::Stable;
use cache::extent::{BLOCK_BYTES, Extent, Place, SegmentId};
use cache::frame::{Frame, Record, RecordKind};
use cache::log::{RecordFields, Refused, Urgency};
use futures_util::future::select;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What the cleaner and those who wait for it tell each other.
#[derive(Default)]
pub(super) struct State {
    /// Passes asked for, and the last of them that was served.
    asked: Cell<u64>,
    served: Cell<u64>,
    /// The segments when the first pass that has not begun was asked for.
    before: RefCell<Option<Vec<SegmentInfo>>>,
    /// Raised when a pass is asked for.
    wanted: Signal,
    /// Raised when a pass has ended.
    passed: Signal,
    /// When the last pass that was asked for gained nothing, and what those who waited are told.
    in_vain: Cell<Option<(Duration, Status)>>,
    /// Segments that kept all their live bytes though they were cleaned, or could not be read: left alone until
    /// nothing in them is live, or the next start.
    stubborn: RefCell<HashSet<SegmentId>>,
}

/// The core's task: ends when the filesystem stops or fails.
pub(super) async fn run(fs: Weak<Fs>) {
    while let Some(fs) = fs.upgrade() {
        if fs.stopping.get() || fs.shared.is_poisoned() {
            fs.cleaner.passed.raise();
            return;
        }
        let cleaner = &fs.cleaner;
        let serving = cleaner.asked.get();
        let wanted_since = cleaner.before.take();
        let is_wanted = wanted_since.is_some();
        let found = pass(&fs, wanted_since.as_deref()).await;
        if is_wanted {
            let refused = found.and_then(|found| if found { Ok(()) } else { Err(Status::NoSpace) }).err();
            cleaner.in_vain.set(refused.map(|status| (fs.world.monotonic(), status)));
        }
        cleaner.served.set(serving);
        cleaner.passed.raise();
        fs.reader.borrow_mut().rest();
        if cleaner.asked.get() > serving {
            continue;
        }
        let timer = fs.world.sleep(INTERVAL);
        let (wanted, wake) = (cleaner.wanted.raised(), fs.wake.raised());
        drop(fs);
        select(timer, pin!(select(pin!(wanted), pin!(wake)))).await;
    }
}

/// A write found no segment: waits until the cleaner has looked for space.
/// [`Status::NoSpace`] when it found none, now or a moment ago.
pub(super) async fn wait_for_space(fs: &Rc<Fs>) -> Result<(), Status> {
    let cleaner = &fs.cleaner;
    if let Some((since, Status::NoSpace)) = cleaner.in_vain.get()
        && fs.world.monotonic().saturating_sub(since) < INTERVAL
    {
        return Err(Status::NoSpace);
    }
    if cleaner.before.borrow().is_none() {
        // What a pass that is under way frees from now on is found, too.
        let now = segments(fs)?;
        cleaner.before.replace(Some(now));
    }
    let asked = cleaner.asked.get() + 1;
    cleaner.asked.set(asked);
    cleaner.wanted.raise();
    while cleaner.served.get() < asked {
        fs.writable()?;
        if fs.stopping.get() {
            return Err(Status::Delay);
        }
        cleaner.passed.raised().await;
    }
    cleaner.in_vain.get().map_or(Ok(()), |(_, status)| Err(status))
}

/// Looks for space. Answers whether there is any for those who want it, and saw the segments
/// `before`; `None` when nobody does.
async fn pass(fs: &Rc<Fs>, before: Option<&[SegmentInfo]>) -> Result<bool, Status> {
    let is_wanted = before.is_some();
    let is_done = || before.map_or(Ok(false), |before| has_gained(fs, before));
    if is_wanted {
        fs.fold_everywhere().await?;
    }
    if is_wanted || fs.core == 0 {
        sweep(fs).await?;
    }
    if is_done()? {
        return Ok(true);
    }
    let mut chosen = victims(fs, is_wanted)?.into_iter();
    while let Some(victim) = chosen.next().filter(|_| !fs.stopping.get()) {
        let cleaned = clean(fs, victim.id, victim.slot).await?;
        checkpoint::fold_all(fs).await?;
        let is_unreadable = cleaned == Cleaned::Unreadable;
        if is_unreadable || is_kept(fs, &victim)? {
            fs.cleaner.stubborn.borrow_mut().insert(victim.id);
        }
        if is_done()? {
            return Ok(true);
        }
        if is_unreadable {
            // Others have to give what was expected of it.
            chosen = victims(fs, is_wanted)?.into_iter();
        }
    }
    Ok(false)
}

/// Whether more segments became free than this core took. What other cores took does not count: it was
/// gained all the same, and there may be more where it came from.
fn has_gained(fs: &Fs, before: &[SegmentInfo]) -> Result<bool, Status> {
    let now = segments(fs)?;
    let is_in = |list: &[SegmentInfo], id| list.binary_search_by_key(&id, |info| info.id).is_ok();
    let freed = before.iter().filter(|info| !is_in(&now, info.id)).count();
    let taken = now.iter().filter(|info| info.core == fs.core && !is_in(before, info.id)).count();
    Ok(freed > taken)
}

/// Whether a segment holds what it held before it was cleaned.
fn is_kept(fs: &Fs, victim: &SegmentInfo) -> Result<bool, Status> {
    Ok(segments(fs)?.iter().any(|info| info.id == victim.id && info.live_bytes >= victim.live_bytes))
}

/// The segments in use now, in the order of their names.
fn segments(fs: &Fs) -> Result<Vec<SegmentInfo>, Status> {
    let mut reader = fs.reader.borrow_mut();
    reader.refresh()?;
    reader.segments()
}

/// Frees what removed files held.
async fn sweep(fs: &Rc<Fs>) -> Result<(), Status> {
    while fs.reader.borrow().gauges().orphans.load(Ordering::Relaxed) > 0 {
        match fs.port.call(Job::Sweep).await {
            Done::Swept { more: true } => {}
            Done::Swept { more: false } => return Ok(()),
            Done::Refused(status) => return Err(status),
            _ => return Err(Status::ServerFault),
        }
    }
    Ok(())
}

/// Segments worth cleaning, those with the least live bytes first. Without need each core looks
/// after its share; a core in need takes any.
fn victims(fs: &Fs, is_wanted: bool) -> Result<Vec<SegmentInfo>, Status> {
    let mut reader = fs.reader.borrow_mut();
    reader.refresh()?;
    let segments = reader.segments()?;
    let segment_bytes = fs.shared.options.segment_bytes;
    let used = segments.len() as u64;
    let live: u64 = segments.iter().map(|info| info.live_bytes).sum();
    let total = statfs::space(&fs.shared, reader.gauges())?.total_bytes / segment_bytes;
    let reserve = u64::from(fs.shared.options.reserve_segments);
    let is_short = total.saturating_sub(used) < reserve + (total / 16).clamp(FREE_SEGMENTS_LOW, FREE_SEGMENTS_HIGH);
    let keep_below = if is_wanted {
        segment_bytes / 16 * 15
    } else if is_short {
        segment_bytes / 4 * 3
    } else if used > IDLE_SEGMENTS_MIN && live < used * (segment_bytes / 2) {
        segment_bytes / 2
    } else {
        return Ok(Vec::new());
    };
    let cores = u64::from(fs.shared.options.cores.max(1));
    let mut stubborn = fs.cleaner.stubborn.borrow_mut();
    stubborn.retain(|id| segments.binary_search_by_key(id, |info| info.id).is_ok());
    let mut victims: Vec<SegmentInfo> = segments
        .into_iter()
        .filter(|info| info.replay_from.is_none() && info.live_bytes < keep_below)
        .filter(|info| is_wanted || info.id.0 % cores == u64::from(fs.core))
        .filter(|info| !stubborn.contains(&info.id))
        .collect();
    victims.sort_unstable_by_key(|info| info.live_bytes);
    let worth = if is_wanted { worthwhile(&victims, segment_bytes) } else { PASS_SEGMENTS_MAX };
    victims.truncate(worth);
    Ok(victims)
}

/// How many of these segments, the emptiest first, have to be cleaned so that one more is free than
/// is filled; none where all of them would not do.
fn worthwhile(victims: &[SegmentInfo], segment_bytes: u64) -> usize {
    let dense = segment_bytes / 32 * 31;
    let mut live = 0_u64;
    for (index, victim) in victims.iter().enumerate() {
        live = live.saturating_add(victim.live_bytes);
        // The segment being filled at the start may have no room left: one more.
        if live.div_ceil(dense) < index as u64 + 1 {
            return (index + 2).min(victims.len());
        }
    }
    0
}

/// How far a segment was cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cleaned {
    /// To the end of its frames.
    Through,
    /// To where the disk refused to read.
    Unreadable,
}

/// Moves what is live in a segment, frame by frame. A frame that is damaged ends it: what lies
/// behind stays where it is.
pub(super) async fn clean(fs: &Rc<Fs>, segment: SegmentId, slot: u32) -> Result<Cleaned, Status> {
    let arena = Arena::new(CHUNK_BYTES);
    let mut chunk: Option<(u32, Blank)> = None;
    let mut block = 0_u32;
    loop {
        let index = block / CHUNK_BLOCKS as u32;
        if chunk.as_ref().is_none_or(|(read, _)| *read != index) {
            let blank = chunk.take().map(|(_, blank)| blank).or_else(|| arena.take()).ok_or(Status::Delay)?;
            let offset = u64::from(index) * CHUNK_BYTES as u64;
            match fs.volume.disk().read(slot, offset, blank).await {
                Ok(read) => chunk = Some((index, read)),
                Err(error) => return Ok(unreadable(fs, segment, slot, &error)),
            }
        }
        let Some((_, bytes)) = &chunk else { return Ok(Cleaned::Through) };
        let at = block as usize % CHUNK_BLOCKS * BLOCK_BYTES;
        let Some(header_block) = bytes.bytes()[at..].first_chunk::<BLOCK_BYTES>() else { return Ok(Cleaned::Through) };
        let Ok(frame) = Frame::decode(header_block) else { return Ok(Cleaned::Through) };
        if fs.stopping.get() {
            return Ok(Cleaned::Through);
        }
        let header = frame.header;
        if header.segment != segment || header.block != block || header.filesystem != fs.shared.identity {
            return Ok(Cleaned::Through);
        }
        let records: Vec<Record> = frame.records().filter(|record| record.bytes > 0).collect();
        for record in &records {
            move_record(fs, segment, block, record).await?;
        }
        if fs.backlog.is_due() {
            checkpoint::fold_all(fs).await?;
        }
        let Some(next) = block.checked_add(header.payload_blocks + 1) else { return Ok(Cleaned::Through) };
        block = next;
    }
}

fn unreadable(fs: &Fs, segment: SegmentId, slot: u32, error: &std::io::Error) -> Cleaned {
    let segment = segment.0;
    tracing::error!(segment, slot, %error, "a segment cannot be read, and is not cleaned until the next start");
    fs.stats.unreadable_segments.set(fs.stats.unreadable_segments.get() + 1);
    Cleaned::Unreadable
}

/// Moves the extents whose bytes begin in this record. What is folded meanwhile, by whatever core, makes a
/// move void: then it looks again.
async fn move_record(fs: &Rc<Fs>, segment: SegmentId, frame: u32, record: &Record) -> Result<(), Status> {
    let id = FileId { ino: Ino(record.ino), generation: record.generation };
    for _ in 0..MOVE_ATTEMPTS_MAX {
        let (folded_lsn, extents) = found(fs, id, segment, frame, record)?;
        if extents.is_empty() {
            return Ok(());
        }
        move_extents(fs, id, folded_lsn, extents).await?;
        if fs.look_at(id, |entry| entry.inode().folded_lsn) == Ok(folded_lsn) {
            return Ok(());
        }
    }
    Ok(())
}

async fn move_extents(fs: &Rc<Fs>, id: FileId, folded_lsn: u64, extents: Vec<(u64, Extent)>) -> Result<(), Status> {
    for (offset, extent) in extents {
        let Ok(pieces) = fs.volume.fetch(vec![extent]).await else {
            // It may have been folded away meanwhile; if not, the next read of the file says so.
            continue;
        };
        let payload = joined(&pieces);
        let mut done = 0;
        while done < payload.len() {
            // Segments are filled to their end: what the cleaner leaves is not worth cleaning again.
            let part = &payload[done..][..fs.log.fits(payload.len() - done)];
            let from = extent.tail(done as u64).head(part.len() as u64);
            match append_move(fs, id, folded_lsn, offset + done as u64, from, part) {
                Ok(()) => done += part.len(),
                Err(Refused::Poisoned) => return Err(fs.fail()),
                Err(Refused::NoSpace) => return Err(Status::NoSpace),
                Err(Refused::Later) => match fs.log.room(part.len(), Urgency::Reserve).await {
                    Ok(()) | Err(Refused::Later) => {}
                    Err(Refused::NoSpace) => return Err(Status::NoSpace),
                    Err(Refused::Poisoned) => return Err(fs.fail()),
                },
            }
        }
    }
    Ok(())
}

/// The ledger's extents whose first byte lies in the record's payload, and how far the file was
/// folded then.
fn found(
    fs: &Fs,
    id: FileId,
    segment: SegmentId,
    frame: u32,
    record: &Record,
) -> Result<(u64, Vec<(u64, Extent)>), Status> {
    let first = frame.saturating_add(1 + u32::from(record.first_block));
    let blocks = (u64::from(record.skew) + record.bytes).div_ceil(BLOCK_BYTES as u64);
    let end = u64::from(first) + blocks;
    let mut reader = fs.reader.borrow_mut();
    reader.refresh()?;
    let Ok(inode) = reader.object(id) else { return Ok((0, Vec::new())) };
    let mut found = Vec::new();
    for row in reader.extents(id.ino, record.offset, record.offset.saturating_add(record.bytes))? {
        let (offset, extent) = row?;
        if let Place::Log { segment: lies_in, frame: of, block, .. } = extent.place
            && lies_in == segment
            && of == frame
            && block >= first
            && u64::from(block) < end
        {
            found.push((offset, extent));
        }
    }
    Ok((inode.folded_lsn, found))
}

/// Appends the bytes and shows them, if the ledger's extent is still what a reader would find.
pub(super) fn append_move(
    fs: &Fs,
    id: FileId,
    folded_lsn: u64,
    offset: u64,
    extent: Extent,
    payload: &[u8],
) -> Result<(), Refused> {
    if fs.stopping.get() {
        return Ok(());
    }
    let reservation = fs.log.reserve(payload, Urgency::Reserve)?;
    let moved = fs.with_entry(id, |entry| {
        let is_hidden = match entry.live() {
            Some(live) => !live.shows_ledger(offset, extent.bytes),
            None => offset + extent.bytes > entry.inode().size,
        };
        if is_hidden || entry.inode().folded_lsn != folded_lsn {
            return false;
        }
        let (lsn, place) = (fs.shared.lsn(), reservation.place());
        let now = entry.attr().mtime;
        let record = RecordFields {
            ino: id.ino.0,
            generation: id.generation,
            lsn,
            offset,
            time: now,
            kind: RecordKind::Move,
            clears_setid: false,
            aux: extent.version,
        };
        let position = reservation.commit(record, Stable::Later);
        let stamp = Stamp { lsn, now, core: fs.core, position: position.0, clears_setid: false };
        entry.live_mut().0.moved(offset, Extent { place, lsn, ..extent }, stamp);
        true
    });
    // A file that is gone needs no move.
    if moved == Ok(true) {
        fs.backlog.note(id, extent.bytes);
        fs.stats.moved_bytes.set(fs.stats.moved_bytes.get() + extent.bytes);
    }
    Ok(())
}

fn joined(pieces: &[Piece]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(pieces.iter().map(Piece::len).sum());
    for piece in pieces {
        payload.extend_from_slice(piece.as_slice());
    }
    payload
}

/// Between two passes without need, and how long a pass in vain counts.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// Beside the reserve a sixteenth of all segments is kept free, at least this many...
pub const FREE_SEGMENTS_LOW: u64 = 2;
/// ...and at most this many.
pub const FREE_SEGMENTS_HIGH: u64 = 64;
/// Fewer segments are not cleaned for being half empty.
pub const IDLE_SEGMENTS_MIN: u64 = 8;
/// Looks at one record, when folds come in between; what is left then stays for the next pass.
const MOVE_ATTEMPTS_MAX: usize = 8;
/// Most segments cleaned in one pass without need.
pub const PASS_SEGMENTS_MAX: usize = 4;
