//! MKDIR (RFC 1813 3.3.9).

use super::Caller;
use super::make::{self, New};
use crate::inode::{FileId, Kind};
use crate::ledger::batch::{Batch, Fault};
use crate::ledger::command::{Answer, Name, SetAttr};
use crate::status::Status;

pub(super) fn apply(
    batch: &mut Batch<'_>,
    caller: &Caller<'_>,
    dir: FileId,
    name: &Name,
    attr: &SetAttr,
) -> Result<Answer, Fault> {
    let dir = make::vacant(batch, caller, dir, name)?;
    if dir.nlink == u32::MAX {
        return Err(Fault::Refused(Status::TooManyLinks));
    }
    let mode = attr.mode.unwrap_or(0);
    let new = New { kind: Kind::Directory, mode, attr, size: 0, rdev: (0, 0), verifier: None };
    make::make(batch, caller, dir, name, &new)
}
