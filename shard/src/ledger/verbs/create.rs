//! CREATE (RFC 1813 3.3.8).

use super::make::{self, New};
use super::{Caller, done, wcc};
use crate::fs::access;
use crate::inode::{FileId, Inode, Kind};
use crate::ledger::batch::{Batch, Fault};
use crate::ledger::command::{Answer, CreateHow, Name, SetAttr};
use crate::ledger::record::entry::Found;
use crate::status::Status;

pub(super) fn apply(
    batch: &mut Batch<'_>,
    caller: &Caller<'_>,
    dir: FileId,
    name: &Name,
    how: CreateHow,
    attr: &SetAttr,
) -> Result<Answer, Fault> {
    let dir = batch.directory(dir)?;
    access::search(&dir, caller.cred)?;
    if let Some(found) = batch.found(dir.ino, name.as_bytes())? {
        return existing(batch, caller, dir, &found, how, attr);
    }
    make::may_make(batch, caller, &dir)?;
    let verifier = match how {
        CreateHow::Exclusive(verifier) => Some(verifier),
        CreateHow::Unchecked | CreateHow::Guarded => None,
    };
    let mode = attr.mode.unwrap_or(0);
    let new = New { kind: Kind::File, mode, attr, size: 0, rdev: (0, 0), verifier };
    make::make(batch, caller, dir, name, &new)
}

/// The name is taken. An existing file needs no permission on the directory. The truncation that the caller will make
/// is checked here: once this is answered, nothing of it may be refused.
fn existing(
    batch: &mut Batch<'_>,
    caller: &Caller<'_>,
    dir: Inode,
    found: &Found,
    how: CreateHow,
    attr: &SetAttr,
) -> Result<Answer, Fault> {
    let object = batch.target_of(found)?;
    let is_answer = object.kind == Kind::File
        && match how {
            CreateHow::Unchecked => true,
            CreateHow::Guarded => false,
            CreateHow::Exclusive(verifier) => object.verifier == Some(verifier),
        };
    if !is_answer {
        return Err(Fault::Refused(Status::Exist));
    }
    let object = batch.seen(&object);
    if how == CreateHow::Unchecked && attr.size.is_some() {
        access::write_data(&object, caller.cred)?;
    }
    let object = Some(object);
    Ok(Answer { object, existed: true, dir: wcc(dir, dir), ..done() })
}
