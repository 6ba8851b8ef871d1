//! The procedures of RFC 1813 3.3, in its order: arguments, results when it went well (`ResOk`) and when it did
//! not (`ResFail`).
//!
//! Callers: one operation each of the nfs3 door; `perf`. NULL has neither arguments nor results.

use super::{
    Cookieverf3, Createverf3, Data, Diropargs3, Fattr3, FileHandle, Filename, Ftype3, Nfspath, Nfstime3, PostOpAttr,
    PostOpFh3, Res, Sattr3, Specdata3, WccData, Writeverf3,
};
use crate::xdr::{Encode, List, Writer};

// 3.3.1 GETATTR: get file attributes.

xdr_struct! {
    /// `GETATTR3args`.
    pub struct GetattrArgs<'a> {
        pub object: FileHandle<'a>,
    }
}

xdr_struct! {
    /// `GETATTR3resok`.
    pub struct GetattrResOk {
        pub obj_attributes: Fattr3,
    }
}

/// `GETATTR3res`, RFC 1813 3.3.1.
pub type GetattrRes = Res<GetattrResOk, ()>;

// 3.3.2 SETATTR: set file attributes.

xdr_struct! {
    /// `SETATTR3args`.
    pub struct SetattrArgs<'a> {
        pub object: FileHandle<'a>,
        pub new_attributes: Sattr3,
        /// `sattrguard3`: refuse with NFS3ERR_NOT_SYNC unless this is the object's ctime.
        pub guard: Option<Nfstime3>,
    }
}

xdr_struct! {
    /// `SETATTR3resok`.
    pub struct SetattrResOk {
        pub obj_wcc: WccData,
    }
}

xdr_struct! {
    /// `SETATTR3resfail`.
    #[derive(Default)]
    pub struct SetattrResFail {
        pub obj_wcc: WccData,
    }
}

/// `SETATTR3res`, RFC 1813 3.3.2.
pub type SetattrRes = Res<SetattrResOk, SetattrResFail>;

// 3.3.3 LOOKUP: look up a name.

xdr_struct! {
    /// `LOOKUP3args`.
    pub struct LookupArgs<'a> {
        pub what: Diropargs3<'a>,
    }
}

xdr_struct! {
    /// `LOOKUP3resok`.
    pub struct LookupResOk<'a> {
        pub object: FileHandle<'a>,
        pub obj_attributes: PostOpAttr,
        pub dir_attributes: PostOpAttr,
    }
}

xdr_struct! {
    /// `LOOKUP3resfail`.
    #[derive(Default)]
    pub struct LookupResFail {
        pub dir_attributes: PostOpAttr,
    }
}

/// `LOOKUP3res`, RFC 1813 3.3.3.
pub type LookupRes<'a> = Res<LookupResOk<'a>, LookupResFail>;

// 3.3.4 ACCESS: check access permission.

/// Read a file or list a directory.
pub const ACCESS3_READ: u32 = 0x01;
/// Look up a name in a directory.
pub const ACCESS3_LOOKUP: u32 = 0x02;
/// Rewrite data, or change entries of a directory.
pub const ACCESS3_MODIFY: u32 = 0x04;
/// Append data, or add entries to a directory.
pub const ACCESS3_EXTEND: u32 = 0x08;
/// Delete an entry of a directory.
pub const ACCESS3_DELETE: u32 = 0x10;
/// Execute a file.
pub const ACCESS3_EXECUTE: u32 = 0x20;

xdr_struct! {
    /// `ACCESS3args`.
    pub struct AccessArgs<'a> {
        pub object: FileHandle<'a>,
        /// A set of `ACCESS3_*`.
        pub access: u32,
    }
}

xdr_struct! {
    /// `ACCESS3resok`.
    pub struct AccessResOk {
        pub obj_attributes: PostOpAttr,
        pub access: u32,
    }
}

xdr_struct! {
    /// `ACCESS3resfail`.
    #[derive(Default)]
    pub struct AccessResFail {
        pub obj_attributes: PostOpAttr,
    }
}

/// `ACCESS3res`, RFC 1813 3.3.4.
pub type AccessRes = Res<AccessResOk, AccessResFail>;

// 3.3.5 READLINK: read from a symbolic link.

xdr_struct! {
    /// `READLINK3args`.
    pub struct ReadlinkArgs<'a> {
        pub symlink: FileHandle<'a>,
    }
}

xdr_struct! {
    /// `READLINK3resok`.
    pub struct ReadlinkResOk<'a> {
        pub symlink_attributes: PostOpAttr,
        pub data: Nfspath<'a>,
    }
}

