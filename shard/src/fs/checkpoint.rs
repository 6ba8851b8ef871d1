//! The checkpoint of a core: what its log says becomes the ledger's, and replay begins later.
//!
//! Caller: the core, once a second or when much has gathered. It takes the files that this core
//! wrote, with all that any core's log says of them, makes that durable, folds it into the ledger in
//! batches, and moves the start of the replay with the last one.

use super::backlog::Backlog;
use super::column::Fs;
use crate::inode::FileId;
use crate::ledger::command::{Done, Fold, Job, ReplayFrom};
use crate::live::Captured;
use crate::status::Status;
use cache::extent::{Extent, Place};
use cache::log::{Poisoned, Position};
use futures_util::future::{Either, select};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// The core's task: ends when the filesystem stops or fails.
pub(super) async fn run(fs: Weak<Fs>) {
    while let Some(fs) = fs.upgrade() {
        if fs.stopping.get() || fs.shared.is_poisoned() {
            return;
        }
        // A refused fold is tried again in a second.
        if fold_all(&fs).await.is_ok() && fs.backlog.is_due() {
            continue;
        }
        let timer = fs.world.sleep(INTERVAL);
        let (wanted, wake) = (fs.backlog.wanted.raised(), fs.wake.raised());
        drop(fs);
        select(timer, pin!(select(pin!(wanted), pin!(wake)))).await;
    }
}

/// Folds all that this core's log holds now.
pub(super) async fn fold_all(fs: &Rc<Fs>) -> Result<(), Status> {
    let _turn = Turn::wait(fs).await;
    if fs.backlog.is_empty() {
        return Ok(());
    }
    // One turn: whatever is noted before the point is taken, whatever comes after lies behind it.
    let point = fs.log.replay_point();
    let position = fs.log.position();
    let files = fs.backlog.take();
    let from = point.map(|(segment, block)| ReplayFrom { core: fs.core, segment, block });
    let result = fold(fs, &files, position, from).await;
    match result {
        Ok(()) => fs.stats.checkpoints.set(fs.stats.checkpoints.get() + 1),
        Err(_) => fs.backlog.put_back(files),
    }
    fs.backlog.folded();
    result
}

async fn fold(fs: &Rc<Fs>, files: &[FileId], position: Position, from: Option<ReplayFrom>) -> Result<(), Status> {
    let captured = capture(fs, files);
    // All of the log before the point, also what belongs to files that are gone, and the seals of segments that
    // were left: no write may still be under way in a segment whose slot is given to another one.
    fs.flush_all(newest(&captured, (fs.core, position.0))).await?;
    if let Some(from) = from {
        fs.log.settled_before(from.segment).await.map_err(|Poisoned| fs.fail())?;
    }
    let mut batch = Vec::new();
    let mut extents = 0;
    for (id, Captured { lsn, cut, extents: found, attr, .. }) in captured {
        let found = joined(found);
        extents += found.len() + 1;
        batch.push(Fold { id, lsn, cut, extents: found, attr });
        if extents >= BATCH_EXTENTS {
            send(fs, std::mem::take(&mut batch), None).await?;
            extents = 0;
        }
    }
    send(fs, batch, from).await
}

/// What the log says of each file; those that are gone or folded by another core have nothing.
fn capture(fs: &Fs, files: &[FileId]) -> Vec<(FileId, Captured)> {
    let mut captured = Vec::with_capacity(files.len());
    for &id in files {
        let found = fs.shared.table.with(id.ino, |stripe| {
            let entry = stripe.entry(id.ino).filter(|entry| entry.inode().id() == id)?;
            entry.live()?;
            Some(entry.live_mut().0.capture())
        });
        captured.extend(found.map(|found| (id, found)));
    }
    captured
}

/// For each core the last position of all.
fn newest(captured: &[(FileId, Captured)], own: (u16, u64)) -> Vec<(u16, u64)> {
    let mut newest = vec![own];
    for &(core, position) in captured.iter().flat_map(|(_, captured)| &captured.last) {
        match newest.iter_mut().find(|(known, _)| *known == core) {
            Some((_, last)) => *last = (*last).max(position),
            None => newest.push((core, position)),
        }
    }
    newest
}

async fn send(fs: &Rc<Fs>, files: Vec<Fold>, from: Option<ReplayFrom>) -> Result<(), Status> {
    match fs.port.call(Job::Fold { files, from }).await {
        Done::Folded => Ok(()),
        Done::Refused(status) => Err(status),
        _ => Err(Status::ServerFault),
    }
}

/// Neighbours in the file that are neighbours in one frame of the log become one extent.
pub(super) fn joined(extents: Vec<(u64, Extent)>) -> Vec<(u64, Extent)> {
    let mut joined: Vec<(u64, Extent)> = Vec::with_capacity(extents.len());
    for (offset, extent) in extents {
        if let Some((start, last)) = joined.last_mut()
            && *start + last.bytes == offset
            && continues(last, &extent)
        {
            last.bytes += extent.bytes;
            last.version = last.version.max(extent.version);
            last.lsn = last.lsn.max(extent.lsn);
            continue;
        }
        joined.push((offset, extent));
    }
    joined
}

fn continues(last: &Extent, next: &Extent) -> bool {
    match (last.place, next.place) {
        (Place::Hole, Place::Hole) => true,
        (Place::Log { .. }, Place::Log { .. }) => last.place.advanced(last.bytes) == next.place,
        _ => false,
    }
}

/// One checkpoint of a core at a time.
struct Turn<'f>(&'f Backlog);

impl<'f> Turn<'f> {
    async fn wait(fs: &'f Rc<Fs>) -> Turn<'f> {
        while fs.backlog.busy.replace(true) {
            fs.backlog.done.raised().await;
        }
        Turn(&fs.backlog)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.busy.set(false);
        self.0.done.raise();
    }
}

impl Fs {
    /// Waits until the log holds less that is not folded; an error when that will not happen.
    pub(super) async fn drained(self: &Rc<Fs>) -> Result<(), Status> {
        while self.backlog.is_full() {
            self.writable()?;
            let done = self.backlog.done.raised();
            self.backlog.wanted.raise();
            match select(pin!(done), self.world.sleep(INTERVAL)).await {
                Either::Left(_) | Either::Right(_) => {}
            }
        }
        Ok(())
    }
}

/// Between two checkpoints of a core that has little to do.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// Extents of one job of the ledger; a file with more comes in one all the same.
pub const BATCH_EXTENTS: usize = 512;
