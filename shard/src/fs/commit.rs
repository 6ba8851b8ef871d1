//! COMMIT: every record of the file that any core's log holds becomes durable.
//!
//! Callers: nfs3::commit. The whole file is committed whatever range is named, as one flush takes it
//! all. What the ledger has folded was durable before. RFC 1813 3.3.21.

use super::column::Fs;
use super::{Step, write};
use crate::cred::Cred;
use crate::inode::{FileId, Inode};
use crate::status::Status;
use std::rc::Rc;

/// What COMMIT answers.
#[derive(Clone, Copy, Debug)]
pub struct CommitDone {
    /// The file before. COMMIT changes no attribute.
    pub before: Inode,
    /// The file after.
    pub after: Inode,
    /// The write verifier.
    pub verifier: [u8; 8],
}

/// Makes durable what was written to the file.
pub fn commit(fs: &Rc<Fs>, cred: &Cred, id: FileId) -> Step<Result<CommitDone, Status>> {
    let looked = fs.look_at(id, |entry| {
        let attr = entry.attr();
        write::may_write(&attr, cred)?;
        let pending = entry.live().filter(|live| !fs.is_durable(live.last()));
        Ok::<_, Status>((attr, pending.map(|live| live.last().to_vec())))
    });
    match looked {
        Err(status) | Ok(Err(status)) => Step::Done(Err(status)),
        Ok(Ok((_, _))) if fs.shared.is_poisoned() => Step::Done(Err(Status::Io)),
        Ok(Ok((attr, None))) => Step::Done(Ok(done(fs, attr))),
        Ok(Ok((attr, Some(last)))) => {
            let fs = Rc::clone(fs);
            Step::Later(Box::pin(async move {
                fs.flush_all(last).await?;
                Ok(done(&fs, attr))
            }))
        }
    }
}

/// Waits until every record that the file has is durable: for an answer that tells what another request has done.
pub(super) async fn settled(fs: &Rc<Fs>, id: FileId) -> Result<(), Status> {
    let pending = fs.with_entry(id, |entry| {
        entry.live().filter(|live| !fs.is_durable(live.last())).map(|live| live.last().to_vec())
    })?;
    match pending {
        Some(last) => fs.flush_all(last).await,
        None if fs.shared.is_poisoned() => Err(Status::Io),
        None => Ok(()),
    }
}

fn done(fs: &Fs, attr: Inode) -> CommitDone {
    CommitDone { before: attr, after: attr, verifier: fs.shared.verifier() }
}
