//! An operation of NFSv3 or MOUNT as a client means it, and what came back: to the wire and from it.
//!
//! Callers: [`super::client`] (sends and receives), [`super::model`] (judges), the histories (make them up).

use super::server::SHARE;
use std::rc::Rc;
use wire::mount::{self, MountResult};
use wire::nfs3::*;
use wire::rpc::{AuthSys, CallHeader, OpaqueAuth, ReplyHeader};
use wire::xdr::{Array, Decode, Opaque, Reader, Writer};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A name, as short as the histories use them.
pub(crate) type Text = Rc<str>;

/// What is asked: of NFSv3, and at last of MOUNT. `Mount` and `Unmount` are of the share, or of the directory with this
/// name in its root, whose handle is known to the judge alone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Op {
    Null,
    Getattr { object: FileHandleBuf },
    Setattr { object: FileHandleBuf, sattr: Sattr3, guard: Option<Nfstime3> },
    Lookup { dir: FileHandleBuf, name: Text },
    Access { object: FileHandleBuf, mask: u32 },
    Readlink { object: FileHandleBuf },
    Read { file: FileHandleBuf, offset: u64, count: u32 },
    Write { file: FileHandleBuf, offset: u64, data: Rc<[u8]>, stable: StableHow },
    Create { dir: FileHandleBuf, name: Text, how: Createhow3 },
    Mkdir { dir: FileHandleBuf, name: Text, sattr: Sattr3 },
    Symlink { dir: FileHandleBuf, name: Text, target: Text },
    Mknod { dir: FileHandleBuf, name: Text, what: Mknoddata3 },
    Remove { dir: FileHandleBuf, name: Text },
    Rmdir { dir: FileHandleBuf, name: Text },
    Rename { from: FileHandleBuf, from_name: Text, to: FileHandleBuf, to_name: Text },
    Link { file: FileHandleBuf, dir: FileHandleBuf, name: Text },
    Readdir { dir: FileHandleBuf, cookie: u64, count: u32 },
    Readdirplus { dir: FileHandleBuf, cookie: u64, count: u32 },
    Fsstat { object: FileHandleBuf },
    Fsinfo { object: FileHandleBuf },
    Pathconf { object: FileHandleBuf },
    Commit { file: FileHandleBuf },
    Mount { root: FileHandleBuf, name: Option<Text> },
    Unmount { name: Option<Text> },
    Exports,
    Mounts,
}

/// What was answered; of each procedure the parts that it has.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reply {
    /// `None` for NFS3_OK.
    pub(crate) error: Option<Nfsstat3>,
    /// The object that was named, made or found.
    pub(crate) object: PostOpAttr,
    pub(crate) object_before: PreOpAttr,
    pub(crate) handle: Option<FileHandleBuf>,
    pub(crate) dir: WccData,
    pub(crate) to_dir: WccData,
    /// READ, READLINK.
    pub(crate) data: Vec<u8>,
    /// READ, READDIR, READDIRPLUS.
    pub(crate) eof: bool,
    /// WRITE.
    pub(crate) count: u32,
    pub(crate) committed: Option<StableHow>,
    /// WRITE, COMMIT.
    pub(crate) verifier: Option<[u8; 8]>,
    /// ACCESS.
    pub(crate) access: u32,
    /// READDIR, READDIRPLUS.
    pub(crate) entries: Vec<Entry>,
    /// FSSTAT: bytes in all, free, available.
    pub(crate) space: [u64; 3],
    /// EXPORT: shares and their clients.
    pub(crate) exports: Vec<(String, Vec<String>)>,
    /// DUMP: hosts and paths.
    pub(crate) mounts: Vec<(String, String)>,
}

/// An entry of a listing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) fileid: u64,
    pub(crate) name: String,
    pub(crate) cookie: u64,
    pub(crate) object: PostOpAttr,
    pub(crate) handle: Option<FileHandleBuf>,
}

