//! NFS version 3, RFC 1813: all 22 procedures, arguments and results.
//!
//! Callers: `shard`'s nfs3 door (reads arguments, writes results), `perf` (the reverse). [`types`] has the basic
//! types of section 2, [`handle`] file handles, [`procedures`] section 3 in its order, [`dirlist`] the bounded
//! writers of READDIR and READDIRPLUS.
//! Promise: WRITE's data and every name borrow the frame; names longer than a server takes still decode, so that
//! they are answered NFS3ERR_NAMETOOLONG and not GARBAGE_ARGS.

pub mod dirlist;
pub mod handle;
pub mod procedures;
pub mod types;

pub use dirlist::{DirListWriter, DirPlusWriter};
pub use handle::{FileHandle, FileHandleBuf};
pub use procedures::*;
pub use types::*;

/// The program's number.
pub const PROGRAM: u32 = 100_003;
/// The version.
pub const VERSION: u32 = 3;
/// The port that clients expect.
pub const PORT: u16 = 2049;

/// The most bytes of a file handle, RFC 1813 2.4.
pub const NFS3_FHSIZE: usize = 64;
/// RFC 1813 2.4.
pub const NFS3_COOKIEVERFSIZE: usize = 8;
/// RFC 1813 2.4.
pub const NFS3_CREATEVERFSIZE: usize = 8;
/// RFC 1813 2.4.
pub const NFS3_WRITEVERFSIZE: usize = 8;

/// The most bytes of a name on the wire. The RFC has no limit; servers take fewer and say NFS3ERR_NAMETOOLONG.
pub const NAME_WIRE_MAX: usize = 4096;
/// The most bytes of a symlink's text on the wire: one more than PATH_MAX of Linux leaves for it, so that a server
/// can judge.
pub const PATH_WIRE_MAX: usize = 4096;
/// The most bytes of data of one READ or WRITE on the wire. Servers announce less in FSINFO.
pub const DATA_WIRE_MAX: usize = 16 << 20;

xdr_enum! {
    /// The procedures, RFC 1813 3. Names are without the prefix `NFSPROC3_`.
    pub enum Procedure {
        Null = 0 "NULL",
        Getattr = 1 "GETATTR",
        Setattr = 2 "SETATTR",
        Lookup = 3 "LOOKUP",
        Access = 4 "ACCESS",
        Readlink = 5 "READLINK",
        Read = 6 "READ",
        Write = 7 "WRITE",
        Create = 8 "CREATE",
        Mkdir = 9 "MKDIR",
        Symlink = 10 "SYMLINK",
        Mknod = 11 "MKNOD",
        Remove = 12 "REMOVE",
        Rmdir = 13 "RMDIR",
        Rename = 14 "RENAME",
        Link = 15 "LINK",
        Readdir = 16 "READDIR",
        Readdirplus = 17 "READDIRPLUS",
        Fsstat = 18 "FSSTAT",
        Fsinfo = 19 "FSINFO",
        Pathconf = 20 "PATHCONF",
        Commit = 21 "COMMIT",
    }
}
