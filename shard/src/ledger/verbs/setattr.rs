//! SETATTR of everything but the size (RFC 1813 3.3.2): a truncation is a record of the log.

use super::{Caller, done, time};
use crate::fs::access;
use crate::inode::{FileId, Inode, Kind, SETGID, SETUID};
use crate::ledger::batch::{Batch, Fault, absorbed, changed};
use crate::ledger::command::{Answer, SetAttr, SetTime};
use crate::ledger::record::inode::MODE_BITS;
use crate::status::Status;
use cache::world::Time;

pub(super) fn apply(
    batch: &mut Batch<'_>,
    caller: &Caller<'_>,
    file: FileId,
    attr: &SetAttr,
    guard: Option<Time>,
) -> Result<Answer, Fault> {
    let stored = batch.object(file)?;
    let stamp = batch.stamp(caller.now);
    let before = batch.seen(&stored);
    if guard.is_some_and(|ctime| ctime != before.ctime) {
        return Err(Fault::Refused(Status::NotSync));
    }
    check(&before, caller, attr)?;
    let is_empty = SetAttr { size: None, ..*attr } == SetAttr::default();
    if is_empty {
        return Ok(Answer { object: Some(before), before: Some(before), ..done() });
    }
    let mut after = changed(absorbed(&stored, &before), stamp);
    after.mode = mode(&before, caller, attr);
    after.uid = attr.uid.unwrap_or(before.uid);
    after.gid = attr.gid.unwrap_or(before.gid);
    after.atime = time(attr.atime, caller.now, before.atime);
    after.mtime = time(attr.mtime, caller.now, after.mtime);
    batch.put_inode(after);
    Ok(Answer { object: Some(batch.seen(&after)), before: Some(before), ..done() })
}

/// Who may set what: mode and explicit times the owner, the owner the superuser, the group the
/// owner to one of his own; the server's time whoever may write.
fn check(inode: &Inode, caller: &Caller<'_>, attr: &SetAttr) -> Result<(), Status> {
    let cred = caller.cred;
    let is_owner = access::is_owner(inode, cred);
    let may_give = |uid: u32| cred.is_root() || (is_owner && uid == inode.uid);
    let may_regroup = |gid: u32| is_owner && (gid == inode.gid || access::is_in_group(gid, cred));
    let explicit = |set: Option<SetTime>| matches!(set, Some(SetTime::Client(_)));
    let sets_mode = attr.mode.is_some() && inode.kind != Kind::Symlink;
    let owner_only = sets_mode || explicit(attr.atime) || explicit(attr.mtime);
    if (owner_only && !is_owner) || !attr.uid.is_none_or(may_give) || !attr.gid.is_none_or(may_regroup) {
        return Err(Status::Perm);
    }
    let touches = attr.atime.is_some() || attr.mtime.is_some();
    if touches && !is_owner && !access::permits(inode, cred, access::WRITE) {
        return Err(Status::Access);
    }
    Ok(())
}

/// The mode afterwards. A symbolic link keeps its own. A change of owner or group takes set-id bits
/// away from everything but a directory, also from a mode that is set with it; set-group-id can be
/// set and kept only by who belongs to the group.
fn mode(before: &Inode, caller: &Caller<'_>, attr: &SetAttr) -> u32 {
    let in_group = access::is_in_group(attr.gid.unwrap_or(before.gid), caller.cred);
    let mut mode = before.mode;
    if let Some(wanted) = attr.mode
        && before.kind != Kind::Symlink
    {
        mode = wanted & MODE_BITS;
        if !in_group {
            mode &= !SETGID;
        }
    }
    let changes_hands = attr.uid.is_some() || attr.gid.is_some();
    if changes_hands && !before.is_directory() {
        mode &= !SETUID;
        // Without execution for the group the bit means mandatory locking.
        if mode & 0o010 != 0 || !in_group {
            mode &= !SETGID;
        }
    }
    mode
}
