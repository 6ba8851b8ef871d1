//! SETATTR: attributes are the ledger's, a file's length is the log's.
//!
//! Callers: nfs3::setattr, and CREATE where it truncates or sets a length ([`truncate`]). A request
//! that sets both asks the ledger first; it has checked the guard then. A truncation is answered when
//! its record is durable. RFC 1813 3.3.2.

use super::column::Fs;
use super::under_way::UnderWay;
use super::{Step, commit, write};
use crate::cred::Cred;
use crate::inode::{FileId, Inode, later};
use crate::ledger::command::{Answer, Ask, Done, Job, ReplayKey, SetAttr, SetTime, Verb};
use crate::live::Stamp;
use crate::status::Status;
use cache::disk::Stable;
use cache::frame::RecordKind;
use cache::log::{Position, Refused, Urgency};
use cache::world::Time;
use std::rc::Rc;

/// What SETATTR answers.
#[derive(Clone, Copy, Debug)]
pub struct SetattrDone {
    /// The object before.
    pub before: Inode,
    /// The object after.
    pub after: Inode,
}

/// What a file must be for its length to be set; [`Status::NotSync`] where it is not.
#[derive(Clone, Copy, Debug)]
pub enum Guard {
    /// Whatever it is.
    None,
    /// Its ctime is this one: the guard of SETATTR.
    Ctime(Time),
    /// Nothing has happened to it since the change with this number. A crash may even have taken that one away.
    Unchanged(u64),
}

/// Sets attributes. With `guard` only if the object's ctime is still that one.
pub fn setattr(
    fs: &Rc<Fs>,
    cred: &Cred,
    id: FileId,
    attr: SetAttr,
    guard: Option<Time>,
    replay: Option<ReplayKey>,
) -> Step<Result<SetattrDone, Status>> {
    let rest = SetAttr { size: None, mtime: attr.mtime.filter(|_| !sets_mtime_anyway(&attr)), ..attr };
    match attr.size {
        Some(size) if rest == SetAttr::default() => {
            Step::Later(Box::pin(resize(Rc::clone(fs), *cred, id, size, guard, replay)))
        }
        size => Step::Later(Box::pin(set(Rc::clone(fs), *cred, id, size, rest, guard, replay))),
    }
}

/// Sets the length of a regular file.
pub fn truncate(fs: &Rc<Fs>, cred: &Cred, id: FileId, size: u64, guard: Guard) -> Step<Result<SetattrDone, Status>> {
    let want = Want { cred: *cred, id, size, guard };
    match append(fs, &want) {
        Err(Refusal::Status(status)) => Step::Done(Err(status)),
        first => Step::Later(Box::pin(finish(Rc::clone(fs), want, first))),
    }
}

/// A new length makes a new mtime by itself.
fn sets_mtime_anyway(attr: &SetAttr) -> bool {
    attr.size.is_some() && attr.mtime == Some(SetTime::Server)
}

/// Sets the length once.
async fn resize(
    fs: Rc<Fs>,
    cred: Cred,
    id: FileId,
    size: u64,
    guard: Option<Time>,
    replay: Option<ReplayKey>,
) -> Result<SetattrDone, Status> {
    let under_way = UnderWay::begin(&fs, replay).await;
    if let Some(answer) = under_way.known() {
        return answer;
    }
    let answer = truncate(&fs, &cred, id, size, guard.map_or(Guard::None, Guard::Ctime)).wait().await;
    under_way.keep(&answer);
    answer
}