impl Op {
    /// Program, version and procedure.
    fn procedure(&self) -> (u32, u32, u32) {
        let mount = |procedure| (mount::PROGRAM, mount::VERSION_3, procedure as u32);
        let procedure = match self {
            Op::Mount { .. } => return mount(mount::Procedure::Mnt),
            Op::Unmount { .. } => return mount(mount::Procedure::Umnt),
            Op::Exports => return mount(mount::Procedure::Export),
            Op::Mounts => return mount(mount::Procedure::Dump),
            Op::Null => Procedure::Null,
            Op::Getattr { .. } => Procedure::Getattr,
            Op::Setattr { .. } => Procedure::Setattr,
            Op::Lookup { .. } => Procedure::Lookup,
            Op::Access { .. } => Procedure::Access,
            Op::Readlink { .. } => Procedure::Readlink,
            Op::Read { .. } => Procedure::Read,
            Op::Write { .. } => Procedure::Write,
            Op::Create { .. } => Procedure::Create,
            Op::Mkdir { .. } => Procedure::Mkdir,
            Op::Symlink { .. } => Procedure::Symlink,
            Op::Mknod { .. } => Procedure::Mknod,
            Op::Remove { .. } => Procedure::Remove,
            Op::Rmdir { .. } => Procedure::Rmdir,
            Op::Rename { .. } => Procedure::Rename,
            Op::Link { .. } => Procedure::Link,
            Op::Readdir { .. } => Procedure::Readdir,
            Op::Readdirplus { .. } => Procedure::Readdirplus,
            Op::Fsstat { .. } => Procedure::Fsstat,
            Op::Fsinfo { .. } => Procedure::Fsinfo,
            Op::Pathconf { .. } => Procedure::Pathconf,
            Op::Commit { .. } => Procedure::Commit,
        };
        (PROGRAM, VERSION, procedure as u32)
    }

    /// The directory that it names, the first of two.
    pub(crate) fn dir(&self) -> Option<&FileHandleBuf> {
        match self {
            Op::Lookup { dir, .. } | Op::Create { dir, .. } | Op::Mkdir { dir, .. } | Op::Symlink { dir, .. } => {
                Some(dir)
            }
            Op::Mknod { dir, .. } | Op::Remove { dir, .. } | Op::Rmdir { dir, .. } | Op::Link { dir, .. } => Some(dir),
            Op::Readdir { dir, .. } | Op::Readdirplus { dir, .. } | Op::Rename { from: dir, .. } => Some(dir),
            Op::Mount { root, .. } => Some(root),
            _ => None,
        }
    }

    /// The second directory of a RENAME.
    pub(crate) fn to_dir(&self) -> Option<&FileHandleBuf> {
        if let Op::Rename { to, .. } = self { Some(to) } else { None }
    }

    /// The object that it names and that is not taken for a directory.
    pub(crate) fn object(&self) -> Option<&FileHandleBuf> {
        match self {
            Op::Getattr { object } | Op::Setattr { object, .. } | Op::Access { object, .. } => Some(object),
            Op::Readlink { object } | Op::Fsstat { object } | Op::Fsinfo { object } => Some(object),
            Op::Pathconf { object } | Op::Read { file: object, .. } | Op::Write { file: object, .. } => Some(object),
            Op::Commit { file: object } | Op::Link { file: object, .. } => Some(object),
            _ => None,
        }
    }

    /// The names that it looks at, with their directories.
    pub(crate) fn names(&self) -> Vec<(&FileHandleBuf, &Text)> {
        match self {
            Op::Lookup { dir, name } | Op::Remove { dir, name } | Op::Rmdir { dir, name } => vec![(dir, name)],
            Op::Create { dir, name, .. } | Op::Mkdir { dir, name, .. } | Op::Symlink { dir, name, .. } => {
                vec![(dir, name)]
            }
            Op::Mknod { dir, name, .. } | Op::Link { dir, name, .. } => vec![(dir, name)],
            Op::Rename { from, from_name, to, to_name } => vec![(from, from_name), (to, to_name)],
            Op::Mount { root, name: Some(name) } => vec![(root, name)],
            _ => Vec::new(),
        }
    }

    /// Whether its results tell of directories before and after.
    pub(crate) fn has_wcc(&self) -> bool {
        let looks = matches!(self, Op::Lookup { .. } | Op::Readdir { .. } | Op::Readdirplus { .. } | Op::Mount { .. });
        self.dir().is_some() && !looks
    }

    /// Whether a repetition must not take effect again: the server keeps its answer.
    pub(crate) fn is_once(&self) -> bool {
        matches!(self, Op::Setattr { .. }) || self.has_wcc()
    }

    /// Whether the answer is kept across a crash too: all but that to a SETATTR of the length alone.
    pub(crate) fn is_stored(&self) -> bool {
        match self {
            Op::Setattr { sattr, .. } => Sattr3 { size: None, ..*sattr } != Sattr3::default(),
            _ => self.is_once(),
        }
    }

    /// Whether it changes nothing.
    pub(crate) fn is_read(&self) -> bool {
        !self.is_once() && !matches!(self, Op::Write { .. } | Op::Commit { .. })
    }

