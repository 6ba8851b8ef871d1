//! READDIR, RFC 1813 3.3.16: names and numbers of a directory's entries. Cookies stay good for ever, so the verifier
//! is the same for ever.

use super::common::{COOKIE_VERIFIER, enter, fail, fattr, list_bytes, nfsstat};
use crate::fs::readdir::{self, Detail, Taken};
use crate::net::dispatch::Call;
use crate::net::reply::{Ended, Outcome, Reply};
use crate::policy::Intent;
use wire::nfs3::{DirListWriter, Entry3, Filename, Nfsstat3, ReaddirArgs, ReaddirResFail};

pub(super) fn readdir(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: ReaddirArgs<'_> = call.args()?;
    let seat = match enter(call, args.dir, Intent::Read) {
        Ok(seat) => seat,
        Err(status) => return Ok(fail(reply, status, &ReaddirResFail::default())),
    };
    let filesystem = seat.fs.shared.id;
    let dir_attributes = seat.fs.attr(seat.file).ok().map(|dir| fattr(filesystem, &dir));
    if args.cookieverf != COOKIE_VERIFIER {
        return Ok(fail(reply, Nfsstat3::BadCookie, &ReaddirResFail { dir_attributes }));
    }
    let mut w = reply.writer();
    let start = w.position();
    let mut list = DirListWriter::begin(&mut w, dir_attributes, COOKIE_VERIFIER, list_bytes(call, args.count));
    let listing = readdir::readdir(seat.fs, &seat.cred, seat.file, args.cookie, Detail::Names, |entry| {
        let name = Filename::new(entry.name).expect("a name has at most NAME_MAX bytes");
        let fits = list.push(&Entry3 { fileid: entry.ino.0, name, cookie: entry.cookie });
        if fits { Taken::Yes } else { Taken::No }
    });
    let ended = listing.end.map_err(nfsstat).and_then(|eof| list.finish(eof));
    Ok(match ended {
        Ok(()) => Ended::Well,
        Err(status) => {
            reply.writer().truncate(start);
            fail(reply, status, &ReaddirResFail { dir_attributes })
        }
    })
}
