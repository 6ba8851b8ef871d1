//! MKDIR: makes a directory. RFC 1813 3.3.9.

use super::Step;
use super::ask::{Asker, ask, new_name, refused_in};
use super::column::Fs;
use crate::inode::FileId;
use crate::ledger::command::{Answer, SetAttr, Verb};
use std::rc::Rc;

/// Makes directory `name` in `dir`.
pub fn mkdir(fs: &Rc<Fs>, asker: &Asker, dir: FileId, name: &[u8], attr: SetAttr) -> Step<Answer> {
    match new_name(name) {
        Ok(name) => ask(fs, asker, Verb::Mkdir { dir, name, attr }),
        Err(status) => Step::Done(refused_in(fs, dir, status)),
    }
}
