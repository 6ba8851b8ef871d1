//! PATHCONF, RFC 1813 3.3.20: limits of names and links. The same for every object.

use super::common::{enter, fail, fattr, nfsstat, well};
use crate::ledger::command::NAME_MAX;
use crate::ledger::verbs::LINK_MAX;
use crate::net::dispatch::Call;
use crate::net::reply::{Outcome, Reply};
use crate::policy::Intent;
use wire::nfs3::{PathconfArgs, PathconfResFail, PathconfResOk};

pub(super) fn pathconf(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: PathconfArgs<'_> = call.args()?;
    let found = enter(call, args.object, Intent::Read).and_then(|seat| {
        let inode = seat.fs.attr(seat.file).map_err(nfsstat)?;
        Ok(fattr(seat.fs.shared.id, &inode))
    });
    Ok(match found {
        Ok(attributes) => {
            let resok = PathconfResOk {
                obj_attributes: Some(attributes),
                linkmax: LINK_MAX,
                name_max: NAME_MAX as u32,
                no_trunc: true,
                chown_restricted: true,
                case_insensitive: false,
                case_preserving: true,
            };
            well(reply, &resok)
        }
        Err(status) => fail(reply, status, &PathconfResFail::default()),
    })
}