    /// The call as a record of one fragment.
    pub(crate) fn record(&self, xid: u32, user: User) -> Vec<u8> {
        let mut scratch = Vec::new();
        let sys = AuthSys {
            stamp: 0,
            machinename: Opaque::new(b"sim").expect("a short name"),
            uid: user.uid,
            gid: user.gid,
            gids: Array::new(&[]).expect("no groups"),
        };
        let cred = OpaqueAuth::sys(&mut scratch, &sys).expect("it fits");
        let (program, version, procedure) = self.procedure();
        let verf = OpaqueAuth::NONE;
        let header = CallHeader { xid, program, version, procedure, cred, verf };
        let mut bytes = Vec::new();
        let mut w = Writer::new(&mut bytes);
        let mark = wire::record::begin(&mut w);
        w.encode(&header);
        self.arguments(&mut w);
        wire::record::finish(&mut w, mark, 0);
        bytes
    }

    fn arguments(&self, w: &mut Writer<'_>) {
        match self {
            Op::Null => {}
            Op::Getattr { object } | Op::Readlink { object } => w.encode(object),
            Op::Fsstat { object } | Op::Fsinfo { object } | Op::Pathconf { object } => w.encode(object),
            Op::Setattr { object, sattr, guard } => {
                w.encode(&SetattrArgs { object: object.handle(), new_attributes: *sattr, guard: *guard });
            }
            Op::Lookup { dir, name } | Op::Remove { dir, name } | Op::Rmdir { dir, name } => w.encode(&at(dir, name)),
            Op::Access { object, mask } => w.encode(&AccessArgs { object: object.handle(), access: *mask }),
            Op::Read { file, offset, count } => {
                w.encode(&ReadArgs { file: file.handle(), offset: *offset, count: *count });
            }
            Op::Write { file, offset, data, stable } => w.encode(&WriteArgs {
                file: file.handle(),
                offset: *offset,
                count: data.len() as u32,
                stable: *stable,
                data: Opaque::new(data).expect("a short write"),
            }),
            Op::Create { dir, name, how } => w.encode(&CreateArgs { location: at(dir, name), how: *how }),
            Op::Mkdir { dir, name, sattr } => w.encode(&MkdirArgs { location: at(dir, name), attributes: *sattr }),
            Op::Symlink { dir, name, target } => {
                let symlink_data = Nfspath::new(target.as_bytes()).expect("a short target");
                let symlink = Symlinkdata3 { symlink_attributes: Sattr3::default(), symlink_data };
                w.encode(&SymlinkArgs { location: at(dir, name), symlink });
            }
            Op::Mknod { dir, name, what } => w.encode(&MknodArgs { location: at(dir, name), what: *what }),
            Op::Rename { from, from_name, to, to_name } => {
                w.encode(&RenameArgs { from: at(from, from_name), to: at(to, to_name) });
            }
            Op::Link { file, dir, name } => w.encode(&LinkArgs { file: file.handle(), link: at(dir, name) }),
            Op::Readdir { dir, cookie, count } => w.encode(&ReaddirArgs {
                dir: dir.handle(),
                cookie: *cookie,
                cookieverf: Cookieverf3::default(),
                count: *count,
            }),
            Op::Readdirplus { dir, cookie, count } => w.encode(&ReaddirplusArgs {
                dir: dir.handle(),
                cookie: *cookie,
                cookieverf: Cookieverf3::default(),
                dircount: *count,
                maxcount: *count,
            }),
            Op::Commit { file } => w.encode(&CommitArgs { file: file.handle(), offset: 0, count: 0 }),
            Op::Mount { name, .. } | Op::Unmount { name } => {
                let path = name.as_ref().map_or_else(|| SHARE.to_owned(), |name| format!("{SHARE}/{name}"));
                w.encode(&mount::Dirpath::new(path.as_bytes()).expect("a short path"));
            }
            Op::Exports | Op::Mounts => {}
        }
    }

    /// The results in the body of a reply's record. `Err` says what is wrong with it.
    pub(crate) fn reply(&self, body: &[u8]) -> Result<Reply, String> {
        let mut r = Reader::new(body);
        let header: ReplyHeader<'_> = r.decode().map_err(|_| "a reply without a header".to_string())?;
        if !header.is_success() {
            return Err(format!("RPC says {header:?}"));
        }
        let reply = self.results(&mut r).map_err(|why| format!("results cannot be decoded: {why:?}"))?;
        match r.remaining() {
            0 => Ok(reply),
            left => Err(format!("{left} bytes after the results")),
        }
    }

