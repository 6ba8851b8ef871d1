//! The ledger's verbs, one file each: POSIX and RFC 1813 semantics inside a batch.
//!
//! Caller: the ledger. A verb reads and decides first, with every refusal on that way, and changes
//! afterwards. The order of the checks is that of Linux: search the directory, find the name, then
//! permission to change, then what the operation itself demands.

use super::batch::{Batch, Fault, Stamp};
use super::command::{Answer, Ask, Name, SetTime, Verb, Wcc};
use super::record::entry::Found;
use crate::cred::Cred;
use crate::fs::access;
use crate::inode::{FileId, Inode};
use crate::status::Status;
use cache::world::Time;

mod create;
mod link;
mod make;
mod mkdir;
mod mknod;
mod remove;
mod rename;
mod rmdir;
mod setattr;
mod symlink;

/// Who asks, and when.
struct Caller<'a> {
    cred: &'a Cred,
    now: Time,
}

/// Applies one request. A refusal is an answer too: with the directories as they are.
pub(super) fn apply(batch: &mut Batch<'_>, ask: &Ask) -> Result<Answer, Fault> {
    let caller = &Caller { cred: &ask.cred, now: ask.now };
    let outcome = match &ask.verb {
        Verb::Create { dir, name, how, attr } => create::apply(batch, caller, *dir, name, *how, attr),
        Verb::Mkdir { dir, name, attr } => mkdir::apply(batch, caller, *dir, name, attr),
        Verb::Symlink { dir, name, attr, target } => symlink::apply(batch, caller, *dir, name, attr, target),
        Verb::Mknod { dir, name, attr, kind, rdev } => mknod::apply(batch, caller, *dir, name, attr, *kind, *rdev),
        Verb::Remove { dir, name } => remove::apply(batch, caller, *dir, name),
        Verb::Rmdir { dir, name } => rmdir::apply(batch, caller, *dir, name),
        Verb::Rename { from_dir, from_name, to_dir, to_name } => {
            rename::apply(batch, caller, (*from_dir, from_name), (*to_dir, to_name))
        }
        Verb::Link { file, dir, name } => link::apply(batch, caller, *file, *dir, name),
        Verb::Setattr { file, attr, guard } => setattr::apply(batch, caller, *file, attr, *guard),
    };
    match outcome {
        Err(Fault::Refused(status)) => Ok(refused(batch, &ask.verb, status)),
        outcome => outcome,
    }
}

/// The answer to a refused request: its objects as they are, where they are.
fn refused(batch: &mut Batch<'_>, verb: &Verb, status: Status) -> Answer {
    let (object, dir, to_dir) = match verb {
        Verb::Create { dir, .. }
        | Verb::Mkdir { dir, .. }
        | Verb::Symlink { dir, .. }
        | Verb::Mknod { dir, .. }
        | Verb::Remove { dir, .. }
        | Verb::Rmdir { dir, .. } => (None, Some(*dir), None),
        Verb::Rename { from_dir, to_dir, .. } => (None, Some(*from_dir), Some(*to_dir)),
        Verb::Link { file, dir, .. } => (Some(*file), Some(*dir), None),
        Verb::Setattr { file, .. } => (Some(*file), None, None),
    };
    let mut as_is = |id: FileId| batch.object(id).ok().map(|inode| batch.seen(&inode));
    let object = object.and_then(&mut as_is);
    let dir = dir.map(&mut as_is);
    let to_dir = to_dir.map(&mut as_is);
    let unchanged = |inode| Wcc { before: inode, after: inode };
    Answer {
        status: Err(status),
        object,
        existed: false,
        before: object.filter(|_| matches!(verb, Verb::Setattr { .. })),
        dir: dir.map(unchanged),
        to_dir: to_dir.map(unchanged),
        replayed: false,
    }
}

/// An answer with nothing in it yet.
fn done() -> Answer {
    Answer { status: Ok(()), object: None, existed: false, before: None, dir: None, to_dir: None, replayed: false }
}

fn wcc(before: Inode, after: Inode) -> Option<Wcc> {
    Some(Wcc { before: Some(before), after: Some(after) })
}

/// Finds a name that must be there, in a directory that may be searched.
fn lookup(batch: &mut Batch<'_>, caller: &Caller<'_>, dir: &Inode, name: &Name) -> Result<Found, Fault> {
    access::search(dir, caller.cred)?;
    batch.found(dir.ino, name.as_bytes())?.ok_or(Fault::Refused(Status::NoEnt))
}

/// Takes one link of an inode away; with the last one the inode goes.
fn drop_link(batch: &mut Batch<'_>, inode: &Inode, stamp: Stamp) -> Result<(), Fault> {
    if inode.is_directory() || inode.nlink <= 1 {
        return batch.bury(inode);
    }
    let mut left = super::batch::changed(batch.absorbed(inode), stamp);
    left.nlink -= 1;
    batch.put_inode(left);
    Ok(())
}

fn time(set: Option<SetTime>, server: Time, otherwise: Time) -> Time {
    match set {
        None => otherwise,
        Some(SetTime::Server) => server,
        Some(SetTime::Client(time)) => time,
    }
}

/// Most hard links of a file; PATHCONF tells it.
pub const LINK_MAX: u32 = 65_000;
