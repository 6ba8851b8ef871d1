//! COMMIT, RFC 1813 3.3.21: everything written to a file becomes durable. The range is not looked at: one flush
//! takes the whole file.

use super::common::{Seat, enter, fail, nfsstat, wcc, well};
use crate::fs::commit;
use crate::net::dispatch::Call;
use crate::net::reply::{Outcome, Reply};
use crate::policy::Intent;
use std::rc::Rc;
use wire::nfs3::{CommitArgs, CommitResFail, CommitResOk, Writeverf3};

pub(super) fn commit(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: CommitArgs<'_> = call.args()?;
    let Seat { fs, file, cred, .. } = match enter(call, args.file, Intent::Write) {
        Ok(seat) => seat,
        Err(status) => return Ok(fail(reply, status, &CommitResFail::default())),
    };
    let step = commit::commit(fs, &cred, file);
    let fs = Rc::clone(fs);
    call.settle(step, 0, reply, move |done, reply| match done {
        Ok(done) => {
            let file_wcc = wcc(fs.shared.id, Some(&done.before), Some(&done.after));
            well(reply, &CommitResOk { file_wcc, verf: Writeverf3(done.verifier) })
        }
        Err(status) => {
            let file_wcc = wcc(fs.shared.id, None, fs.attr(file).ok().as_ref());
            fail(reply, nfsstat(status), &CommitResFail { file_wcc })
        }
    })
}
