//! The basic types of RFC 1813 2.5 and 2.6, in its order.
//!
//! Callers: [`super::procedures`], and every operation of the nfs3 door. The unions that switch on a bool
//! (`post_op_attr`, `pre_op_attr`, `post_op_fh3`, `set_mode3`...) are `Option`s.

use super::{
    DATA_WIRE_MAX, FileHandle, NAME_WIRE_MAX, NFS3_COOKIEVERFSIZE, NFS3_CREATEVERFSIZE, NFS3_WRITEVERFSIZE,
    PATH_WIRE_MAX,
};
use crate::xdr::{Decode, Encode, Opaque, Reader, Result, Writer};

xdr_bytes! {
    /// `filename3`: a name as bytes, not yet judged: it may be empty, too long, or have a `/` or NUL in it.
    pub struct Filename<NAME_WIRE_MAX>
}

xdr_bytes! {
    /// `nfspath3`: a symlink's text as bytes, not yet judged.
    pub struct Nfspath<PATH_WIRE_MAX>
}

/// The data of a READ or WRITE.
pub type Data<'a> = Opaque<'a, DATA_WIRE_MAX>;

xdr_fixed! {
    /// `cookieverf3`: says whether a READDIR cookie is still good.
    pub struct Cookieverf3[NFS3_COOKIEVERFSIZE]
}

xdr_fixed! {
    /// `createverf3`: an exclusive create is known again by it.
    pub struct Createverf3[NFS3_CREATEVERFSIZE]
}

xdr_fixed! {
    /// `writeverf3`: another one means that unstable data may be lost.
    pub struct Writeverf3[NFS3_WRITEVERFSIZE]
}

/// `NFS3_OK`: what stands in front of [`Res::Ok`].
pub const NFS3_OK: u32 = 0;

xdr_enum! {
    /// `nfsstat3`, RFC 1813 2.6, without NFS3_OK, so that a failure always has a reason: see [`Res`].
    pub enum Nfsstat3 {
        Perm = 1 "NFS3ERR_PERM",
        Noent = 2 "NFS3ERR_NOENT",
        Io = 5 "NFS3ERR_IO",
        Nxio = 6 "NFS3ERR_NXIO",
        Acces = 13 "NFS3ERR_ACCES",
        Exist = 17 "NFS3ERR_EXIST",
        Xdev = 18 "NFS3ERR_XDEV",
        Nodev = 19 "NFS3ERR_NODEV",
        Notdir = 20 "NFS3ERR_NOTDIR",
        Isdir = 21 "NFS3ERR_ISDIR",
        Inval = 22 "NFS3ERR_INVAL",
        Fbig = 27 "NFS3ERR_FBIG",
        Nospc = 28 "NFS3ERR_NOSPC",
        Rofs = 30 "NFS3ERR_ROFS",
        Mlink = 31 "NFS3ERR_MLINK",
        Nametoolong = 63 "NFS3ERR_NAMETOOLONG",
        Notempty = 66 "NFS3ERR_NOTEMPTY",
        Dquot = 69 "NFS3ERR_DQUOT",
        Stale = 70 "NFS3ERR_STALE",
        Remote = 71 "NFS3ERR_REMOTE",
        Badhandle = 10001 "NFS3ERR_BADHANDLE",
        NotSync = 10002 "NFS3ERR_NOT_SYNC",
        BadCookie = 10003 "NFS3ERR_BAD_COOKIE",
        Notsupp = 10004 "NFS3ERR_NOTSUPP",
        Toosmall = 10005 "NFS3ERR_TOOSMALL",
        Serverfault = 10006 "NFS3ERR_SERVERFAULT",
        Badtype = 10007 "NFS3ERR_BADTYPE",
        Jukebox = 10008 "NFS3ERR_JUKEBOX",
    }
}

/// The results of a procedure: `resok` after NFS3_OK, `resfail` after another status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Res<Ok, Fail> {
    Ok(Ok),
    Fail(Nfsstat3, Fail),
}

