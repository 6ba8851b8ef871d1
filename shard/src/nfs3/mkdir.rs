//! MKDIR, RFC 1813 3.3.9: a directory.

use super::common::{Made, Seat, asker, enter, fail, nfsstat, set_attr, well};
use crate::fs::mkdir;
use crate::net::dispatch::Call;
use crate::net::reply::{Outcome, Reply};
use crate::policy::Intent;
use std::rc::Rc;
use wire::nfs3::{MkdirArgs, MkdirResFail, MkdirResOk};

pub(super) fn mkdir(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: MkdirArgs<'_> = call.args()?;
    let seat = enter(call, args.location.dir, Intent::Write);
    let (Seat { fs, file: dir, cred, .. }, attr) = match seat.and_then(|seat| Ok((seat, set_attr(&args.attributes)?))) {
        Ok(both) => both,
        Err(status) => return Ok(fail(reply, status, &MkdirResFail::default())),
    };
    let name = args.location.name.bytes();
    let step = mkdir::mkdir(fs, &asker(call, cred), dir, name, attr);
    let (core, filesystem) = (Rc::clone(&call.connection.core), fs.shared.id);
    call.settle(step, 0, reply, move |answer, reply| {
        let made = Made::new(&core, filesystem, &answer);
        let dir_wcc = made.dir_wcc;
        match answer.status {
            Ok(()) => well(reply, &MkdirResOk { obj: made.handle(), obj_attributes: made.attributes, dir_wcc }),
            Err(status) => fail(reply, nfsstat(status), &MkdirResFail { dir_wcc }),
        }
    })
}
