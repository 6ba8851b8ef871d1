//! RENAME: moves a name, over an existing one where POSIX allows it. RFC 1813 3.3.14.

use super::Step;
use super::ask::{Asker, ask, refused_in};
use super::column::Fs;
use crate::inode::FileId;
use crate::ledger::command::{Answer, Name, Verb};
use std::rc::Rc;

/// Moves `from.1` in directory `from.0` to `to.1` in directory `to.0`. `.` and `..` are invalid as
/// either.
pub fn rename(fs: &Rc<Fs>, asker: &Asker, from: (FileId, &[u8]), to: (FileId, &[u8])) -> Step<Answer> {
    match Name::new(from.1).and_then(|from_name| Ok((from_name, Name::new(to.1)?))) {
        Ok((from_name, to_name)) => ask(fs, asker, Verb::Rename { from_dir: from.0, from_name, to_dir: to.0, to_name }),
        Err(status) => {
            let answer = refused_in(fs, from.0, status);
            Step::Done(Answer { to_dir: refused_in(fs, to.0, status).dir, ..answer })
        }
    }
}
