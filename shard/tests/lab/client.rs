//! A client of one connection that waits for each reply.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;
use wire::mount::Mountres3;
use wire::nfs3::*;
use wire::rpc::{AuthSys, CallHeader, OpaqueAuth, ReplyHeader};
use wire::xdr::{Array, Encode, Opaque, Reader, encode_vec};

/// How an operation ended.
pub(crate) type Outcome<T> = Result<T, Nfsstat3>;

/// A connection to a server, and the user on its other end.
pub(crate) struct Client {
    stream: TcpStream,
    pub(crate) xid: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Client {
    /// Connects as the superuser.
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
        stream.set_nodelay(true).expect("a socket option");
        Client { stream, xid: 1, uid: 0, gid: 0 }
    }

    /// The same connection once more, to send on while this one receives.
    pub(crate) fn twin(&self) -> Client {
        Client { stream: self.stream.try_clone().expect("a descriptor is left"), ..*self }
    }

    pub(crate) fn becomes(&mut self, uid: u32, gid: u32) {
        (self.uid, self.gid) = (uid, gid);
    }

    /// A call, with its record mark.
    pub(crate) fn call(&self, xid: u32, program: u32, version: u32, procedure: u32, args: &impl Encode) -> Vec<u8> {
        let mut scratch = Vec::new();
        let machinename = Opaque::new(b"lab").expect("it is short");
        let sys = AuthSys { stamp: 0, machinename, uid: self.uid, gid: self.gid, gids: Array::default() };
        let cred = OpaqueAuth::sys(&mut scratch, &sys).expect("it is short");
        let header = CallHeader { xid, program, version, procedure, cred, verf: OpaqueAuth::NONE };
        marked(&[encode_vec(&header), encode_vec(args)].concat())
    }

    pub(crate) fn nfs_call(&self, xid: u32, procedure: Procedure, args: &impl Encode) -> Vec<u8> {
        self.call(xid, PROGRAM, VERSION, procedure as u32, args)
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes it");
    }

