//! What CREATE, MKDIR, SYMLINK and MKNOD have in common: a name that must be free, owner, group and
//! mode of a new object, and its entry in the directory.

use super::{Caller, done, time, wcc};
use crate::fs::access;
use crate::inode::{FileId, Inode, Kind, SETGID};
use crate::ledger::batch::{Batch, Fault, Stamp, entries_changed};
use crate::ledger::command::{Answer, Name, SetAttr};
use crate::ledger::record::entry::Found;
use crate::ledger::record::inode::{MODE_BITS, directory_bytes};
use crate::status::Status;

/// What is to be made.
pub(super) struct New<'a> {
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) attr: &'a SetAttr,
    pub(super) size: u64,
    pub(super) rdev: (u32, u32),
    pub(super) verifier: Option<[u8; 8]>,
}

/// The directory in which `name` may be made by the caller.
pub(super) fn vacant(batch: &mut Batch<'_>, caller: &Caller<'_>, dir: FileId, name: &Name) -> Result<Inode, Fault> {
    let dir = batch.directory(dir)?;
    access::search(&dir, caller.cred)?;
    if batch.found(dir.ino, name.as_bytes())?.is_some() {
        return Err(Fault::Refused(Status::Exist));
    }
    may_make(batch, caller, &dir)?;
    Ok(dir)
}

/// Whether the caller may make an object in `dir`, and there is room for it.
pub(super) fn may_make(batch: &mut Batch<'_>, caller: &Caller<'_>, dir: &Inode) -> Result<(), Fault> {
    access::extend(dir, caller.cred)?;
    batch.may_grow()
}

/// Makes it: after [`may_make`] nothing can be refused any more.
pub(super) fn make(
    batch: &mut Batch<'_>,
    caller: &Caller<'_>,
    dir: Inode,
    name: &Name,
    new: &New<'_>,
) -> Result<Answer, Fault> {
    let stamp = batch.stamp(caller.now);
    let object = object(batch, caller, &dir, new, stamp);
    let entry = Found { ino: object.ino, kind: object.kind, cookie: stamp.lsn };
    batch.put_entry(dir.ino, name.as_bytes(), &entry);
    batch.put_inode(object);
    let mut after = entries_changed(dir, stamp, |entries| entries + 1);
    if object.is_directory() {
        after.nlink = after.nlink.saturating_add(1);
    }
    batch.put_inode(after);
    Ok(Answer { object: Some(object), dir: wcc(dir, after), ..done() })
}

fn object(batch: &mut Batch<'_>, caller: &Caller<'_>, dir: &Inode, new: &New<'_>, stamp: Stamp) -> Inode {
    let is_directory = new.kind == Kind::Directory;
    let (uid, gid) = owner(caller, dir, new.attr);
    let size = if is_directory { directory_bytes(0) } else { new.size };
    Inode {
        ino: batch.new_ino(),
        generation: generation(stamp),
        kind: new.kind,
        mode: mode(caller, dir, new, gid),
        uid,
        gid,
        nlink: if is_directory { 2 } else { 1 },
        rdev: new.rdev,
        size,
        used: if is_directory { size } else { 0 },
        atime: time(new.attr.atime, caller.now, caller.now),
        mtime: time(new.attr.mtime, caller.now, caller.now),
        ctime: caller.now,
        btime: caller.now,
        change: stamp.lsn,
        folded_lsn: 0,
        parent: if is_directory { dir.ino } else { crate::inode::Ino(0) },
        entries: 0,
        verifier: new.verifier,
    }
}

/// A new object belongs to the caller, its group is that of a set-group-id directory. Only the
/// superuser may ask for others; what anyone else asks for is left out, as Linux does.
fn owner(caller: &Caller<'_>, dir: &Inode, attr: &SetAttr) -> (u32, u32) {
    let group = if dir.mode & SETGID != 0 { dir.gid } else { caller.cred.gid };
    if caller.cred.is_root() {
        (attr.uid.unwrap_or(caller.cred.uid), attr.gid.unwrap_or(group))
    } else {
        (caller.cred.uid, group)
    }
}

fn mode(caller: &Caller<'_>, dir: &Inode, new: &New<'_>, gid: u32) -> u32 {
    let mode = new.mode & MODE_BITS;
    if new.kind == Kind::Directory {
        // Set-id bits of a directory are inherited or set later, never made.
        return (mode & 0o1777) | (dir.mode & SETGID);
    }
    if access::is_in_group(gid, caller.cred) { mode } else { mode & !SETGID }
}

/// Numbers of inodes are never given out again, so any value tells a handle from a forged one.
fn generation(stamp: Stamp) -> u32 {
    (stamp.lsn & u64::from(u32::MAX)) as u32
}