/// Asks the ledger, then sets the length.
async fn set(
    fs: Rc<Fs>,
    cred: Cred,
    id: FileId,
    size: Option<u64>,
    rest: SetAttr,
    guard: Option<Time>,
    replay: Option<ReplayKey>,
) -> Result<SetattrDone, Status> {
    fs.writable()?;
    if let Some(size) = size {
        // Refused as a whole: nothing is set when the length may not be.
        write::may_write(&fs.attr(id)?, &cred)?;
        check_size(size)?;
    }
    let _under_way = UnderWay::begin(&fs, replay.filter(|_| size.is_some())).await;
    let Answer { before: Some(before), object: Some(after), replayed, .. } =
        tell(&fs, cred, Verb::Setattr { file: id, attr: rest, guard }, replay).await?
    else {
        return Err(Status::ServerFault);
    };
    let done = SetattrDone { before, after };
    let Some(size) = size else { return Ok(done) };
    // A repetition sets the length only where that was not done, and the file has not changed since.
    let guard = if replayed { Guard::Unchanged(after.change) } else { Guard::None };
    let after = match truncate(&fs, &cred, id, size, guard).wait().await {
        Ok(SetattrDone { after, .. }) => after,
        Err(Status::NotSync) => {
            commit::settled(&fs, id).await?;
            return Ok(SetattrDone { after: fs.attr(id)?, ..done });
        }
        Err(status) => return Err(status),
    };
    let Some(mtime) = rest.mtime else { return Ok(SetattrDone { after, ..done }) };
    // The new length came with an mtime of its own; the client's is the one that counts.
    let attr = SetAttr { mtime: Some(mtime), ..SetAttr::default() };
    let answer = tell(&fs, cred, Verb::Setattr { file: id, attr, guard: None }, None).await?;
    Ok(SetattrDone { after: answer.object.unwrap_or(after), ..done })
}

/// Asks the ledger; a refusal is an error.
async fn tell(fs: &Fs, cred: Cred, verb: Verb, replay: Option<ReplayKey>) -> Result<Answer, Status> {
    let ask = Ask { cred, now: fs.world.now(), replay, verb };
    match fs.port.call(Job::Ask(Box::new(ask))).await {
        Done::Answer(answer) => answer.status.map(|()| *answer),
        Done::Refused(status) => Err(status),
        _ => Err(Status::ServerFault),
    }
}

/// What is asked.
#[derive(Clone, Copy)]
struct Want {
    cred: Cred,
    id: FileId,
    size: u64,
    guard: Guard,
}

/// Why nothing was appended.
enum Refusal {
    Status(Status),
    Wait(Refused),
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Refusal {
        Refusal::Status(status)
    }
}

type Appended = Result<(SetattrDone, Position), Refusal>;

/// Puts the record into the log; never waits.
fn append(fs: &Fs, want: &Want) -> Appended {
    fs.writable()?;
    check_size(want.size)?;
    let reservation = fs.log.reserve(&[], Urgency::Reserve).map_err(Refusal::Wait)?;
    let now = fs.world.now();
    let (before, after, position) = fs.with_entry(want.id, |entry| {
        let before = entry.attr();
        write::may_write(&before, &want.cred)?;
        let holds = match want.guard {
            Guard::None => true,
            Guard::Ctime(ctime) => before.ctime == ctime,
            Guard::Unchanged(change) => before.change <= change,
        };
        if !holds {
            return Err(Status::NotSync);
        }
        let stamp = Stamp {
            lsn: fs.shared.lsn(),
            now: later(before.ctime, now),
            core: fs.core,
            position: reservation.position().0,
            clears_setid: write::clears_setid(&before, &want.cred),
        };
        let position = reservation.commit(write::fields(want.id, want.size, RecordKind::Truncate, &stamp), Stable::Now);
        let (live, inode) = entry.live_mut();
        live.truncate(inode, want.size, stamp);
        Ok((before, entry.attr(), position))
    })??;
    fs.backlog.note(want.id, 0);
    Ok((SetattrDone { before, after }, position))
}

async fn finish(fs: Rc<Fs>, want: Want, mut appended: Appended) -> Result<SetattrDone, Status> {
    loop {
        match appended {
            Ok((done, position)) => {
                fs.flush(position).await?;
                return Ok(done);
            }
            Err(Refusal::Status(status)) => return Err(status),
            Err(Refusal::Wait(refused)) => write::room(&fs, 0, Urgency::Reserve, refused).await?,
        }
        appended = append(&fs, &want);
    }
}

fn check_size(size: u64) -> Result<(), Status> {
    if size > write::FILE_BYTES_MAX { Err(Status::FileTooBig) } else { Ok(()) }
}
