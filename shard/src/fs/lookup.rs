//! LOOKUP: from a name to an object. Never waits. RFC 1813 3.3.3.
//!
//! Callers: nfs3::lookup, MOUNT (a path, name by name), [`super::readdir`] ([`object`]).

use super::access;
use super::column::Fs;
use crate::cred::Cred;
use crate::inode::{FileId, Ino, Inode};
use crate::ledger::command::Name;
use crate::ledger::reader::Reader;
use crate::status::Status;

/// Finds `name` in `dir`. `.` is the directory itself, `..` its parent; the root is its own.
pub fn lookup(fs: &Fs, cred: &Cred, dir: FileId, name: &[u8]) -> Result<Inode, Status> {
    let dir = fs.attr(dir)?;
    if !dir.is_directory() {
        return Err(Status::NotDir);
    }
    access::search(&dir, cred)?;
    match name {
        b"." => return Ok(dir),
        b".." => return current(fs, |_| Ok(Some(dir.parent))),
        _ => {}
    }
    let name = Name::new(name)?;
    current(fs, |reader| Ok(reader.lookup(dir.ino, name.as_bytes())?.map(|found| found.ino)))
}

/// The inode that `find` finds in a snapshot, as of now. It looks again where the inode changed
/// after the snapshot was taken.
fn current(fs: &Fs, find: impl Fn(&Reader) -> Result<Option<Ino>, Status>) -> Result<Inode, Status> {
    for _ in 0..ATTEMPTS_MAX {
        let mut reader = fs.reader.borrow_mut();
        reader.refresh()?;
        let ino = find(&reader)?.ok_or(Status::NoEnt)?;
        if let Some(inode) = object(fs, &reader, ino)? {
            return Ok(inode);
        }
    }
    Err(Status::Delay)
}

/// An inode that a name in the reader's snapshot leads to, as of now; `None` when it is gone since
/// or the snapshot is too old to tell.
pub(super) fn object(fs: &Fs, reader: &Reader, ino: Ino) -> Result<Option<Inode>, Status> {
    if let Some(inode) = fs.known(ino) {
        return Ok(Some(inode));
    }
    // Numbers of inodes are never given out again, so the number alone says which.
    match reader.inode(ino)? {
        Some(inode) => Ok(fs.shared.table.learn(reader.commit(), &inode)),
        None => Err(fs.count_corrupt()),
    }
}

/// Looks before LOOKUP gives up; more than one is needed only while the object is being changed.
const ATTEMPTS_MAX: usize = 1000;
