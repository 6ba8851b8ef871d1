//! REMOVE (RFC 1813 3.3.12).

use super::{Caller, done, drop_link, lookup, wcc};
use crate::fs::access;
use crate::inode::FileId;
use crate::ledger::batch::{Batch, Fault, entries_changed};
use crate::ledger::command::{Answer, Name};
use crate::status::Status;

pub(super) fn apply(batch: &mut Batch<'_>, caller: &Caller<'_>, dir: FileId, name: &Name) -> Result<Answer, Fault> {
    let dir = batch.directory(dir)?;
    let found = lookup(batch, caller, &dir, name)?;
    let victim = batch.target_of(&found)?;
    access::remove(&dir, &victim, caller.cred)?;
    if victim.is_directory() {
        return Err(Fault::Refused(Status::IsDir));
    }
    let stamp = batch.stamp(caller.now);
    batch.delete_entry(dir.ino, name.as_bytes(), &found)?;
    drop_link(batch, &victim, stamp)?;
    let after = entries_changed(dir, stamp, |entries| entries.saturating_sub(1));
    batch.put_inode(after);
    Ok(Answer { dir: wcc(dir, after), ..done() })
}
