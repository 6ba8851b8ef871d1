//! LINK (RFC 1813 3.3.15).

use super::{Caller, LINK_MAX, done, make, wcc};
use crate::inode::FileId;
use crate::ledger::batch::{Batch, Fault, changed, entries_changed};
use crate::ledger::command::{Answer, Name};
use crate::ledger::record::entry::Found;
use crate::status::Status;

pub(super) fn apply(
    batch: &mut Batch<'_>,
    caller: &Caller<'_>,
    file: FileId,
    dir: FileId,
    name: &Name,
) -> Result<Answer, Fault> {
    let object = batch.object(file)?;
    let dir = make::vacant(batch, caller, dir, name)?;
    if object.is_directory() {
        return Err(Fault::Refused(Status::Perm));
    }
    if object.nlink >= LINK_MAX {
        return Err(Fault::Refused(Status::TooManyLinks));
    }
    let stamp = batch.stamp(caller.now);
    let mut linked = changed(batch.absorbed(&object), stamp);
    linked.nlink += 1;
    let entry = Found { ino: linked.ino, kind: linked.kind, cookie: stamp.lsn };
    batch.put_entry(dir.ino, name.as_bytes(), &entry);
    batch.put_inode(linked);
    let after = entries_changed(dir, stamp, |entries| entries + 1);
    batch.put_inode(after);
    Ok(Answer { object: Some(batch.seen(&linked)), dir: wcc(dir, after), ..done() })
}
