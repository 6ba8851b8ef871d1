//! MKNOD: makes a device, a socket or a fifo. RFC 1813 3.3.11.

use super::Step;
use super::ask::{Asker, ask, new_name, refused_in};
use super::column::Fs;
use crate::inode::{FileId, Kind};
use crate::ledger::command::{Answer, SetAttr, Verb};
use std::rc::Rc;

/// Makes `name` in `dir`; [`crate::status::Status::BadType`] for a kind that other verbs make.
pub fn mknod(
    fs: &Rc<Fs>,
    asker: &Asker,
    dir: FileId,
    name: &[u8],
    attr: SetAttr,
    kind: Kind,
    rdev: (u32, u32),
) -> Step<Answer> {
    match new_name(name) {
        Ok(name) => ask(fs, asker, Verb::Mknod { dir, name, attr, kind, rdev }),
        Err(status) => Step::Done(refused_in(fs, dir, status)),
    }
}
