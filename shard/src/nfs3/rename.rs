//! RENAME, RFC 1813 3.3.14: moves a name, over an existing one where POSIX allows it. Both directories are on one
//! filesystem, or it is XDEV.

use super::common::{asker, enter_both, fail, nfsstat, wcc_of, well};
use crate::fs::rename;
use crate::net::dispatch::Call;
use crate::net::reply::{Outcome, Reply};
use wire::nfs3::{RenameArgs, RenameResFail, RenameResOk};

pub(super) fn rename(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: RenameArgs<'_> = call.args()?;
    let (seat, to_dir) = match enter_both(call, args.from.dir, args.to.dir) {
        Ok(both) => both,
        Err(status) => return Ok(fail(reply, status, &RenameResFail::default())),
    };
    let filesystem = seat.fs.shared.id;
    let (from, to) = ((seat.file, args.from.name.bytes()), (to_dir, args.to.name.bytes()));
    let step = rename::rename(seat.fs, &asker(call, seat.cred), from, to);
    call.settle(step, 0, reply, move |answer, reply| {
        let fromdir_wcc = wcc_of(filesystem, answer.dir.as_ref());
        let todir_wcc = wcc_of(filesystem, answer.to_dir.as_ref());
        match answer.status {
            Ok(()) => well(reply, &RenameResOk { fromdir_wcc, todir_wcc }),
            Err(status) => fail(reply, nfsstat(status), &RenameResFail { fromdir_wcc, todir_wcc }),
        }
    })
}
