//! REMOVE: takes a name away that is no directory. RFC 1813 3.3.12.

use super::Step;
use super::ask::{Asker, ask, refused_in};
use super::column::Fs;
use crate::inode::FileId;
use crate::ledger::command::{Answer, Name, Verb};
use crate::status::Status;
use std::rc::Rc;

/// Removes `name` from `dir`. `.` and `..` are directories.
pub fn remove(fs: &Rc<Fs>, asker: &Asker, dir: FileId, name: &[u8]) -> Step<Answer> {
    match checked(name) {
        Ok(name) => ask(fs, asker, Verb::Remove { dir, name }),
        Err(status) => Step::Done(refused_in(fs, dir, status)),
    }
}

fn checked(raw: &[u8]) -> Result<Name, Status> {
    if raw == b"." || raw == b".." { Err(Status::IsDir) } else { Name::new(raw) }
}
