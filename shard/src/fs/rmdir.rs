//! RMDIR: takes an empty directory away. RFC 1813 3.3.13.

use super::Step;
use super::ask::{Asker, ask, refused_in};
use super::column::Fs;
use crate::inode::FileId;
use crate::ledger::command::{Answer, Name, Verb};
use crate::status::Status;
use std::rc::Rc;

/// Removes directory `name` from `dir`.
pub fn rmdir(fs: &Rc<Fs>, asker: &Asker, dir: FileId, name: &[u8]) -> Step<Answer> {
    match checked(name) {
        Ok(name) => ask(fs, asker, Verb::Rmdir { dir, name }),
        Err(status) => Step::Done(refused_in(fs, dir, status)),
    }
}

/// `.` is an invalid argument, `..` exists (RFC 1813 3.3.13).
fn checked(raw: &[u8]) -> Result<Name, Status> {
    match raw {
        b"." => Err(Status::Inval),
        b".." => Err(Status::Exist),
        _ => Name::new(raw),
    }
}