impl<Ok, Fail> Res<Ok, Fail> {
    /// The status, if it isn't NFS3_OK.
    pub fn error(&self) -> Option<Nfsstat3> {
        match self {
            Self::Ok(_) => None,
            Self::Fail(status, _) => Some(*status),
        }
    }
}

impl<'a, Ok: Decode<'a>, Fail: Decode<'a>> Decode<'a> for Res<Ok, Fail> {
    #[inline]
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        match r.u32()? {
            NFS3_OK => r.decode().map(Self::Ok),
            status => Ok(Self::Fail(status.try_into()?, r.decode()?)),
        }
    }
}

impl<Ok: Encode, Fail: Encode> Encode for Res<Ok, Fail> {
    #[inline]
    fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Self::Ok(body) => {
                w.u32(NFS3_OK);
                w.encode(body);
            }
            Self::Fail(status, body) => {
                w.encode(status);
                w.encode(body);
            }
        }
    }
}

xdr_enum! {
    /// `ftype3`.
    pub enum Ftype3 {
        Reg = 1 "NF3REG",
        Dir = 2 "NF3DIR",
        Blk = 3 "NF3BLK",
        Chr = 4 "NF3CHR",
        Lnk = 5 "NF3LNK",
        Sock = 6 "NF3SOCK",
        Fifo = 7 "NF3FIFO",
    }
}

xdr_struct! {
    /// `specdata3`: major and minor number of a device.
    #[derive(Default)]
    pub struct Specdata3 {
        pub specdata1: u32,
        pub specdata2: u32,
    }
}

xdr_struct! {
    /// `nfstime3`: since 1970. A client may send any number of nanoseconds.
    #[derive(Default, PartialOrd, Ord)]
    pub struct Nfstime3 {
        pub seconds: u32,
        pub nseconds: u32,
    }
}

xdr_struct! {
    /// `fattr3`: sizes in bytes.
    pub struct Fattr3 {
        pub ftype: Ftype3,
        /// The twelve bits of permission, without the type.
        pub mode: u32,
        pub nlink: u32,
        pub uid: u32,
        pub gid: u32,
        pub size: u64,
        pub used: u64,
        pub rdev: Specdata3,
        pub fsid: u64,
        pub fileid: u64,
        pub atime: Nfstime3,
        pub mtime: Nfstime3,
        pub ctime: Nfstime3,
    }
}

/// `post_op_attr`.
pub type PostOpAttr = Option<Fattr3>;

xdr_struct! {
    /// `wcc_attr`: what a client compares with its cache.
    pub struct WccAttr {
        pub size: u64,
        pub mtime: Nfstime3,
        pub ctime: Nfstime3,
    }
}

impl From<Fattr3> for WccAttr {
    #[inline]
    fn from(attr: Fattr3) -> Self {
        Self { size: attr.size, mtime: attr.mtime, ctime: attr.ctime }
    }
}

/// `pre_op_attr`.
pub type PreOpAttr = Option<WccAttr>;

xdr_struct! {
    /// `wcc_data`: the attributes before and after, of one atomic step or not at all.
    #[derive(Default)]
    pub struct WccData {
        pub before: PreOpAttr,
        pub after: PostOpAttr,
    }
}

/// `post_op_fh3`.
pub type PostOpFh3<'a> = Option<FileHandle<'a>>;

xdr_union! {
    /// `set_atime` and `set_mtime`, by `time_how`.
    #[derive(Default)]
    pub enum SetTime {
        #[default]
        DontChange = 0,
        SetToServerTime = 1,
        SetToClientTime(Nfstime3) = 2,
    }
}

xdr_struct! {
    /// `sattr3`: what to set; `None` leaves it as it is.
    #[derive(Default)]
    pub struct Sattr3 {
        pub mode: Option<u32>,
        pub uid: Option<u32>,
        pub gid: Option<u32>,
        pub size: Option<u64>,
        pub atime: SetTime,
        pub mtime: SetTime,
    }
}

xdr_struct! {
    /// `diropargs3`: a name in a directory.
    pub struct Diropargs3<'a> {
        pub dir: FileHandle<'a>,
        pub name: Filename<'a>,
    }
}
