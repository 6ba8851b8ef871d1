//! READLINK: the target of a symbolic link. Never waits. RFC 1813 3.3.5.

use super::column::Fs;
use crate::inode::{FileId, Inode, Kind};
use crate::status::Status;

/// What READLINK answers.
#[derive(Clone, Debug)]
pub struct Linked {
    /// The object, where it could be read.
    pub object: Option<Inode>,
    /// The target, 1 to [`crate::ledger::command::TARGET_MAX`] bytes; [`Status::Inval`] where the object is
    /// no symbolic link.
    pub target: Result<Vec<u8>, Status>,
}

/// Reads the target.
pub fn readlink(fs: &Fs, id: FileId) -> Linked {
    match fs.attr(id) {
        Err(status) => Linked { object: None, target: Err(status) },
        Ok(inode) if inode.kind != Kind::Symlink => Linked { object: Some(inode), target: Err(Status::Inval) },
        Ok(inode) => Linked { object: Some(inode), target: target(fs, id) },
    }
}

fn target(fs: &Fs, id: FileId) -> Result<Vec<u8>, Status> {
    let mut reader = fs.reader.borrow_mut();
    reader.refresh()?;
    match reader.target(id.ino)? {
        Some(target) => Ok(target.to_vec()),
        None if reader.inode(id.ino)?.is_none() => Err(Status::Stale),
        None => Err(fs.count_corrupt()),
    }
}
