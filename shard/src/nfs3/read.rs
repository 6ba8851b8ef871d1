//! READ, RFC 1813 3.3.6: bytes of a file, sent from where they lie in the block cache.

use super::common::{Seat, TRANSFER_MAX, enter, fail, fattr, nfsstat, well};
use crate::fs::{Fs, read};
use crate::net::dispatch::Call;
use crate::net::reply::{Ended, Outcome, Reply};
use crate::policy::Intent;
use std::rc::Rc;
use wire::nfs3::{ReadArgs, ReadResFail, ReadResOkHead};

pub(super) fn read(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: ReadArgs<'_> = call.args()?;
    let Seat { fs, file, cred, .. } = match enter(call, args.file, Intent::Read) {
        Ok(seat) => seat,
        Err(status) => return Ok(fail(reply, status, &ReadResFail::default())),
    };
    let count = args.count.min(TRANSFER_MAX as u32);
    let step = read::read(fs, &cred, file, args.offset, count);
    let fs = Rc::clone(fs);
    call.settle(step, count as usize, reply, move |done, reply| match done {
        Ok(done) => send(&fs, done, reply),
        Err(status) => {
            let file_attributes = fs.attr(file).ok().map(|inode| fattr(fs.shared.id, &inode));
            fail(reply, nfsstat(status), &ReadResFail { file_attributes })
        }
    })
}

fn send(fs: &Fs, mut done: read::ReadDone, reply: &mut Reply<'_>) -> Ended {
    let file_attributes = Some(fattr(fs.shared.id, &done.attr));
    // At most TRANSFER_MAX, which `count` was cut to.
    let head = ReadResOkHead { file_attributes, count: done.bytes as u32, eof: done.eof };
    let ended = well(reply, &head);
    reply.data(&mut done.pieces);
    fs.reuse(done.pieces);
    ended
}
