//! The MOUNT protocol: version 3 (RFC 1813 Appendix I) and version 1 (RFC 1094 Appendix A).
//!
//! Callers: `shard`'s mount door, `perf`. Version 1 is here because `showmount` and old automounters ask it for
//! lists; its file handles have 32 bytes, fewer than ours, so that its MNT is answered with an error.

use crate::xdr::{Array, Decode, Encode, List, Malformed, Reader, Result, Writer};

/// The program's number, in every version.
pub const PROGRAM: u32 = 100_005;
pub const VERSION_1: u32 = 1;
pub const VERSION_3: u32 = 3;

/// The most bytes of a path, RFC 1813 5.1.1.
pub const MNTPATHLEN: usize = 1024;
/// The most bytes of a name, RFC 1813 5.1.1.
pub const MNTNAMLEN: usize = 255;
/// The most bytes of a file handle of version 3, RFC 1813 5.1.1.
pub const FHSIZE3: usize = 64;
/// The bytes of a file handle of version 1, RFC 1094 A.3.
pub const FHSIZE: usize = 32;
/// The most flavors that MNT may answer. The RFC has no limit; this one is ours.
pub const AUTH_FLAVORS_MAX: usize = 16;

xdr_enum! {
    /// The procedures, RFC 1813 5.2; EXPORTALL is of version 1 alone and answers as EXPORT does.
    pub enum Procedure {
        Null = 0 "NULL",
        Mnt = 1 "MNT",
        Dump = 2 "DUMP",
        Umnt = 3 "UMNT",
        Umntall = 4 "UMNTALL",
        Export = 5 "EXPORT",
        Exportall = 6 "EXPORTALL",
    }
}

xdr_bytes! {
    /// `fhandle3`: the handle of a share's root.
    pub struct Fhandle3<FHSIZE3>
}

xdr_bytes! {
    /// `dirpath`: the argument of MNT and UMNT.
    pub struct Dirpath<MNTPATHLEN>
}

xdr_bytes! {
    /// `name`: of a host or a group of hosts.
    pub struct Name<MNTNAMLEN>
}

xdr_fixed! {
    /// `fhandle` of version 1.
    pub struct Fhandle[FHSIZE]
}

xdr_enum! {
    /// `mountstat3`, RFC 1813 5.1.5, without MNT3_OK: why a mount is refused. Version 1 uses the numbers below 100.
    pub enum Mountstat3 {
        Perm = 1 "MNT3ERR_PERM",
        Noent = 2 "MNT3ERR_NOENT",
        Io = 5 "MNT3ERR_IO",
        Acces = 13 "MNT3ERR_ACCES",
        Notdir = 20 "MNT3ERR_NOTDIR",
        Inval = 22 "MNT3ERR_INVAL",
        Nametoolong = 63 "MNT3ERR_NAMETOOLONG",
        Notsupp = 10004 "MNT3ERR_NOTSUPP",
        Serverfault = 10006 "MNT3ERR_SERVERFAULT",
    }
}

xdr_struct! {
    /// `mountres3_ok`, RFC 1813 5.2.1: the root's handle, and the flavors that its share takes, best first.
    pub struct MountresOk<'a> {
        pub fhandle: Fhandle3<'a>,
        pub auth_flavors: Array<u32, AUTH_FLAVORS_MAX>,
    }
}

/// `mountres3`: the answer to MNT of version 3.
pub type Mountres3<'a> = MountResult<MountresOk<'a>, Mountstat3>;

/// `fhstatus`, RFC 1094 A.3: the answer to MNT of version 1. Its status is a UNIX error number.
pub type Fhstatus = MountResult<Fhandle, u32>;

/// The answer to MNT: a handle after status 0, nothing after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountResult<T, S> {
    Ok(T),
    /// Never 0.
    Fail(S),
}

impl<'a, T: Decode<'a>, S: TryFrom<u32>> Decode<'a> for MountResult<T, S>
where
    Malformed: From<S::Error>,
{
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        match r.u32()? {
            MNT_OK => r.decode().map(Self::Ok),
            status => Ok(Self::Fail(S::try_from(status)?)),
        }
    }
}

impl<T: Encode, S: Encode> Encode for MountResult<T, S> {
    fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Self::Ok(body) => {
                w.u32(MNT_OK);
                w.encode(body);
            }
            Self::Fail(status) => w.encode(status),
        }
    }
}

/// `MNT3_OK`, and status 0 of version 1.
const MNT_OK: u32 = 0;

xdr_struct! {
    /// `mountbody`, RFC 1813 5.2.2: who has mounted what.
    pub struct Mountbody<'a> {
        pub ml_hostname: Name<'a>,
        pub ml_directory: Dirpath<'a>,
    }
}

/// `mountlist`: the answer to DUMP.
pub type Mountlist<'a> = List<'a, Mountbody<'a>>;

xdr_struct! {
    /// `exportnode`, RFC 1813 5.2.5: a share and who may mount it.
    pub struct Exportnode<'a> {
        pub ex_dir: Dirpath<'a>,
        pub ex_groups: List<'a, Name<'a>>,
    }
}

/// `exports`: the answer to EXPORT.
pub type Exports<'a> = List<'a, Exportnode<'a>>;
