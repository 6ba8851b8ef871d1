//! FSINFO, RFC 1813 3.3.19: what a client may ask for and how much at once. The same for every object.

use super::common::{LIST_MAX, TRANSFER_MAX, enter, fail, fattr, nfsstat, well};
use crate::net::dispatch::Call;
use crate::net::reply::{Outcome, Reply};
use crate::policy::Intent;
use wire::nfs3::{
    FSF3_CANSETTIME, FSF3_HOMOGENEOUS, FSF3_LINK, FSF3_SYMLINK, Fattr3, FsinfoArgs, FsinfoResFail, FsinfoResOk,
    Nfstime3,
};

pub(super) fn fsinfo(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: FsinfoArgs<'_> = call.args()?;
    let found = enter(call, args.fsroot, Intent::Read).and_then(|seat| {
        let inode = seat.fs.attr(seat.file).map_err(nfsstat)?;
        Ok(fattr(seat.fs.shared.id, &inode))
    });
    Ok(match found {
        Ok(attributes) => well(reply, &limits(attributes)),
        Err(status) => fail(reply, status, &FsinfoResFail::default()),
    })
}

fn limits(attributes: Fattr3) -> FsinfoResOk {
    FsinfoResOk {
        obj_attributes: Some(attributes),
        rtmax: TRANSFER_MAX as u32,
        rtpref: TRANSFER_MAX as u32,
        rtmult: BLOCK_BYTES,
        wtmax: TRANSFER_MAX as u32,
        wtpref: TRANSFER_MAX as u32,
        wtmult: BLOCK_BYTES,
        dtpref: LIST_PREFERRED,
        maxfilesize: i64::MAX as u64,
        time_delta: Nfstime3 { seconds: 0, nseconds: 1 },
        properties: FSF3_LINK | FSF3_SYMLINK | FSF3_HOMOGENEOUS | FSF3_CANSETTIME,
    }
}

/// Transfers are best in multiples of a log block.
const BLOCK_BYTES: u32 = cache::extent::BLOCK_BYTES as u32;
/// Bytes of a directory listing that are worth one round trip.
const LIST_PREFERRED: u32 = 128 * 1024;
const _: () = assert!(LIST_PREFERRED as usize <= LIST_MAX);