xdr_struct! {
    /// `READLINK3resfail`.
    #[derive(Default)]
    pub struct ReadlinkResFail {
        pub symlink_attributes: PostOpAttr,
    }
}

/// `READLINK3res`, RFC 1813 3.3.5.
pub type ReadlinkRes<'a> = Res<ReadlinkResOk<'a>, ReadlinkResFail>;

// 3.3.6 READ: read from a file.

xdr_struct! {
    /// `READ3args`.
    pub struct ReadArgs<'a> {
        pub file: FileHandle<'a>,
        pub offset: u64,
        /// In bytes.
        pub count: u32,
    }
}

xdr_struct! {
    /// `READ3resok`.
    pub struct ReadResOk<'a> {
        pub file_attributes: PostOpAttr,
        /// In bytes.
        pub count: u32,
        pub eof: bool,
        pub data: Data<'a>,
    }
}

xdr_struct! {
    /// `READ3resfail`.
    #[derive(Default)]
    pub struct ReadResFail {
        pub file_attributes: PostOpAttr,
    }
}

/// `READ3res`, RFC 1813 3.3.6.
pub type ReadRes<'a> = Res<ReadResOk<'a>, ReadResFail>;

/// [`ReadResOk`] up to the length of its data, for a server that sends the data from where it lies. After it the
/// caller sends `count` bytes and [`padding`](crate::xdr::padding) of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadResOkHead {
    pub file_attributes: PostOpAttr,
    /// In bytes.
    pub count: u32,
    pub eof: bool,
}

impl Encode for ReadResOkHead {
    #[inline]
    fn encode(&self, w: &mut Writer<'_>) {
        w.encode(&self.file_attributes);
        w.u32(self.count);
        w.bool(self.eof);
        w.u32(self.count);
    }
}

/// [`ReadRes`] without the data. Encodes only: a client decodes [`ReadRes`].
pub type ReadResHead = Res<ReadResOkHead, ReadResFail>;

// 3.3.7 WRITE: write to a file.

xdr_enum! {
    /// `stable_how`: what must be on stable storage before the reply. In rising order.
    pub enum StableHow {
        Unstable = 0 "UNSTABLE",
        DataSync = 1 "DATA_SYNC",
        FileSync = 2 "FILE_SYNC",
    }
}

xdr_struct! {
    /// `WRITE3args`.
    pub struct WriteArgs<'a> {
        pub file: FileHandle<'a>,
        pub offset: u64,
        /// In bytes; the server compares it with the data's length.
        pub count: u32,
        pub stable: StableHow,
        pub data: Data<'a>,
    }
}

xdr_struct! {
    /// `WRITE3resok`.
    pub struct WriteResOk {
        pub file_wcc: WccData,
        /// In bytes.
        pub count: u32,
        pub committed: StableHow,
        pub verf: Writeverf3,
    }
}

xdr_struct! {
    /// `WRITE3resfail`.
    #[derive(Default)]
    pub struct WriteResFail {
        pub file_wcc: WccData,
    }
}

/// `WRITE3res`, RFC 1813 3.3.7.
pub type WriteRes = Res<WriteResOk, WriteResFail>;

// 3.3.8 CREATE: create a file.

xdr_union! {
    /// `createhow3`, by `createmode3`.
    pub enum Createhow3 {
        /// An existing file is taken.
        Unchecked(Sattr3) = 0,
        /// An existing file is NFS3ERR_EXIST.
        Guarded(Sattr3) = 1,
        /// An existing file is NFS3ERR_EXIST, unless it was made with the same verifier.
        Exclusive(Createverf3) = 2,
    }
}

xdr_struct! {
    /// `CREATE3args`; `location` is `where`, a word of Rust's.
    pub struct CreateArgs<'a> {
        pub location: Diropargs3<'a>,
        pub how: Createhow3,
    }
}

xdr_struct! {
    /// `CREATE3resok`.
    pub struct CreateResOk<'a> {
        pub obj: PostOpFh3<'a>,
        pub obj_attributes: PostOpAttr,
        pub dir_wcc: WccData,
    }
}

xdr_struct! {
    /// `CREATE3resfail`.
    #[derive(Default)]
    pub struct CreateResFail {
        pub dir_wcc: WccData,
    }
}

/// `CREATE3res`, RFC 1813 3.3.8.
pub type CreateRes<'a> = Res<CreateResOk<'a>, CreateResFail>;

// 3.3.9 MKDIR: create a directory.

