//! GETATTR, RFC 1813 3.3.1: the attributes of an object. Anyone who may use the share may ask.

use super::common::{enter, fail, fattr, nfsstat, well};
use crate::net::dispatch::Call;
use crate::net::reply::{Outcome, Reply};
use crate::policy::Intent;
use wire::nfs3::{GetattrArgs, GetattrResOk};

pub(super) fn getattr(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: GetattrArgs<'_> = call.args()?;
    let found = enter(call, args.object, Intent::Read).and_then(|seat| {
        let inode = seat.fs.attr(seat.file).map_err(nfsstat)?;
        Ok(fattr(seat.fs.shared.id, &inode))
    });
    Ok(match found {
        Ok(obj_attributes) => well(reply, &GetattrResOk { obj_attributes }),
        Err(status) => fail(reply, status, &()),
    })
}
