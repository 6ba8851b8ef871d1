//! READLINK, RFC 1813 3.3.5: the text of a symbolic link, as it was given.

use super::common::{enter, fail, fattr, nfsstat, well};
use crate::fs::readlink;
use crate::net::dispatch::Call;
use crate::net::reply::{Outcome, Reply};
use crate::policy::Intent;
use wire::nfs3::{Nfspath, ReadlinkArgs, ReadlinkResFail, ReadlinkResOk};

pub(super) fn readlink(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: ReadlinkArgs<'_> = call.args()?;
    let seat = match enter(call, args.symlink, Intent::Read) {
        Ok(seat) => seat,
        Err(status) => return Ok(fail(reply, status, &ReadlinkResFail::default())),
    };
    let linked = readlink::readlink(seat.fs, seat.file);
    let symlink_attributes = linked.object.as_ref().map(|inode| fattr(seat.fs.shared.id, inode));
    Ok(match linked.target {
        Ok(target) => {
            let data = Nfspath::new(&target).expect("a target has at most TARGET_MAX bytes");
            well(reply, &ReadlinkResOk { symlink_attributes, data })
        }
        Err(status) => fail(reply, nfsstat(status), &ReadlinkResFail { symlink_attributes }),
    })
}
