//! RENAME (RFC 1813 3.3.14), with the rules of POSIX for an existing target.

use super::{Caller, done, drop_link, lookup, wcc};
use crate::fs::access;
use crate::inode::{FileId, Ino, Inode, ROOT};
use crate::ledger::batch::{Batch, Fault, Stamp, changed, entries_changed};
use crate::ledger::command::{Answer, Name};
use crate::ledger::record::entry::Found;
use crate::status::Status;

/// A rename that may happen.
struct Plan {
    from: Inode,
    to: Inode,
    source: Found,
    moved: Inode,
    /// What the target's name leads to now.
    replaced: Option<(Found, Inode)>,
}

pub(super) fn apply(
    batch: &mut Batch<'_>,
    caller: &Caller<'_>,
    (from_dir, from_name): (FileId, &Name),
    (to_dir, to_name): (FileId, &Name),
) -> Result<Answer, Fault> {
    let from = batch.directory(from_dir)?;
    let to = batch.directory(to_dir)?;
    let source = lookup(batch, caller, &from, from_name)?;
    access::search(&to, caller.cred)?;
    let moved = batch.target_of(&source)?;
    let replaced = match batch.found(to.ino, to_name.as_bytes())? {
        Some(found) => Some((found, batch.target_of(&found)?)),
        None => None,
    };
    if moved.is_directory() && from.ino != to.ino && is_below(batch, to.ino, moved.ino)? {
        return Err(Fault::Refused(Status::Inval));
    }
    if replaced.is_some_and(|(_, target)| target.ino == moved.ino) {
        return Ok(Answer { dir: wcc(from, from), to_dir: wcc(to, to), ..done() });
    }
    let plan = Plan { from, to, source, moved, replaced };
    check(batch, caller, &plan)?;
    let stamp = batch.stamp(caller.now);
    change(batch, &plan, from_name, to_name, stamp)
}

fn check(batch: &mut Batch<'_>, caller: &Caller<'_>, plan: &Plan) -> Result<(), Fault> {
    access::remove(&plan.from, &plan.moved, caller.cred)?;
    match &plan.replaced {
        None => {
            access::extend(&plan.to, caller.cred)?;
            batch.may_grow()?;
        }
        Some((_, target)) => {
            access::remove(&plan.to, target, caller.cred)?;
            match (plan.moved.is_directory(), target.is_directory()) {
                (true, false) => return Err(Fault::Refused(Status::NotDir)),
                (false, true) => return Err(Fault::Refused(Status::IsDir)),
                _ => {}
            }
        }
    }
    let reparented = plan.moved.is_directory() && plan.from.ino != plan.to.ino;
    // Its `..` changes.
    if reparented && !access::permits(&plan.moved, caller.cred, access::WRITE) {
        return Err(Fault::Refused(Status::Access));
    }
    if reparented && plan.to.nlink == u32::MAX {
        return Err(Fault::Refused(Status::TooManyLinks));
    }
    if plan.replaced.is_some_and(|(_, target)| target.entries > 0) {
        return Err(Fault::Refused(Status::NotEmpty));
    }
    Ok(())
}

fn change(batch: &mut Batch<'_>, plan: &Plan, from_name: &Name, to_name: &Name, stamp: Stamp) -> Result<Answer, Fault> {
    batch.delete_entry(plan.from.ino, from_name.as_bytes(), &plan.source)?;
    if let Some((found, target)) = &plan.replaced {
        batch.delete_entry(plan.to.ino, to_name.as_bytes(), found)?;
        drop_link(batch, target, stamp)?;
    }
    // A name that is replaced keeps its cookie: whoever lists the directory meets it once.
    let cookie = plan.replaced.map_or(stamp.lsn, |(found, _)| found.cookie);
    let entry = Found { cookie, ..plan.source };
    batch.put_entry(plan.to.ino, to_name.as_bytes(), &entry);

    let mut moved = changed(batch.absorbed(&plan.moved), stamp);
    if moved.is_directory() {
        moved.parent = plan.to.ino;
    }
    batch.put_inode(moved);

    let (from, to) = directories(plan, stamp);
    batch.put_inode(from);
    batch.put_inode(to);
    Ok(Answer { dir: wcc(plan.from, from), to_dir: wcc(plan.to, to), ..done() })
}

/// Both directories afterwards; where they are one, both answers are the same.
fn directories(plan: &Plan, stamp: Stamp) -> (Inode, Inode) {
    let is_directory = u32::from(plan.moved.is_directory());
    let replaced = u64::from(plan.replaced.is_some());
    let replaced_directory = is_directory * u32::from(plan.replaced.is_some());
    if plan.from.ino == plan.to.ino {
        let mut dir = entries_changed(plan.from, stamp, |entries| entries.saturating_sub(replaced));
        dir.nlink = dir.nlink.saturating_sub(replaced_directory);
        return (dir, dir);
    }
    let mut from = entries_changed(plan.from, stamp, |entries| entries.saturating_sub(1));
    from.nlink = from.nlink.saturating_sub(is_directory);
    let mut to = entries_changed(plan.to, stamp, |entries| entries + 1 - replaced);
    to.nlink += is_directory - replaced_directory;
    (from, to)
}

/// Whether `dir` is `ancestor` or lies below it.
fn is_below(batch: &mut Batch<'_>, dir: Ino, ancestor: Ino) -> Result<bool, Fault> {
    let mut at = dir;
    for _ in 0..DEPTH_MAX {
        if at == ancestor {
            return Ok(true);
        }
        if at == ROOT {
            return Ok(false);
        }
        match batch.inode(at)? {
            Some(inode) if inode.is_directory() => at = inode.parent,
            _ => return Err(Fault::Refused(Status::Io)),
        }
    }
    // So deep that the walk would hold everyone up.
    Err(Fault::Refused(Status::Inval))
}

/// Deepest directory into which a directory can be moved.
const DEPTH_MAX: u32 = 16_384;
