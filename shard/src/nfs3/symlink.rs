//! SYMLINK, RFC 1813 3.3.10: a symbolic link. Its text is the client's business.

use super::common::{Made, Seat, asker, enter, fail, nfsstat, set_attr, well};
use crate::fs::symlink;
use crate::net::dispatch::Call;
use crate::net::reply::{Outcome, Reply};
use crate::policy::Intent;
use std::rc::Rc;
use wire::nfs3::{SymlinkArgs, SymlinkResFail, SymlinkResOk};

pub(super) fn symlink(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: SymlinkArgs<'_> = call.args()?;
    let seat = enter(call, args.location.dir, Intent::Write);
    let (Seat { fs, file: dir, cred, .. }, attr) =
        match seat.and_then(|seat| Ok((seat, set_attr(&args.symlink.symlink_attributes)?))) {
            Ok(both) => both,
            Err(status) => return Ok(fail(reply, status, &SymlinkResFail::default())),
        };
    let name = args.location.name.bytes();
    let step = symlink::symlink(fs, &asker(call, cred), dir, name, attr, args.symlink.symlink_data.bytes());
    let (core, filesystem) = (Rc::clone(&call.connection.core), fs.shared.id);
    call.settle(step, 0, reply, move |answer, reply| {
        let made = Made::new(&core, filesystem, &answer);
        let dir_wcc = made.dir_wcc;
        match answer.status {
            Ok(()) => well(reply, &SymlinkResOk { obj: made.handle(), obj_attributes: made.attributes, dir_wcc }),
            Err(status) => fail(reply, nfsstat(status), &SymlinkResFail { dir_wcc }),
        }
    })
}
