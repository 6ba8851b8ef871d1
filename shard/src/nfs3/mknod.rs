//! MKNOD, RFC 1813 3.3.11: a device, a socket or a fifo. Other types are BADTYPE.

use super::common::{Made, Seat, asker, enter, fail, nfsstat, set_attr, well};
use crate::fs::mknod;
use crate::inode::Kind;
use crate::ledger::command::SetAttr;
use crate::net::dispatch::Call;
use crate::net::reply::{Outcome, Reply};
use crate::policy::Intent;
use std::rc::Rc;
use wire::nfs3::{Devicedata3, MknodArgs, MknodResFail, MknodResOk, Mknoddata3, Nfsstat3};

pub(super) fn mknod(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: MknodArgs<'_> = call.args()?;
    let seat = enter(call, args.location.dir, Intent::Write);
    let (Seat { fs, file: dir, cred, .. }, (kind, attr, rdev)) =
        match seat.and_then(|seat| Ok((seat, what(&args.what)?))) {
            Ok(both) => both,
            Err(status) => return Ok(fail(reply, status, &MknodResFail::default())),
        };
    let name = args.location.name.bytes();
    let step = mknod::mknod(fs, &asker(call, cred), dir, name, attr, kind, rdev);
    let (core, filesystem) = (Rc::clone(&call.connection.core), fs.shared.id);
    call.settle(step, 0, reply, move |answer, reply| {
        let made = Made::new(&core, filesystem, &answer);
        let dir_wcc = made.dir_wcc;
        match answer.status {
            Ok(()) => well(reply, &MknodResOk { obj: made.handle(), obj_attributes: made.attributes, dir_wcc }),
            Err(status) => fail(reply, nfsstat(status), &MknodResFail { dir_wcc }),
        }
    })
}

fn what(what: &Mknoddata3) -> Result<(Kind, SetAttr, (u32, u32)), Nfsstat3> {
    let device = |kind, data: &Devicedata3| {
        Ok((kind, set_attr(&data.dev_attributes)?, (data.spec.specdata1, data.spec.specdata2)))
    };
    match what {
        Mknoddata3::Chr(data) => device(Kind::CharDevice, data),
        Mknoddata3::Blk(data) => device(Kind::BlockDevice, data),
        Mknoddata3::Sock(sattr) => Ok((Kind::Socket, set_attr(sattr)?, (0, 0))),
        Mknoddata3::Fifo(sattr) => Ok((Kind::Fifo, set_attr(sattr)?, (0, 0))),
        Mknoddata3::Reg | Mknoddata3::Dir | Mknoddata3::Lnk => Err(Nfsstat3::Badtype),
    }
}
