//! FSSTAT, RFC 1813 3.3.18: how much there is and how much is free, as of now.

use super::common::{enter, fail, fattr, nfsstat, well};
use crate::fs::statfs;
use crate::net::dispatch::Call;
use crate::net::reply::{Outcome, Reply};
use crate::policy::Intent;
use wire::nfs3::{FsstatArgs, FsstatResFail, FsstatResOk};

pub(super) fn fsstat(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: FsstatArgs<'_> = call.args()?;
    let found = enter(call, args.fsroot, Intent::Read).and_then(|seat| {
        let inode = seat.fs.attr(seat.file).map_err(nfsstat)?;
        Ok((fattr(seat.fs.shared.id, &inode), statfs::statfs(seat.fs).map_err(nfsstat)?))
    });
    Ok(match found {
        Ok((attributes, figures)) => {
            let resok = FsstatResOk {
                obj_attributes: Some(attributes),
                tbytes: figures.total_bytes,
                fbytes: figures.free_bytes,
                abytes: figures.available_bytes,
                tfiles: figures.total_files,
                ffiles: figures.free_files,
                afiles: figures.free_files,
                invarsec: 0,
            };
            well(reply, &resok)
        }
        Err(status) => fail(reply, status, &FsstatResFail::default()),
    })
}
