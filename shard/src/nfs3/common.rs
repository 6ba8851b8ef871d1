//! What the operations share: from a handle to a file and an identity, attributes, statuses, names.
//!
//! Callers: every operation of this folder.

use crate::cred::Cred;
use crate::fs::Fs;
use crate::fs::ask::Asker;
use crate::inode::{FileId, Inode, Kind};
use crate::ledger::command::{Answer, ReplayKey, SetAttr, SetTime, Wcc};
use crate::net::core::Core;
use crate::net::dispatch::Call;
use crate::net::handle::{HANDLE_BYTES, Target};
use crate::net::reply::{Ended, Reply};
use crate::policy::{Denied, FilesystemId, Intent};
use crate::status::Status;
use cache::world::Time;
use std::rc::Rc;
use wire::Encode;
use wire::nfs3::{
    Cookieverf3, Fattr3, FileHandle, Ftype3, NFS3_COOKIEVERFSIZE, NFS3_OK, Nfsstat3, Nfstime3, PostOpAttr, PostOpFh3,
    Sattr3, Specdata3, WccAttr, WccData,
};

/// Most data bytes of a READ or WRITE, and what FSINFO prefers.
pub(super) const TRANSFER_MAX: usize = 1 << 20;
/// Most bytes of a READDIR or READDIRPLUS reply.
pub(super) const LIST_MAX: usize = 1 << 20;
/// The same while others wait for their turn: about as much as is listed in one.
const LIST_CROWDED_MAX: u32 = 64 << 10;

/// How much of a listing is given at a time to a client that wants `bytes` bytes; it asks for the rest.
pub(super) fn list_bytes(call: &Call<'_>, bytes: u32) -> u32 {
    let is_crowded = call.connection.core.is_crowded();
    bytes.min(if is_crowded { LIST_CROWDED_MAX } else { LIST_MAX as u32 })
}

/// The verifier of every READDIR cookie: a listing can always go on from where it was.
pub(super) const COOKIE_VERIFIER: Cookieverf3 = Cookieverf3([0; NFS3_COOKIEVERFSIZE]);

/// Where an operation acts, and as whom.
pub(super) struct Seat<'c> {
    /// The filesystem.
    pub(super) fs: &'c Rc<Fs>,
    /// The object of the (first) handle.
    pub(super) file: FileId,
    /// The identity after squashing.
    pub(super) cred: Cred,
    /// Whether the client may change anything on the share.
    pub(super) writable: bool,
}

/// Opens a handle and asks the policy. `BADHANDLE` for what we did not make, `STALE` for a filesystem that is gone.
pub(super) fn enter<'c>(call: &'c Call<'_>, handle: FileHandle<'_>, intent: Intent) -> Result<Seat<'c>, Nfsstat3> {
    let core = &call.connection.core;
    let target = core.handles.open(&handle).map_err(nfsstat)?;
    let share = core.share(target.filesystem).ok_or(Nfsstat3::Stale)?;
    let peer = call.connection.peer;
    let mut exports = core.exports.borrow_mut();
    let authorized = exports.get().authorize(peer, call.claim(), &[FilesystemId(target.filesystem)], intent);
    let (cred, export) = authorized.map_err(denied)?;
    let writable = intent == Intent::Write || export.admits_writes(peer);
    Ok(Seat { fs: &share.fs, file: target.file, cred, writable })
}

/// The same for an operation with two handles. Both must be on one filesystem; the second object comes back too.
pub(super) fn enter_both<'c>(
    call: &'c Call<'_>,
    first: FileHandle<'_>,
    second: FileHandle<'_>,
) -> Result<(Seat<'c>, FileId), Nfsstat3> {
    let core = &call.connection.core;
    let open = |handle: FileHandle<'_>| core.handles.open(&handle).map_err(nfsstat);
    let (one, two) = (open(first)?, open(second)?);
    let share = core.share(one.filesystem).ok_or(Nfsstat3::Stale)?;
    core.share(two.filesystem).ok_or(Nfsstat3::Stale)?;
    let both = [FilesystemId(one.filesystem), FilesystemId(two.filesystem)];
    let mut exports = core.exports.borrow_mut();
    let authorized = exports.get().authorize(call.connection.peer, call.claim(), &both, Intent::Write);
    let (cred, _) = authorized.map_err(denied)?;
    if one.filesystem != two.filesystem {
        return Err(Nfsstat3::Xdev);
    }
    Ok((Seat { fs: &share.fs, file: one.file, cred, writable: true }, two.file))
}