    /// Ends the sending direction.
    pub(crate) fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("the server is there");
    }

    /// The next record.
    pub(crate) fn receive(&mut self) -> Vec<u8> {
        self.try_receive().expect("the server answers")
    }

    /// The next record; `None` when the server has closed.
    pub(crate) fn try_receive(&mut self) -> Option<Vec<u8>> {
        let mut mark = [0; 4];
        self.stream.read_exact(&mut mark).ok()?;
        let mark = u32::from_be_bytes(mark);
        assert!(mark >> 31 == 1, "replies have one fragment");
        let mut record = vec![0; (mark & !(1 << 31)) as usize];
        self.stream.read_exact(&mut record).ok()?;
        Some(record)
    }

    /// As many bytes as there is room for, whatever they are.
    pub(crate) fn receive_exact(&mut self, bytes: &mut [u8]) {
        self.stream.read_exact(bytes).expect("the server answers");
    }

    /// Calls a procedure and gives back the bytes of its results.
    pub(crate) fn results(&mut self, program: u32, version: u32, procedure: u32, args: &impl Encode) -> Vec<u8> {
        self.xid += 1;
        let call = self.call(self.xid, program, version, procedure, args);
        self.send(&call);
        let record = self.receive();
        results_of(&record, self.xid)
    }

    fn nfs(&mut self, procedure: Procedure, args: &impl Encode) -> Vec<u8> {
        self.results(PROGRAM, VERSION, procedure as u32, args)
    }

    /// The root of a share.
    pub(crate) fn mount(&mut self, path: &str) -> FileHandleBuf {
        let path = wire::mount::Dirpath::new(path.as_bytes()).expect("it fits the wire");
        let bytes = self.results(wire::mount::PROGRAM, 3, wire::mount::Procedure::Mnt as u32, &path);
        match decoded::<Mountres3<'_>>(&bytes) {
            Mountres3::Ok(res) => FileHandle::new(res.fhandle.bytes()).expect("it fits the wire").into(),
            Mountres3::Fail(status) => panic!("{status:?}"),
        }
    }

    pub(crate) fn getattr(&mut self, object: &FileHandleBuf) -> Outcome<Fattr3> {
        let bytes = self.nfs(Procedure::Getattr, &GetattrArgs { object: object.handle() });
        outcome(decoded::<GetattrRes>(&bytes)).map(|res| res.obj_attributes)
    }

    pub(crate) fn setattr(&mut self, object: &FileHandleBuf, new_attributes: Sattr3) -> Outcome<SetattrResOk> {
        let args = SetattrArgs { object: object.handle(), new_attributes, guard: None };
        let bytes = self.nfs(Procedure::Setattr, &args);
        outcome(decoded::<SetattrRes>(&bytes))
    }

    pub(crate) fn lookup(&mut self, dir: &FileHandleBuf, name: &str) -> Outcome<FileHandleBuf> {
        let bytes = self.nfs(Procedure::Lookup, &LookupArgs { what: location(dir, name) });
        outcome(decoded::<LookupRes<'_>>(&bytes)).map(|res| res.object.into())
    }

    pub(crate) fn access(&mut self, object: &FileHandleBuf, access: u32) -> Outcome<u32> {
        let bytes = self.nfs(Procedure::Access, &AccessArgs { object: object.handle(), access });
        outcome(decoded::<AccessRes>(&bytes)).map(|res| res.access)
    }

    pub(crate) fn readlink(&mut self, symlink: &FileHandleBuf) -> Outcome<Vec<u8>> {
        let bytes = self.nfs(Procedure::Readlink, &ReadlinkArgs { symlink: symlink.handle() });
        outcome(decoded::<ReadlinkRes<'_>>(&bytes)).map(|res| res.data.to_vec())
    }

    /// The bytes, and whether they reach the end.
    pub(crate) fn read(&mut self, file: &FileHandleBuf, offset: u64, count: u32) -> Outcome<(Vec<u8>, bool)> {
        let bytes = self.nfs(Procedure::Read, &ReadArgs { file: file.handle(), offset, count });
        outcome(decoded::<ReadRes<'_>>(&bytes)).map(|res| {
            assert_eq!(res.count as usize, res.data.len());
            (res.data.to_vec(), res.eof)
        })
    }

    pub(crate) fn write(
        &mut self,
        file: &FileHandleBuf,
        offset: u64,
        data: &[u8],
        stable: StableHow,
    ) -> Outcome<WriteResOk> {
        let args = write_args(file, offset, data, stable);
        let bytes = self.nfs(Procedure::Write, &args);
        outcome(decoded::<WriteRes>(&bytes))
    }

    pub(crate) fn commit(&mut self, file: &FileHandleBuf) -> Outcome<CommitResOk> {
        let bytes = self.nfs(Procedure::Commit, &CommitArgs { file: file.handle(), offset: 0, count: 0 });
        outcome(decoded::<CommitRes>(&bytes))
    }

    pub(crate) fn create(&mut self, dir: &FileHandleBuf, name: &str, how: Createhow3) -> Outcome<FileHandleBuf> {
        let bytes = self.nfs(Procedure::Create, &CreateArgs { location: location(dir, name), how });
        outcome(decoded::<CreateRes<'_>>(&bytes)).map(|res| {
            assert!(res.obj_attributes.is_some());
            res.obj.expect("a handle comes with it").into()
        })
    }

    /// A new file.
    pub(crate) fn file(&mut self, dir: &FileHandleBuf, name: &str) -> FileHandleBuf {
        let sattr = Sattr3 { mode: Some(0o644), ..Sattr3::default() };
        self.create(dir, name, Createhow3::Guarded(sattr)).expect("the file is made")
    }

    pub(crate) fn mkdir(&mut self, dir: &FileHandleBuf, name: &str) -> Outcome<FileHandleBuf> {
        let attributes = Sattr3 { mode: Some(0o755), ..Sattr3::default() };
        let bytes = self.nfs(Procedure::Mkdir, &MkdirArgs { location: location(dir, name), attributes });
        outcome(decoded::<MkdirRes<'_>>(&bytes)).map(|res| res.obj.expect("a handle comes with it").into())
    }

    pub(crate) fn symlink(&mut self, dir: &FileHandleBuf, name: &str, text: &[u8]) -> Outcome<FileHandleBuf> {
        let symlink = Symlinkdata3 {
            symlink_attributes: Sattr3::default(),
            symlink_data: Nfspath::new(text).expect("it fits the wire"),
        };
        let bytes = self.nfs(Procedure::Symlink, &SymlinkArgs { location: location(dir, name), symlink });
        outcome(decoded::<SymlinkRes<'_>>(&bytes)).map(|res| res.obj.expect("a handle comes with it").into())
    }

    pub(crate) fn mknod(&mut self, dir: &FileHandleBuf, name: &str, what: Mknoddata3) -> Outcome<FileHandleBuf> {
        let bytes = self.nfs(Procedure::Mknod, &MknodArgs { location: location(dir, name), what });
        outcome(decoded::<MknodRes<'_>>(&bytes)).map(|res| res.obj.expect("a handle comes with it").into())
    }

    pub(crate) fn remove(&mut self, dir: &FileHandleBuf, name: &str) -> Outcome<WccData> {
        let bytes = self.nfs(Procedure::Remove, &RemoveArgs { object: location(dir, name) });
        outcome(decoded::<RemoveRes>(&bytes)).map(|res| res.dir_wcc)
    }

    pub(crate) fn rmdir(&mut self, dir: &FileHandleBuf, name: &str) -> Outcome<WccData> {
        let bytes = self.nfs(Procedure::Rmdir, &RmdirArgs { object: location(dir, name) });
        outcome(decoded::<RmdirRes>(&bytes)).map(|res| res.dir_wcc)
    }

    pub(crate) fn rename(&mut self, from: (&FileHandleBuf, &str), to: (&FileHandleBuf, &str)) -> Outcome<RenameResOk> {
        let args = RenameArgs { from: location(from.0, from.1), to: location(to.0, to.1) };
        let bytes = self.nfs(Procedure::Rename, &args);
        outcome(decoded::<RenameRes>(&bytes))
    }

    pub(crate) fn link(&mut self, file: &FileHandleBuf, dir: &FileHandleBuf, name: &str) -> Outcome<LinkResOk> {
        let bytes = self.nfs(Procedure::Link, &LinkArgs { file: file.handle(), link: location(dir, name) });
        outcome(decoded::<LinkRes>(&bytes))
    }

    /// One page: names with their cookies, and whether it is the last.
    pub(crate) fn readdir(
        &mut self,
        dir: &FileHandleBuf,
        cookie: u64,
        count: u32,
    ) -> Outcome<(Vec<(String, u64)>, bool)> {
        let args = ReaddirArgs { dir: dir.handle(), cookie, cookieverf: Cookieverf3::default(), count };
        let bytes = self.nfs(Procedure::Readdir, &args);
        outcome(decoded::<ReaddirRes<'_>>(&bytes)).map(|res| {
            let entries = res.reply.entries.iter().map(|entry| (text(&entry.name), entry.cookie));
            (entries.collect(), res.reply.eof)
        })
    }

    /// All names, read in pages of `maxcount` bytes, each with its attributes and handle.
    pub(crate) fn readdirplus(&mut self, dir: &FileHandleBuf, maxcount: u32) -> Vec<(String, Fattr3, FileHandleBuf)> {
        let (mut all, mut cookie) = (Vec::new(), 0);
        loop {
            let cookieverf = Cookieverf3::default();
            let args = ReaddirplusArgs { dir: dir.handle(), cookie, cookieverf, dircount: maxcount, maxcount };
            let bytes = self.nfs(Procedure::Readdirplus, &args);
            let res = outcome(decoded::<ReaddirplusRes<'_>>(&bytes)).expect("the directory is listed");
            for entry in res.reply.entries.iter() {
                cookie = entry.cookie;
                let attributes = entry.name_attributes.expect("root may look everything up");
                all.push((text(&entry.name), attributes, entry.name_handle.expect("the same").into()));
            }
            if res.reply.eof {
                return all;
            }
        }
    }

    pub(crate) fn fsstat(&mut self, fsroot: &FileHandleBuf) -> Outcome<FsstatResOk> {
        let bytes = self.nfs(Procedure::Fsstat, &FsstatArgs { fsroot: fsroot.handle() });
        outcome(decoded::<FsstatRes>(&bytes))
    }

    pub(crate) fn fsinfo(&mut self, fsroot: &FileHandleBuf) -> Outcome<FsinfoResOk> {
        let bytes = self.nfs(Procedure::Fsinfo, &FsinfoArgs { fsroot: fsroot.handle() });
        outcome(decoded::<FsinfoRes>(&bytes))
    }

    pub(crate) fn pathconf(&mut self, object: &FileHandleBuf) -> Outcome<PathconfResOk> {
        let bytes = self.nfs(Procedure::Pathconf, &PathconfArgs { object: object.handle() });
        outcome(decoded::<PathconfRes>(&bytes))
    }
}

/// A record of one fragment.
pub(crate) fn marked(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 | (1 << 31)).to_be_bytes(), body].concat()
}

