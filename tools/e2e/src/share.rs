//! What the workload asks of a share, and the two ways to ask: [`Raw`], our own client, which retransmits and keeps
//! what is not yet committed as a real client must; and [`Mounted`], the kernel's client below a folder.
//! Paths are relative to the worker's folder.

mod mounted;
mod raw;

pub(crate) use mounted::Mounted;
pub(crate) use raw::Raw;

use crate::failure::Failure;

pub(crate) trait Share {
    fn create(&mut self, path: &str, how: How) -> Result<(), Failure>;
    fn mkdir(&mut self, path: &str) -> Result<(), Failure>;
    fn symlink(&mut self, path: &str, text: &str) -> Result<(), Failure>;
    fn fifo(&mut self, path: &str) -> Result<(), Failure>;
    fn remove(&mut self, path: &str) -> Result<(), Failure>;
    fn rmdir(&mut self, path: &str) -> Result<(), Failure>;
    fn rename(&mut self, source: &str, target: &str) -> Result<(), Failure>;
    fn link(&mut self, source: &str, target: &str) -> Result<(), Failure>;
    fn truncate(&mut self, path: &str, bytes: u64) -> Result<(), Failure>;
    fn chmod(&mut self, path: &str, mode: u32) -> Result<(), Failure>;
    /// Data that is stable when this returns.
    fn write_synced(&mut self, path: &str, offset: u64, data: &[u8]) -> Result<(), Failure>;
    /// Data that is stable after the next `sync` of the same path.
    fn write_later(&mut self, path: &str, offset: u64, data: &[u8]) -> Result<(), Failure>;
    fn sync(&mut self, path: &str) -> Result<(), Failure>;
    /// All entries of a folder but `.` and `..`, in the server's order.
    fn list(&mut self, path: &str) -> Result<Vec<Entry>, Failure>;
    fn read(&mut self, path: &str) -> Result<Vec<u8>, Failure>;
    fn readlink(&mut self, path: &str) -> Result<String, Failure>;
    /// From here on, answers come from the server.
    fn forget(&mut self) -> Result<(), Failure>;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    Guarded,
    Exclusive,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    File,
    Folder,
    Symlink,
    Fifo,
    Other,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) fileid: u64,
    pub(crate) bytes: u64,
    pub(crate) links: u64,
    pub(crate) mode: u32,
}
