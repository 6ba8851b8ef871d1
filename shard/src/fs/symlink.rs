//! SYMLINK: makes a symbolic link. RFC 1813 3.3.10.

use super::Step;
use super::ask::{Asker, ask, new_name, refused_in};
use super::column::Fs;
use crate::inode::FileId;
use crate::ledger::command::{Answer, SetAttr, TARGET_MAX, Verb};
use crate::status::Status;
use std::rc::Rc;

/// Makes symbolic link `name` in `dir`, which leads to `target`: 1 to [`TARGET_MAX`] bytes without NUL.
pub fn symlink(fs: &Rc<Fs>, asker: &Asker, dir: FileId, name: &[u8], attr: SetAttr, target: &[u8]) -> Step<Answer> {
    if target.len() > TARGET_MAX {
        return Step::Done(refused_in(fs, dir, Status::NameTooLong));
    }
    match new_name(name) {
        Ok(name) => ask(fs, asker, Verb::Symlink { dir, name, attr, target: target.into() }),
        Err(status) => Step::Done(refused_in(fs, dir, status)),
    }
}
