//! MKNOD (RFC 1813 3.3.11): devices by the superuser, fifos and sockets by anyone.

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
    kind: Kind,
    rdev: (u32, u32),
) -> Result<Answer, Fault> {
    let rdev = match kind {
        Kind::BlockDevice | Kind::CharDevice => rdev,
        Kind::Fifo | Kind::Socket => (0, 0),
        Kind::File | Kind::Directory | Kind::Symlink => return Err(Fault::Refused(Status::BadType)),
    };
    let dir = make::vacant(batch, caller, dir, name)?;
    let is_device = matches!(kind, Kind::BlockDevice | Kind::CharDevice);
    if is_device && !caller.cred.is_root() {
        return Err(Fault::Refused(Status::Perm));
    }
    let mode = attr.mode.unwrap_or(0);
    make::make(batch, caller, dir, name, &New { kind, mode, attr, size: 0, rdev, verifier: None })
}
