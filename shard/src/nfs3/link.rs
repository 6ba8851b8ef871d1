//! LINK, RFC 1813 3.3.15: one more name for an object. Both handles are on one filesystem, or it is XDEV.

use super::common::{asker, enter_both, fail, fattr, nfsstat, wcc_of, well};
use crate::fs::link;
use crate::net::dispatch::Call;
use crate::net::reply::{Outcome, Reply};
use wire::nfs3::{LinkArgs, LinkResFail, LinkResOk};

pub(super) fn link(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: LinkArgs<'_> = call.args()?;
    let (seat, dir) = match enter_both(call, args.file, args.link.dir) {
        Ok(both) => both,
        Err(status) => return Ok(fail(reply, status, &LinkResFail::default())),
    };
    let filesystem = seat.fs.shared.id;
    let step = link::link(seat.fs, &asker(call, seat.cred), seat.file, dir, args.link.name.bytes());
    call.settle(step, 0, reply, move |answer, reply| {
        let file_attributes = answer.object.as_ref().map(|inode| fattr(filesystem, inode));
        let linkdir_wcc = wcc_of(filesystem, answer.dir.as_ref());
        match answer.status {
            Ok(()) => well(reply, &LinkResOk { file_attributes, linkdir_wcc }),
            Err(status) => fail(reply, nfsstat(status), &LinkResFail { file_attributes, linkdir_wcc }),
        }
    })
}