    fn results(&self, r: &mut Reader<'_>) -> wire::xdr::Result<Reply> {
        let mut to = Reply::default();
        match self {
            Op::Null | Op::Unmount { .. } => {}
            Op::Mount { .. } | Op::Exports | Op::Mounts => self.results_of_mount(r, &mut to)?,
            Op::Getattr { .. } => take(r, &mut to, |to, ok: GetattrResOk| to.object = Some(ok.obj_attributes), none)?,
            Op::Setattr { .. } => take(
                r,
                &mut to,
                |to, ok: SetattrResOk| to.put_object(ok.obj_wcc),
                |to, fail: SetattrResFail| to.put_object(fail.obj_wcc),
            )?,
            Op::Lookup { .. } => take(
                r,
                &mut to,
                |to, ok: LookupResOk<'_>| {
                    (to.handle, to.object) = (Some(ok.object.into()), ok.obj_attributes);
                    to.dir.after = ok.dir_attributes;
                },
                |to, fail: LookupResFail| to.dir.after = fail.dir_attributes,
            )?,
            Op::Access { .. } => take(
                r,
                &mut to,
                |to, ok: AccessResOk| (to.object, to.access) = (ok.obj_attributes, ok.access),
                |to, fail: AccessResFail| to.object = fail.obj_attributes,
            )?,
            Op::Readlink { .. } => take(
                r,
                &mut to,
                |to, ok: ReadlinkResOk<'_>| (to.object, to.data) = (ok.symlink_attributes, ok.data.bytes().to_vec()),
                |to, fail: ReadlinkResFail| to.object = fail.symlink_attributes,
            )?,
            Op::Read { .. } => take(
                r,
                &mut to,
                |to, ok: ReadResOk<'_>| {
                    (to.object, to.eof, to.count) = (ok.file_attributes, ok.eof, ok.count);
                    to.data = ok.data.bytes().to_vec();
                },
                |to, fail: ReadResFail| to.object = fail.file_attributes,
            )?,
            Op::Write { .. } => take(
                r,
                &mut to,
                |to, ok: WriteResOk| {
                    to.put_object(ok.file_wcc);
                    (to.count, to.committed, to.verifier) = (ok.count, Some(ok.committed), Some(ok.verf.0));
                },
                |to, fail: WriteResFail| to.put_object(fail.file_wcc),
            )?,
            Op::Commit { .. } => take(
                r,
                &mut to,
                |to, ok: CommitResOk| {
                    to.put_object(ok.file_wcc);
                    to.verifier = Some(ok.verf.0);
                },
                |to, fail: CommitResFail| to.put_object(fail.file_wcc),
            )?,
            _ => self.results_of_names(r, &mut to)?,
        }
        Ok(to)
    }

    fn results_of_mount(&self, r: &mut Reader<'_>, to: &mut Reply) -> wire::xdr::Result<()> {
        match self {
            // The numbers of MOUNT's errors are those of NFS.
            Op::Mount { .. } => match r.decode::<mount::Mountres3<'_>>()? {
                MountResult::Ok(ok) => to.handle = Some(FileHandle::new(ok.fhandle.bytes())?.into()),
                MountResult::Fail(status) => to.error = Some(Nfsstat3::try_from(status as u32)?),
            },
            Op::Exports => {
                let node = |node: mount::Exportnode<'_>| {
                    (text(node.ex_dir.bytes()), node.ex_groups.iter().map(|name| text(name.bytes())).collect())
                };
                to.exports = r.decode::<mount::Exports<'_>>()?.iter().map(node).collect();
            }
            _ => {
                let body =
                    |body: mount::Mountbody<'_>| (text(body.ml_hostname.bytes()), text(body.ml_directory.bytes()));
                to.mounts = r.decode::<mount::Mountlist<'_>>()?.iter().map(body).collect();
            }
        }
        Ok(())
    }

    /// Procedures that change or list directories, and those that tell of the filesystem.
    fn results_of_names(&self, r: &mut Reader<'_>, to: &mut Reply) -> wire::xdr::Result<()> {
        let failed = |to: &mut Reply, fail: CreateResFail| to.dir = fail.dir_wcc;
        match self {
            // The four have the same results.
            Op::Create { .. } | Op::Mkdir { .. } | Op::Symlink { .. } | Op::Mknod { .. } => {
                let made = |to: &mut Reply, ok: CreateResOk<'_>| {
                    (to.handle, to.object) = (ok.obj.map(FileHandleBuf::from), ok.obj_attributes);
                    to.dir = ok.dir_wcc;
                };
                take(r, to, made, failed)
            }
            Op::Remove { .. } | Op::Rmdir { .. } => take(r, to, |to, ok: RemoveResOk| to.dir = ok.dir_wcc, failed),
            Op::Rename { .. } => take(
                r,
                to,
                |to, ok: RenameResOk| (to.dir, to.to_dir) = (ok.fromdir_wcc, ok.todir_wcc),
                |to, fail: RenameResFail| (to.dir, to.to_dir) = (fail.fromdir_wcc, fail.todir_wcc),
            ),
            Op::Link { .. } => take(
                r,
                to,
                |to, ok: LinkResOk| (to.object, to.dir) = (ok.file_attributes, ok.linkdir_wcc),
                |to, fail: LinkResFail| (to.object, to.dir) = (fail.file_attributes, fail.linkdir_wcc),
            ),
            Op::Readdir { .. } => take(
                r,
                to,
                |to, ok: ReaddirResOk<'_>| {
                    (to.dir.after, to.eof) = (ok.dir_attributes, ok.reply.eof);
                    to.entries = ok.reply.entries.iter().map(|entry| plain(&entry)).collect();
                },
                |to, fail: ReaddirResFail| to.dir.after = fail.dir_attributes,
            ),
            Op::Readdirplus { .. } => take(
                r,
                to,
                |to, ok: ReaddirplusResOk<'_>| {
                    (to.dir.after, to.eof) = (ok.dir_attributes, ok.reply.eof);
                    to.entries = ok.reply.entries.iter().map(|entry| detailed(&entry)).collect();
                },
                |to, fail: ReaddirplusResFail| to.dir.after = fail.dir_attributes,
            ),
            Op::Fsstat { .. } => take(
                r,
                to,
                |to, ok: FsstatResOk| (to.object, to.space) = (ok.obj_attributes, [ok.tbytes, ok.fbytes, ok.abytes]),
                |to, fail: FsstatResFail| to.object = fail.obj_attributes,
            ),
            Op::Fsinfo { .. } => take(
                r,
                to,
                |to, ok: FsinfoResOk| to.object = ok.obj_attributes,
                |to, fail: FsinfoResFail| to.object = fail.obj_attributes,
            ),
            _ => take(
                r,
                to,
                |to, ok: PathconfResOk| to.object = ok.obj_attributes,
                |to, fail: PathconfResFail| to.object = fail.obj_attributes,
            ),
        }
    }
}

