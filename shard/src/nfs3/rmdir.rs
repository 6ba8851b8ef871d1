//! RMDIR, RFC 1813 3.3.13: takes away an empty directory.

use super::common::{asker, enter, fail, nfsstat, wcc_of, well};
use crate::fs::rmdir;
use crate::net::dispatch::Call;
use crate::net::reply::{Outcome, Reply};
use crate::policy::Intent;
use wire::nfs3::{RmdirArgs, RmdirResFail, RmdirResOk};

pub(super) fn rmdir(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: RmdirArgs<'_> = call.args()?;
    let seat = match enter(call, args.object.dir, Intent::Write) {
        Ok(seat) => seat,
        Err(status) => return Ok(fail(reply, status, &RmdirResFail::default())),
    };
    let filesystem = seat.fs.shared.id;
    let step = rmdir::rmdir(seat.fs, &asker(call, seat.cred), seat.file, args.object.name.bytes());
    call.settle(step, 0, reply, move |answer, reply| {
        let dir_wcc = wcc_of(filesystem, answer.dir.as_ref());
        match answer.status {
            Ok(()) => well(reply, &RmdirResOk { dir_wcc }),
            Err(status) => fail(reply, nfsstat(status), &RmdirResFail { dir_wcc }),
        }
    })
}