fn denied(why: Denied) -> Nfsstat3 {
    match why {
        Denied::ReadOnly => Nfsstat3::Rofs,
        Denied::NotListed | Denied::Flavour => Nfsstat3::Acces,
    }
}

/// Identifies the call for the duplicate-request cache.
pub(super) fn replay_key(call: &Call<'_>) -> ReplayKey {
    let connection = call.connection;
    ReplayKey { client: connection.client, xid: call.xid, arguments: connection.core.handles.digest(call.body) }
}

/// Who asks for a change of the namespace.
pub(super) fn asker(call: &Call<'_>, cred: Cred) -> Asker {
    Asker { cred, replay: Some(replay_key(call)) }
}

/// The handle of an object.
pub(super) fn seal(core: &Core, filesystem: u64, file: FileId) -> [u8; HANDLE_BYTES] {
    core.handles.seal(Target { filesystem, file })
}

/// What the results of CREATE, MKDIR, SYMLINK and MKNOD have in common.
pub(super) struct Made {
    handle: Option<[u8; HANDLE_BYTES]>,
    /// Of the object.
    pub(super) attributes: PostOpAttr,
    /// Of the directory.
    pub(super) dir_wcc: WccData,
}

impl Made {
    /// From the ledger's answer.
    pub(super) fn new(core: &Core, filesystem: u64, answer: &Answer) -> Made {
        let object = answer.object.as_ref();
        Made {
            handle: object.map(|inode| seal(core, filesystem, inode.id())),
            attributes: object.map(|inode| fattr(filesystem, inode)),
            dir_wcc: wcc_of(filesystem, answer.dir.as_ref()),
        }
    }

    /// Of the object.
    pub(super) fn handle(&self) -> PostOpFh3<'_> {
        self.handle.as_ref().map(|bytes| FileHandle::new(bytes).expect("a handle has at most 64 bytes"))
    }
}

/// Appends results: `resok` after NFS3_OK.
#[inline]
pub(super) fn well(reply: &mut Reply<'_>, resok: &impl Encode) -> Ended {
    let mut w = reply.writer();
    w.u32(NFS3_OK);
    w.encode(resok);
    Ended::Well
}

/// Appends results: `resfail` after an error.
#[cold]
pub(super) fn fail(reply: &mut Reply<'_>, status: Nfsstat3, resfail: &impl Encode) -> Ended {
    let mut w = reply.writer();
    w.encode(&status);
    w.encode(resfail);
    Ended::Failed
}

/// Attributes as RFC 1813 2.6 has them.
#[inline]
pub(super) fn fattr(filesystem: u64, inode: &Inode) -> Fattr3 {
    Fattr3 {
        ftype: ftype(inode.kind),
        mode: inode.mode,
        nlink: inode.nlink,
        uid: inode.uid,
        gid: inode.gid,
        size: inode.size,
        used: inode.used,
        rdev: Specdata3 { specdata1: inode.rdev.0, specdata2: inode.rdev.1 },
        fsid: filesystem,
        fileid: inode.ino.0,
        atime: nfstime(inode.atime),
        mtime: nfstime(inode.mtime),
        ctime: nfstime(inode.ctime),
    }
}

/// Attributes before an operation.
pub(super) fn wcc_attr(inode: &Inode) -> WccAttr {
    WccAttr { size: inode.size, mtime: nfstime(inode.mtime), ctime: nfstime(inode.ctime) }
}

/// Attributes before and after.
pub(super) fn wcc(filesystem: u64, before: Option<&Inode>, after: Option<&Inode>) -> WccData {
    WccData { before: before.map(wcc_attr), after: after.map(|inode| fattr(filesystem, inode)) }
}

/// The same from the ledger's transaction.
pub(super) fn wcc_of(filesystem: u64, both: Option<&Wcc>) -> WccData {
    both.map_or_else(WccData::default, |both| wcc(filesystem, both.before.as_ref(), both.after.as_ref()))
}

fn ftype(kind: Kind) -> Ftype3 {
    match kind {
        Kind::File => Ftype3::Reg,
        Kind::Directory => Ftype3::Dir,
        Kind::BlockDevice => Ftype3::Blk,
        Kind::CharDevice => Ftype3::Chr,
        Kind::Symlink => Ftype3::Lnk,
        Kind::Socket => Ftype3::Sock,
        Kind::Fifo => Ftype3::Fifo,
    }
}

