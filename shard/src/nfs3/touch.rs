//! What a call is about to look up in the ledger, as far as its arguments say: the object of its first
//! handle, a name in it, what is there of a file or a directory.
//!
//! Caller: [`crate::net::dispatch`], while the ledger is larger than its memory. What cannot be decoded or
//! is not permitted has nothing to look up.

use super::common::enter;
use crate::fs::Fs;
use crate::ledger::touch::Touch;
use crate::net::dispatch::Call;
use crate::policy::Intent;
use std::rc::Rc;
use wire::nfs3::{Diropargs3, FileHandle, Procedure, ReadArgs, ReaddirArgs, ReaddirplusArgs};

/// Where the call to procedure `number` looks first, and for what.
pub(crate) fn touch<'c>(call: &'c Call<'_>, number: u32) -> Option<(&'c Rc<Fs>, Touch)> {
    let handle: FileHandle<'_> = call.args().ok()?;
    let seat = enter(call, handle, Intent::Read).ok()?;
    let ino = seat.file.ino;
    let touch = match Procedure::try_from(number).ok()? {
        Procedure::Lookup
        | Procedure::Create
        | Procedure::Mkdir
        | Procedure::Symlink
        | Procedure::Mknod
        | Procedure::Remove
        | Procedure::Rmdir
        | Procedure::Rename => Touch::Name(ino, call.args::<Diropargs3<'_>>().ok()?.name.bytes().into()),
        Procedure::Read => Touch::Extents(ino, call.args::<ReadArgs<'_>>().ok()?.offset),
        Procedure::Readdir => Touch::Entries(ino, call.args::<ReaddirArgs<'_>>().ok()?.cookie),
        Procedure::Readdirplus => Touch::Objects(ino, call.args::<ReaddirplusArgs<'_>>().ok()?.cookie),
        _ => Touch::Inode(ino),
    };
    Some((seat.fs, touch))
}
