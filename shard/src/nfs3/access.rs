//! ACCESS, RFC 1813 3.3.4: which of the asked rights the caller has. On a read-only share nobody may change
//! anything, whatever the mode bits say.

use super::common::{enter, fail, fattr, nfsstat, well};
use crate::fs::access;
use crate::net::dispatch::Call;
use crate::net::reply::{Outcome, Reply};
use crate::policy::Intent;
use wire::nfs3::{ACCESS3_DELETE, ACCESS3_EXTEND, ACCESS3_MODIFY, AccessArgs, AccessResFail, AccessResOk};

pub(super) fn access(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: AccessArgs<'_> = call.args()?;
    let found = enter(call, args.object, Intent::Read).and_then(|seat| {
        let inode = seat.fs.attr(seat.file).map_err(nfsstat)?;
        let granted = access::access(&inode, &seat.cred, args.access);
        let access = if seat.writable { granted } else { granted & !CHANGES };
        Ok(AccessResOk { obj_attributes: Some(fattr(seat.fs.shared.id, &inode)), access })
    });
    Ok(match found {
        Ok(resok) => well(reply, &resok),
        Err(status) => fail(reply, status, &AccessResFail::default()),
    })
}

/// The rights that a read-only share does not give.
const CHANGES: u32 = ACCESS3_MODIFY | ACCESS3_EXTEND | ACCESS3_DELETE;
