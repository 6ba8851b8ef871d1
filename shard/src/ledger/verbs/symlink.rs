//! SYMLINK (RFC 1813 3.3.10). Its mode says nothing; it is always 0777, as on Linux.

use super::Caller;
use super::make::{self, New};
use crate::inode::{FileId, Kind};
use crate::ledger::batch::{Batch, Fault};
use crate::ledger::command::{Answer, Name, SetAttr, TARGET_MAX};
use crate::ledger::record::{Table, tree};
use crate::status::Status;

pub(super) fn apply(
    batch: &mut Batch<'_>,
    caller: &Caller<'_>,
    dir: FileId,
    name: &Name,
    attr: &SetAttr,
    target: &[u8],
) -> Result<Answer, Fault> {
    let dir = make::vacant(batch, caller, dir, name)?;
    check(target)?;
    let size = target.len() as u64;
    let new = New { kind: Kind::Symlink, mode: 0o777, attr, size, rdev: (0, 0), verifier: None };
    let answer = make::make(batch, caller, dir, name, &new)?;
    let link = answer.object.expect("what was made is in the answer");
    tree::encode_target(link.ino, target, &mut batch.scratch);
    batch.put(Table::Targets, tree::target_key(link.ino).as_bytes());
    Ok(answer)
}

fn check(target: &[u8]) -> Result<(), Status> {
    if target.len() > TARGET_MAX {
        return Err(Status::NameTooLong);
    }
    if target.is_empty() || target.contains(&0) {
        return Err(Status::Inval);
    }
    Ok(())
}
