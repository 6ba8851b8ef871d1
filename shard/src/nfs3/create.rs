//! CREATE, RFC 1813 3.3.8: a regular file, made, found or made exactly once.

use super::common::{Made, Seat, asker, enter, fail, nfsstat, set_attr, well};
use crate::fs::create;
use crate::ledger::command::{CreateHow, SetAttr};
use crate::net::dispatch::Call;
use crate::net::reply::{Outcome, Reply};
use crate::policy::Intent;
use std::rc::Rc;
use wire::nfs3::{CreateArgs, CreateResFail, CreateResOk, Createhow3, Nfsstat3};

pub(super) fn create(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: CreateArgs<'_> = call.args()?;
    let seat = enter(call, args.location.dir, Intent::Write);
    let (Seat { fs, file: dir, cred, .. }, (how, attr)) = match seat.and_then(|seat| Ok((seat, how(args.how)?))) {
        Ok(both) => both,
        Err(status) => return Ok(fail(reply, status, &CreateResFail::default())),
    };
    let name = args.location.name.bytes();
    let step = create::create(fs, &asker(call, cred), dir, name, how, attr);
    let (core, filesystem) = (Rc::clone(&call.connection.core), fs.shared.id);
    call.settle(step, 0, reply, move |answer, reply| {
        let made = Made::new(&core, filesystem, &answer);
        let dir_wcc = made.dir_wcc;
        match answer.status {
            Ok(()) => well(reply, &CreateResOk { obj: made.handle(), obj_attributes: made.attributes, dir_wcc }),
            Err(status) => fail(reply, nfsstat(status), &CreateResFail { dir_wcc }),
        }
    })
}

fn how(how: Createhow3) -> Result<(CreateHow, SetAttr), Nfsstat3> {
    Ok(match how {
        Createhow3::Unchecked(sattr) => (CreateHow::Unchecked, set_attr(&sattr)?),
        Createhow3::Guarded(sattr) => (CreateHow::Guarded, set_attr(&sattr)?),
        Createhow3::Exclusive(verf) => (CreateHow::Exclusive(verf.0), SetAttr::default()),
    })
}
