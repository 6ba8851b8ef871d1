//! SETATTR, RFC 1813 3.3.2: mode, owner, length and times of an object; with a guard only if nobody changed it since.

use super::common::{Seat, enter, fail, nfsstat, replay_key, set_attr, time, wcc, well};
use crate::fs::setattr;
use crate::ledger::command::SetAttr;
use crate::net::dispatch::Call;
use crate::net::reply::{Outcome, Reply};
use crate::policy::Intent;
use cache::world::Time;
use std::rc::Rc;
use wire::nfs3::{Nfsstat3, SetattrArgs, SetattrResFail, SetattrResOk};

pub(super) fn setattr(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: SetattrArgs<'_> = call.args()?;
    let seat = enter(call, args.object, Intent::Write);
    let (Seat { fs, file, cred, .. }, (attr, guard)) = match seat.and_then(|seat| Ok((seat, wanted(&args)?))) {
        Ok(both) => both,
        Err(status) => return Ok(fail(reply, status, &SetattrResFail::default())),
    };
    let step = setattr::setattr(fs, &cred, file, attr, guard, Some(replay_key(call)));
    let fs = Rc::clone(fs);
    call.settle(step, 0, reply, move |done, reply| match done {
        Ok(done) => well(reply, &SetattrResOk { obj_wcc: wcc(fs.shared.id, Some(&done.before), Some(&done.after)) }),
        Err(status) => {
            let obj_wcc = wcc(fs.shared.id, None, fs.attr(file).ok().as_ref());
            fail(reply, nfsstat(status), &SetattrResFail { obj_wcc })
        }
    })
}

fn wanted(args: &SetattrArgs<'_>) -> Result<(SetAttr, Option<Time>), Nfsstat3> {
    Ok((set_attr(&args.new_attributes)?, args.guard.map(time).transpose()?))
}
