//! LOOKUP, RFC 1813 3.3.3: from a name in a directory to a handle. `.` and `..` are names here; the root's `..` is
//! the root itself.

use super::common::{enter, fail, fattr, nfsstat, seal, well};
use crate::fs::lookup;
use crate::net::dispatch::Call;
use crate::net::reply::{Outcome, Reply};
use crate::policy::Intent;
use wire::nfs3::{FileHandle, LookupArgs, LookupResFail, LookupResOk};

pub(super) fn lookup(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: LookupArgs<'_> = call.args()?;
    let seat = match enter(call, args.what.dir, Intent::Read) {
        Ok(seat) => seat,
        Err(status) => return Ok(fail(reply, status, &LookupResFail::default())),
    };
    let filesystem = seat.fs.shared.id;
    let found = lookup::lookup(seat.fs, &seat.cred, seat.file, args.what.name.bytes());
    let dir_attributes = seat.fs.attr(seat.file).ok().map(|dir| fattr(filesystem, &dir));
    Ok(match found {
        Ok(inode) => {
            let handle = seal(&call.connection.core, filesystem, inode.id());
            let object = FileHandle::new(&handle).expect("a handle has at most 64 bytes");
            well(reply, &LookupResOk { object, obj_attributes: Some(fattr(filesystem, &inode)), dir_attributes })
        }
        Err(status) => fail(reply, nfsstat(status), &LookupResFail { dir_attributes }),
    })
}