xdr_struct! {
    /// `MKDIR3args`.
    pub struct MkdirArgs<'a> {
        pub location: Diropargs3<'a>,
        pub attributes: Sattr3,
    }
}

xdr_struct! {
    /// `MKDIR3resok`.
    pub struct MkdirResOk<'a> {
        pub obj: PostOpFh3<'a>,
        pub obj_attributes: PostOpAttr,
        pub dir_wcc: WccData,
    }
}

xdr_struct! {
    /// `MKDIR3resfail`.
    #[derive(Default)]
    pub struct MkdirResFail {
        pub dir_wcc: WccData,
    }
}

/// `MKDIR3res`, RFC 1813 3.3.9.
pub type MkdirRes<'a> = Res<MkdirResOk<'a>, MkdirResFail>;

// 3.3.10 SYMLINK: create a symbolic link.

xdr_struct! {
    /// `symlinkdata3`.
    pub struct Symlinkdata3<'a> {
        pub symlink_attributes: Sattr3,
        pub symlink_data: Nfspath<'a>,
    }
}

xdr_struct! {
    /// `SYMLINK3args`.
    pub struct SymlinkArgs<'a> {
        pub location: Diropargs3<'a>,
        pub symlink: Symlinkdata3<'a>,
    }
}

xdr_struct! {
    /// `SYMLINK3resok`.
    pub struct SymlinkResOk<'a> {
        pub obj: PostOpFh3<'a>,
        pub obj_attributes: PostOpAttr,
        pub dir_wcc: WccData,
    }
}

xdr_struct! {
    /// `SYMLINK3resfail`.
    #[derive(Default)]
    pub struct SymlinkResFail {
        pub dir_wcc: WccData,
    }
}

/// `SYMLINK3res`, RFC 1813 3.3.10.
pub type SymlinkRes<'a> = Res<SymlinkResOk<'a>, SymlinkResFail>;

// 3.3.11 MKNOD: create a special device.

xdr_struct! {
    /// `devicedata3`.
    pub struct Devicedata3 {
        pub dev_attributes: Sattr3,
        pub spec: Specdata3,
    }
}

xdr_union! {
    /// `mknoddata3`, by `ftype3`. The types without data are answered NFS3ERR_BADTYPE.
    pub enum Mknoddata3 {
        Chr(Devicedata3) = Ftype3::Chr,
        Blk(Devicedata3) = Ftype3::Blk,
        Sock(Sattr3) = Ftype3::Sock,
        Fifo(Sattr3) = Ftype3::Fifo,
        Reg = Ftype3::Reg,
        Dir = Ftype3::Dir,
        Lnk = Ftype3::Lnk,
    }
}

xdr_struct! {
    /// `MKNOD3args`.
    pub struct MknodArgs<'a> {
        pub location: Diropargs3<'a>,
        pub what: Mknoddata3,
    }
}

xdr_struct! {
    /// `MKNOD3resok`.
    pub struct MknodResOk<'a> {
        pub obj: PostOpFh3<'a>,
        pub obj_attributes: PostOpAttr,
        pub dir_wcc: WccData,
    }
}

xdr_struct! {
    /// `MKNOD3resfail`.
    #[derive(Default)]
    pub struct MknodResFail {
        pub dir_wcc: WccData,
    }
}

/// `MKNOD3res`, RFC 1813 3.3.11.
pub type MknodRes<'a> = Res<MknodResOk<'a>, MknodResFail>;

// 3.3.12 REMOVE: remove a file.

xdr_struct! {
    /// `REMOVE3args`.
    pub struct RemoveArgs<'a> {
        pub object: Diropargs3<'a>,
    }
}

xdr_struct! {
    /// `REMOVE3resok`.
    pub struct RemoveResOk {
        pub dir_wcc: WccData,
    }
}

xdr_struct! {
    /// `REMOVE3resfail`.
    #[derive(Default)]
    pub struct RemoveResFail {
        pub dir_wcc: WccData,
    }
}

/// `REMOVE3res`, RFC 1813 3.3.12.
pub type RemoveRes = Res<RemoveResOk, RemoveResFail>;

// 3.3.13 RMDIR: remove a directory.

xdr_struct! {
    /// `RMDIR3args`.
    pub struct RmdirArgs<'a> {
        pub object: Diropargs3<'a>,
    }
}

xdr_struct! {
    /// `RMDIR3resok`.
    pub struct RmdirResOk {
        pub dir_wcc: WccData,
    }
}

xdr_struct! {
    /// `RMDIR3resfail`.
    #[derive(Default)]
    pub struct RmdirResFail {
        pub dir_wcc: WccData,
    }
}

