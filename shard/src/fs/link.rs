//! LINK: makes a hard link. RFC 1813 3.3.15.

use super::Step;
use super::ask::{Asker, ask, new_name, refused_in};
use super::column::Fs;
use crate::inode::FileId;
use crate::ledger::command::{Answer, Verb};
use std::rc::Rc;

/// Makes `name` in `dir`, which leads to `file`.
pub fn link(fs: &Rc<Fs>, asker: &Asker, file: FileId, dir: FileId, name: &[u8]) -> Step<Answer> {
    match new_name(name) {
        Ok(name) => ask(fs, asker, Verb::Link { file, dir, name }),
        Err(status) => {
            let answer = refused_in(fs, dir, status);
            Step::Done(Answer { object: fs.attr(file).ok(), ..answer })
        }
    }
}
