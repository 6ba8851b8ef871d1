//! WRITE, RFC 1813 3.3.7: bytes into a file, as stable as the client asks.

use super::common::{Seat, TRANSFER_MAX, enter, fail, nfsstat, wcc, well};
use crate::fs::write::{self, Stability};
use crate::net::dispatch::Call;
use crate::net::reply::{Outcome, Reply};
use crate::policy::Intent;
use std::rc::Rc;
use wire::nfs3::{Nfsstat3, StableHow, WriteArgs, WriteResFail, WriteResOk, Writeverf3};

pub(super) fn write(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: WriteArgs<'_> = call.args()?;
    let Seat { fs, file, cred, .. } = match enter(call, args.file, Intent::Write) {
        Ok(seat) => seat,
        Err(status) => return Ok(fail(reply, status, &WriteResFail::default())),
    };
    if args.count as usize != args.data.len() {
        return Ok(fail(reply, Nfsstat3::Inval, &WriteResFail::default()));
    }
    // More than wtmax gets a short count: the client writes the rest again.
    let data = args.data.bytes();
    let payload = &data[..data.len().min(TRANSFER_MAX)];
    if let Some(room) = fs.log.must_wait(fs.log.fits(payload.len())) {
        return Ok(call.hold(room));
    }
    let step = write::write(fs, &cred, file, args.offset, payload, stability(args.stable));
    let fs = Rc::clone(fs);
    call.settle(step, 0, reply, move |done, reply| match done {
        Ok(done) => {
            let resok = WriteResOk {
                file_wcc: wcc(fs.shared.id, Some(&done.before), Some(&done.after)),
                count: done.bytes,
                committed: stable_how(done.committed),
                verf: Writeverf3(done.verifier),
            };
            well(reply, &resok)
        }
        Err(status) => {
            let file_wcc = wcc(fs.shared.id, None, fs.attr(file).ok().as_ref());
            fail(reply, nfsstat(status), &WriteResFail { file_wcc })
        }
    })
}

fn stability(stable: StableHow) -> Stability {
    match stable {
        StableHow::Unstable => Stability::Unstable,
        StableHow::DataSync => Stability::DataSync,
        StableHow::FileSync => Stability::FileSync,
    }
}

fn stable_how(committed: Stability) -> StableHow {
    match committed {
        Stability::Unstable => StableHow::Unstable,
        Stability::DataSync => StableHow::DataSync,
        Stability::FileSync => StableHow::FileSync,
    }
}