/// `RMDIR3res`, RFC 1813 3.3.13.
pub type RmdirRes = Res<RmdirResOk, RmdirResFail>;

// 3.3.14 RENAME: rename a file or directory.

xdr_struct! {
    /// `RENAME3args`.
    pub struct RenameArgs<'a> {
        pub from: Diropargs3<'a>,
        pub to: Diropargs3<'a>,
    }
}

xdr_struct! {
    /// `RENAME3resok`.
    pub struct RenameResOk {
        pub fromdir_wcc: WccData,
        pub todir_wcc: WccData,
    }
}

xdr_struct! {
    /// `RENAME3resfail`.
    #[derive(Default)]
    pub struct RenameResFail {
        pub fromdir_wcc: WccData,
        pub todir_wcc: WccData,
    }
}

/// `RENAME3res`, RFC 1813 3.3.14.
pub type RenameRes = Res<RenameResOk, RenameResFail>;

// 3.3.15 LINK: create a link to an object.

xdr_struct! {
    /// `LINK3args`.
    pub struct LinkArgs<'a> {
        pub file: FileHandle<'a>,
        pub link: Diropargs3<'a>,
    }
}

xdr_struct! {
    /// `LINK3resok`.
    pub struct LinkResOk {
        pub file_attributes: PostOpAttr,
        pub linkdir_wcc: WccData,
    }
}

xdr_struct! {
    /// `LINK3resfail`.
    #[derive(Default)]
    pub struct LinkResFail {
        pub file_attributes: PostOpAttr,
        pub linkdir_wcc: WccData,
    }
}

/// `LINK3res`, RFC 1813 3.3.15.
pub type LinkRes = Res<LinkResOk, LinkResFail>;

// 3.3.16 READDIR: read from a directory.

xdr_struct! {
    /// `READDIR3args`.
    pub struct ReaddirArgs<'a> {
        pub dir: FileHandle<'a>,
        pub cookie: u64,
        pub cookieverf: Cookieverf3,
        /// The most bytes of [`ReaddirResOk`].
        pub count: u32,
    }
}

xdr_struct! {
    /// `READDIR3resok`.
    pub struct ReaddirResOk<'a> {
        pub dir_attributes: PostOpAttr,
        pub cookieverf: Cookieverf3,
        pub reply: Dirlist3<'a>,
    }
}

xdr_struct! {
    /// `READDIR3resfail`.
    #[derive(Default)]
    pub struct ReaddirResFail {
        pub dir_attributes: PostOpAttr,
    }
}

/// `READDIR3res`, RFC 1813 3.3.16.
pub type ReaddirRes<'a> = Res<ReaddirResOk<'a>, ReaddirResFail>;

xdr_struct! {
    /// `entry3`.
    pub struct Entry3<'a> {
        pub fileid: u64,
        pub name: Filename<'a>,
        pub cookie: u64,
    }
}

xdr_struct! {
    /// `dirlist3`. Servers write it with [`DirListWriter`](super::DirListWriter).
    pub struct Dirlist3<'a> {
        pub entries: List<'a, Entry3<'a>>,
        pub eof: bool,
    }
}

// 3.3.17 READDIRPLUS: extended read from a directory.

xdr_struct! {
    /// `READDIRPLUS3args`.
    pub struct ReaddirplusArgs<'a> {
        pub dir: FileHandle<'a>,
        pub cookie: u64,
        pub cookieverf: Cookieverf3,
        /// The most bytes of names, cookies and file ids.
        pub dircount: u32,
        /// The most bytes of [`ReaddirplusResOk`].
        pub maxcount: u32,
    }
}

xdr_struct! {
    /// `READDIRPLUS3resok`.
    pub struct ReaddirplusResOk<'a> {
        pub dir_attributes: PostOpAttr,
        pub cookieverf: Cookieverf3,
        pub reply: Dirlistplus3<'a>,
    }
}

xdr_struct! {
    /// `READDIRPLUS3resfail`.
    #[derive(Default)]
    pub struct ReaddirplusResFail {
        pub dir_attributes: PostOpAttr,
    }
}

/// `READDIRPLUS3res`, RFC 1813 3.3.17.
pub type ReaddirplusRes<'a> = Res<ReaddirplusResOk<'a>, ReaddirplusResFail>;

xdr_struct! {
    /// `entryplus3`.
    pub struct Entryplus3<'a> {
        pub fileid: u64,
        pub name: Filename<'a>,
        pub cookie: u64,
        pub name_attributes: PostOpAttr,
        pub name_handle: PostOpFh3<'a>,
    }
}

