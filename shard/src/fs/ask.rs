//! What the verbs that change the namespace have in common: the way to the ledger and back, and the
//! answers that need no ledger.
//!
//! Callers: create, mkdir, symlink, mknod, remove, rmdir, rename, link. RFC 1813 3.3.8 to 3.3.15.

use super::Step;
use super::column::Fs;
use crate::cred::Cred;
use crate::inode::FileId;
use crate::ledger::command::{Answer, Ask, Done, Job, Name, ReplayKey, Verb, Wcc};
use crate::status::Status;
use std::rc::Rc;

/// Who asks for a change.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// The identity after squashing.
    pub cred: Cred,
    /// Names the request, so that it takes effect once.
    pub replay: Option<ReplayKey>,
}

/// Sends a request to the ledger. The answer comes after its commit.
pub(super) fn ask(fs: &Rc<Fs>, asker: &Asker, verb: Verb) -> Step<Answer> {
    if let Err(status) = fs.writable() {
        return Step::Done(refused(status));
    }
    let ask = Ask { cred: asker.cred, now: fs.world.now(), replay: asker.replay, verb };
    let done = fs.port.call(Job::Ask(Box::new(ask)));
    Step::Later(Box::pin(async move {
        match done.await {
            Done::Answer(answer) => *answer,
            Done::Refused(status) => refused(status),
            Done::Folded | Done::Segment { .. } | Done::Swept { .. } => refused(Status::ServerFault),
        }
    }))
}

/// The answer to a request that is refused without the ledger: the directory as it is.
pub(super) fn refused_in(fs: &Fs, dir: FileId, status: Status) -> Answer {
    match fs.attr(dir) {
        Err(gone) => refused(gone),
        Ok(inode) => {
            let status = if inode.is_directory() { status } else { Status::NotDir };
            let unchanged = Wcc { before: Some(inode), after: Some(inode) };
            Answer { dir: Some(unchanged), ..refused(status) }
        }
    }
}

/// A refusal with nothing else in it.
pub(super) fn refused(status: Status) -> Answer {
    Answer { status: Err(status), object: None, existed: false, before: None, dir: None, to_dir: None, replayed: false }
}

/// A name to be made. `.` and `..` are there in every directory.
pub(super) fn new_name(raw: &[u8]) -> Result<Name, Status> {
    if raw == b"." || raw == b".." { Err(Status::Exist) } else { Name::new(raw) }
}
