//! MNT, RFC 1813 5.2.1: from a path to a handle. The path of a share is its root; what follows is looked up in it with
//! the caller's rights, so that a directory inside a share can be mounted by whoever may walk to it. Version 1 asks for
//! a handle of NFS version 2, which is refused.

use crate::cred::Cred;
use crate::fs::column::Fs;
use crate::fs::lookup;
use crate::inode::{FileId, ROOT_ID};
use crate::net::dispatch::Call;
use crate::net::handle::Target;
use crate::net::reply::{Ended, Outcome, Reply};
use crate::policy::Intent;
use crate::status::Status;
use std::rc::Rc;
use wire::mount::{Dirpath, Fhandle3, MountResult, Mountres3, MountresOk, Mountstat3};
use wire::rpc::AuthFlavor;
use wire::xdr::Array;

/// Most parts of a path below its share.
const PARTS_MAX: usize = 256;

pub(super) fn mnt(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let args: Dirpath<'_> = call.args()?;
    let path = plain(args.bytes());
    let result = find(call, &path);
    let connection = call.connection;
    let mut w = reply.writer();
    Ok(match result {
        Ok(target) => {
            connection.core.mounts.add(connection.peer, &path);
            let handle = connection.core.handles.seal(target);
            let fhandle = Fhandle3::new(&handle).expect("a handle has at most 64 bytes");
            let auth_flavors = Array::new(&[AuthFlavor::SYS.0]).expect("it is one");
            w.encode(&Mountres3::Ok(MountresOk { fhandle, auth_flavors }));
            Ended::Well
        }
        Err(status) => {
            w.encode(&Mountres3::Fail(status));
            Ended::Failed
        }
    })
}

/// MNT of version 1: EACCES.
pub(super) fn refuse(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let _: Dirpath<'_> = call.args()?;
    reply.writer().encode(&MountResult::<(), _>::Fail(Mountstat3::Acces));
    Ok(Ended::Failed)
}

/// The path without repeated and final slashes.
pub(super) fn plain(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(path.len());
    for &byte in path {
        if byte != b'/' || plain.last() != Some(&b'/') {
            plain.push(byte);
        }
    }
    if plain.len() > 1 && plain.last() == Some(&b'/') {
        plain.pop();
    }
    plain
}

/// What a path names, if the caller may mount it.
fn find(call: &Call<'_>, path: &[u8]) -> Result<Target, Mountstat3> {
    let core = &call.connection.core;
    let exports = core.exports.borrow_mut().get().clone();
    let (export, rest) = exports.by_path(path).ok_or(Mountstat3::Noent)?;
    let authorized = exports.authorize(call.connection.peer, call.claim(), &[export.filesystem], Intent::Read);
    let (cred, _) = authorized.map_err(|_| Mountstat3::Acces)?;
    let filesystem = export.filesystem.0;
    let share = core.share(filesystem).ok_or(Mountstat3::Noent)?;
    let file = walk(&share.fs, &cred, rest).map_err(mountstat)?;
    Ok(Target { filesystem, file })
}

/// The directory that `rest` leads to from the root. `.` and `..` are not walked: a client that has them in a path
/// means something that a server cannot know.
fn walk(fs: &Rc<Fs>, cred: &Cred, rest: &[u8]) -> Result<FileId, Status> {
    let mut at = fs.attr(ROOT_ID)?;
    for (count, part) in rest.split(|&byte| byte == b'/').filter(|part| !part.is_empty()).enumerate() {
        if count == PARTS_MAX {
            return Err(Status::NameTooLong);
        }
        if part == b"." || part == b".." {
            return Err(Status::Inval);
        }
        at = lookup::lookup(fs, cred, at.id(), part)?;
        if !at.is_directory() {
            return Err(Status::NotDir);
        }
    }
    Ok(at.id())
}

fn mountstat(status: Status) -> Mountstat3 {
    match status {
        Status::Perm => Mountstat3::Perm,
        Status::NoEnt | Status::Stale => Mountstat3::Noent,
        Status::Access => Mountstat3::Acces,
        Status::NotDir => Mountstat3::Notdir,
        Status::Inval => Mountstat3::Inval,
        Status::NameTooLong => Mountstat3::Nametoolong,
        Status::Io => Mountstat3::Io,
        _ => Mountstat3::Serverfault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_loses_repeated_and_final_slashes() {
        for (path, shown) in [("/a/", "/a"), ("//a///b//", "/a/b"), ("/", "/"), ("//", "/"), ("", ""), ("/a", "/a")] {
            assert_eq!(plain(path.as_bytes()), shown.as_bytes(), "{path}");
        }
    }
}
