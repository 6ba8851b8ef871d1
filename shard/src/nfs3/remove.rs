//! REMOVE, RFC 1813 3.3.12: takes away a name that is no directory.

use super::common::{asker, enter, fail, nfsstat, wcc_of, well};
use crate::fs::remove;
use crate::net::dispatch::Call;
use crate::net::reply::{Outcome, Reply};
use crate::policy::Intent;
use wire::nfs3::{RemoveArgs, RemoveResFail, RemoveResOk};

pub(super) fn remove(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: RemoveArgs<'_> = call.args()?;
    let seat = match enter(call, args.object.dir, Intent::Write) {
        Ok(seat) => seat,
        Err(status) => return Ok(fail(reply, status, &RemoveResFail::default())),
    };
    let filesystem = seat.fs.shared.id;
    let step = remove::remove(seat.fs, &asker(call, seat.cred), seat.file, args.object.name.bytes());
    call.settle(step, 0, reply, move |answer, reply| {
        let dir_wcc = wcc_of(filesystem, answer.dir.as_ref());
        match answer.status {
            Ok(()) => well(reply, &RemoveResOk { dir_wcc }),
            Err(status) => fail(reply, nfsstat(status), &RemoveResFail { dir_wcc }),
        }
    })
}
