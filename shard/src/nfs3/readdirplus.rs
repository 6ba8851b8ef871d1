//! READDIRPLUS, RFC 1813 3.3.17: a directory's entries with their attributes and handles, where the caller could look
//! them up.

use super::common::{COOKIE_VERIFIER, enter, fail, fattr, list_bytes, nfsstat, seal};
use crate::fs::readdir::{self, Detail, Taken};
use crate::net::dispatch::Call;
use crate::net::reply::{Ended, Outcome, Reply};
use crate::policy::Intent;
use wire::nfs3::{DirPlusWriter, Entryplus3, FileHandle, Filename, Nfsstat3, ReaddirplusArgs, ReaddirplusResFail};

pub(super) fn readdirplus(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: ReaddirplusArgs<'_> = call.args()?;
    let seat = match enter(call, args.dir, Intent::Read) {
        Ok(seat) => seat,
        Err(status) => return Ok(fail(reply, status, &ReaddirplusResFail::default())),
    };
    let filesystem = seat.fs.shared.id;
    let dir_attributes = seat.fs.attr(seat.file).ok().map(|dir| fattr(filesystem, &dir));
    if args.cookieverf != COOKIE_VERIFIER {
        return Ok(fail(reply, Nfsstat3::BadCookie, &ReaddirplusResFail { dir_attributes }));
    }
    let mut w = reply.writer();
    let start = w.position();
    let mut list =
        DirPlusWriter::begin(&mut w, dir_attributes, COOKIE_VERIFIER, args.dircount, list_bytes(call, args.maxcount));
    let listing = readdir::readdir(seat.fs, &seat.cred, seat.file, args.cookie, Detail::Attributes, |entry| {
        let handle = entry.object.map(|inode| seal(&call.connection.core, filesystem, inode.id()));
        let fits = list.push(&Entryplus3 {
            fileid: entry.ino.0,
            name: Filename::new(entry.name).expect("a name has at most NAME_MAX bytes"),
            cookie: entry.cookie,
            name_attributes: entry.object.map(|inode| fattr(filesystem, &inode)),
            name_handle: handle.as_ref().map(|bytes| FileHandle::new(bytes).expect("a handle has at most 64 bytes")),
        });
        if fits { Taken::Yes } else { Taken::No }
    });
    let ended = listing.end.map_err(nfsstat).and_then(|eof| list.finish(eof));
    Ok(match ended {
        Ok(()) => Ended::Well,
        Err(status) => {
            reply.writer().truncate(start);
            fail(reply, status, &ReaddirplusResFail { dir_attributes })
        }
    })
}