impl Reply {
    fn put_object(&mut self, wcc: WccData) {
        (self.object_before, self.object) = (wcc.before, wcc.after);
    }
}

fn take<'a, Ok: Decode<'a>, Fail: Decode<'a>>(
    r: &mut Reader<'a>,
    to: &mut Reply,
    well: impl FnOnce(&mut Reply, Ok),
    failed: impl FnOnce(&mut Reply, Fail),
) -> wire::xdr::Result<()> {
    match r.decode::<Res<Ok, Fail>>()? {
        Res::Ok(ok) => well(to, ok),
        Res::Fail(status, fail) => {
            to.error = Some(status);
            failed(to, fail);
        }
    }
    Ok(())
}

fn none(_: &mut Reply, (): ()) {}

fn plain(entry: &Entry3<'_>) -> Entry {
    Entry { fileid: entry.fileid, name: text(&entry.name), cookie: entry.cookie, object: None, handle: None }
}

fn detailed(entry: &Entryplus3<'_>) -> Entry {
    Entry {
        fileid: entry.fileid,
        name: text(&entry.name),
        cookie: entry.cookie,
        object: entry.name_attributes,
        handle: entry.name_handle.map(FileHandleBuf::from),
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn at<'a>(dir: &'a FileHandleBuf, name: &'a str) -> Diropargs3<'a> {
    Diropargs3 { dir: dir.handle(), name: Filename::new(name.as_bytes()).expect("it fits the wire") }
}

/// A mark and the body that it announces, once all of it is there: the body and what follows.
pub(crate) fn split_record(received: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mark, rest) = received.split_first_chunk::<4>()?;
    let mark = u32::from_be_bytes(*mark);
    assert!(mark >> 31 == 1, "replies have one fragment");
    let bytes = (mark & !(1 << 31)) as usize;
    (rest.len() >= bytes).then(|| rest.split_at(bytes))
}

/// The transaction that a reply belongs to.
pub(crate) fn xid_of(body: &[u8]) -> Option<u32> {
    body.first_chunk::<4>().map(|xid| u32::from_be_bytes(*xid))
}
