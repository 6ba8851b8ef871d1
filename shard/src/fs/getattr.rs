//! GETATTR: an object's attributes as of now. RFC 1813 3.3.1.

use super::column::Fs;
use crate::inode::{FileId, Inode};
use crate::status::Status;

/// The attributes; [`Status::Stale`] when the object is gone.
pub fn getattr(fs: &Fs, id: FileId) -> Result<Inode, Status> {
    fs.attr(id)
}