/// The results in a reply that must be a success.
pub(crate) fn results_of(record: &[u8], xid: u32) -> Vec<u8> {
    let mut r = Reader::new(record);
    let header: ReplyHeader<'_> = r.decode().expect("a reply");
    assert_eq!(header.xid, xid);
    assert!(header.is_success(), "{header:?}");
    r.rest().to_vec()
}

pub(crate) fn location<'a>(dir: &'a FileHandleBuf, name: &'a str) -> Diropargs3<'a> {
    Diropargs3 { dir: dir.handle(), name: Filename::new(name.as_bytes()).expect("it fits the wire") }
}

pub(crate) fn write_args<'a>(file: &'a FileHandleBuf, offset: u64, data: &'a [u8], stable: StableHow) -> WriteArgs<'a> {
    WriteArgs {
        file: file.handle(),
        offset,
        count: data.len() as u32,
        stable,
        data: Data::new(data).expect("it fits the wire"),
    }
}

/// Results decode to their last byte.
pub(crate) fn decoded<'a, T: wire::Decode<'a>>(bytes: &'a [u8]) -> T {
    wire::xdr::decode_all(bytes).expect("the results are well-formed")
}

fn outcome<T, F>(res: Res<T, F>) -> Outcome<T> {
    match res {
        Res::Ok(ok) => Ok(ok),
        Res::Fail(status, _) => Err(status),
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8(name.to_vec()).expect("the tests use plain names")
}