/// NFSv3 has 32 unsigned bits for seconds; what is outside shows as the nearest.
pub(super) fn nfstime(time: Time) -> Nfstime3 {
    let seconds = time.secs.clamp(0, i64::from(u32::MAX)) as u32;
    Nfstime3 { seconds, nseconds: time.nanos }
}

/// A client's time; one that no clock shows is an invalid argument.
pub(super) fn time(nfstime: Nfstime3) -> Result<Time, Nfsstat3> {
    if nfstime.nseconds > NANOS_MAX {
        return Err(Nfsstat3::Inval);
    }
    Ok(Time { secs: i64::from(nfstime.seconds), nanos: nfstime.nseconds })
}

const NANOS_MAX: u32 = 999_999_999;

/// Attributes to be set, from the wire. Bits of a mode that are no permission are ignored.
pub(super) fn set_attr(sattr: &Sattr3) -> Result<SetAttr, Nfsstat3> {
    Ok(SetAttr {
        mode: sattr.mode.map(|mode| mode & 0o7777),
        uid: sattr.uid,
        gid: sattr.gid,
        size: sattr.size,
        atime: set_time(sattr.atime)?,
        mtime: set_time(sattr.mtime)?,
    })
}

fn set_time(how: wire::nfs3::SetTime) -> Result<Option<SetTime>, Nfsstat3> {
    match how {
        wire::nfs3::SetTime::DontChange => Ok(None),
        wire::nfs3::SetTime::SetToServerTime => Ok(Some(SetTime::Server)),
        wire::nfs3::SetTime::SetToClientTime(to) => Ok(Some(SetTime::Client(time(to)?))),
    }
}

/// A status in the words of RFC 1813 2.6.
pub(super) fn nfsstat(status: Status) -> Nfsstat3 {
    match status {
        Status::Perm => Nfsstat3::Perm,
        Status::NoEnt => Nfsstat3::Noent,
        Status::Io => Nfsstat3::Io,
        Status::NxIo => Nfsstat3::Nxio,
        Status::Access => Nfsstat3::Acces,
        Status::Exist => Nfsstat3::Exist,
        Status::XDev => Nfsstat3::Xdev,
        Status::NoDev => Nfsstat3::Nodev,
        Status::NotDir => Nfsstat3::Notdir,
        Status::IsDir => Nfsstat3::Isdir,
        Status::Inval => Nfsstat3::Inval,
        Status::FileTooBig => Nfsstat3::Fbig,
        Status::NoSpace => Nfsstat3::Nospc,
        Status::ReadOnly => Nfsstat3::Rofs,
        Status::TooManyLinks => Nfsstat3::Mlink,
        Status::NameTooLong => Nfsstat3::Nametoolong,
        Status::NotEmpty => Nfsstat3::Notempty,
        Status::Quota => Nfsstat3::Dquot,
        Status::Stale => Nfsstat3::Stale,
        Status::BadHandle => Nfsstat3::Badhandle,
        Status::NotSync => Nfsstat3::NotSync,
        Status::BadCookie => Nfsstat3::BadCookie,
        Status::NotSupported => Nfsstat3::Notsupp,
        Status::TooSmall => Nfsstat3::Toosmall,
        Status::ServerFault => Nfsstat3::Serverfault,
        Status::BadType => Nfsstat3::Badtype,
        Status::Delay => Nfsstat3::Jukebox,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_outside_32_bits_show_as_the_nearest() {
        let shown = |secs| nfstime(Time { secs, nanos: 5 });
        assert_eq!(shown(-1), Nfstime3 { seconds: 0, nseconds: 5 });
        assert_eq!(shown(1 << 40), Nfstime3 { seconds: u32::MAX, nseconds: 5 });
        assert_eq!(shown(77), Nfstime3 { seconds: 77, nseconds: 5 });
    }

    #[test]
    fn a_time_with_too_many_nanoseconds_is_invalid() {
        assert_eq!(time(Nfstime3 { seconds: 1, nseconds: 1_000_000_000 }), Err(Nfsstat3::Inval));
        assert!(time(Nfstime3 { seconds: 1, nseconds: 999_999_999 }).is_ok());
    }

    #[test]
    fn a_mode_is_cut_to_its_permission_bits() {
        let sattr = Sattr3 { mode: Some(0o170_644), ..Sattr3::default() };
        assert_eq!(set_attr(&sattr).unwrap().mode, Some(0o644));
    }
}