xdr_struct! {
    /// `dirlistplus3`. Servers write it with [`DirPlusWriter`](super::DirPlusWriter).
    pub struct Dirlistplus3<'a> {
        pub entries: List<'a, Entryplus3<'a>>,
        pub eof: bool,
    }
}

// 3.3.18 FSSTAT: get dynamic file system information.

xdr_struct! {
    /// `FSSTAT3args`.
    pub struct FsstatArgs<'a> {
        pub fsroot: FileHandle<'a>,
    }
}

xdr_struct! {
    /// `FSSTAT3resok`.
    pub struct FsstatResOk {
        pub obj_attributes: PostOpAttr,
        /// Bytes in all.
        pub tbytes: u64,
        /// Bytes free.
        pub fbytes: u64,
        /// Bytes free for the caller.
        pub abytes: u64,
        /// File slots in all.
        pub tfiles: u64,
        /// File slots free.
        pub ffiles: u64,
        /// File slots free for the caller.
        pub afiles: u64,
        /// Seconds for which this will not change.
        pub invarsec: u32,
    }
}

xdr_struct! {
    /// `FSSTAT3resfail`.
    #[derive(Default)]
    pub struct FsstatResFail {
        pub obj_attributes: PostOpAttr,
    }
}

/// `FSSTAT3res`, RFC 1813 3.3.18.
pub type FsstatRes = Res<FsstatResOk, FsstatResFail>;

// 3.3.19 FSINFO: get static file system information.

/// Hard links are supported.
pub const FSF3_LINK: u32 = 0x01;
/// Symbolic links are supported.
pub const FSF3_SYMLINK: u32 = 0x02;
/// PATHCONF says the same for every object.
pub const FSF3_HOMOGENEOUS: u32 = 0x08;
/// SETATTR can set times to `time_delta`.
pub const FSF3_CANSETTIME: u32 = 0x10;

xdr_struct! {
    /// `FSINFO3args`.
    pub struct FsinfoArgs<'a> {
        pub fsroot: FileHandle<'a>,
    }
}

xdr_struct! {
    /// `FSINFO3resok`.
    pub struct FsinfoResOk {
        pub obj_attributes: PostOpAttr,
        pub rtmax: u32,
        pub rtpref: u32,
        pub rtmult: u32,
        pub wtmax: u32,
        pub wtpref: u32,
        pub wtmult: u32,
        pub dtpref: u32,
        pub maxfilesize: u64,
        pub time_delta: Nfstime3,
        /// A set of `FSF3_*`.
        pub properties: u32,
    }
}

xdr_struct! {
    /// `FSINFO3resfail`.
    #[derive(Default)]
    pub struct FsinfoResFail {
        pub obj_attributes: PostOpAttr,
    }
}

/// `FSINFO3res`, RFC 1813 3.3.19.
pub type FsinfoRes = Res<FsinfoResOk, FsinfoResFail>;

// 3.3.20 PATHCONF: get POSIX information.

xdr_struct! {
    /// `PATHCONF3args`.
    pub struct PathconfArgs<'a> {
        pub object: FileHandle<'a>,
    }
}

xdr_struct! {
    /// `PATHCONF3resok`.
    pub struct PathconfResOk {
        pub obj_attributes: PostOpAttr,
        pub linkmax: u32,
        pub name_max: u32,
        pub no_trunc: bool,
        pub chown_restricted: bool,
        pub case_insensitive: bool,
        pub case_preserving: bool,
    }
}

xdr_struct! {
    /// `PATHCONF3resfail`.
    #[derive(Default)]
    pub struct PathconfResFail {
        pub obj_attributes: PostOpAttr,
    }
}

/// `PATHCONF3res`, RFC 1813 3.3.20.
pub type PathconfRes = Res<PathconfResOk, PathconfResFail>;

// 3.3.21 COMMIT: commit cached data to stable storage.

xdr_struct! {
    /// `COMMIT3args`.
    pub struct CommitArgs<'a> {
        pub file: FileHandle<'a>,
        pub offset: u64,
        /// In bytes; 0 is up to the end.
        pub count: u32,
    }
}

xdr_struct! {
    /// `COMMIT3resok`.
    pub struct CommitResOk {
        pub file_wcc: WccData,
        pub verf: Writeverf3,
    }
}

xdr_struct! {
    /// `COMMIT3resfail`.
    #[derive(Default)]
    pub struct CommitResFail {
        pub file_wcc: WccData,
    }
}

/// `COMMIT3res`, RFC 1813 3.3.21.
pub type CommitRes = Res<CommitResOk, CommitResFail>;
