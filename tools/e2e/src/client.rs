//! An NFSv3 client of our own on one TCP connection: it sends exactly what a case wants, again if need be with the
//! same transaction number, and hands back every byte of the answer. Blocking; one call at a time.

use crate::failure::{Failure, While, ensure, fail};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};
use wire::nfs3::{FileHandleBuf, Nfsstat3, Procedure, StableHow, Writeverf3};
use wire::rpc::{AuthSys, CallHeader, OpaqueAuth, ReplyHeader};
use wire::xdr::{Array, Opaque};
use wire::{Decode, Encode, Reader, Writer, mount, nfs3, record};

pub(crate) struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
    next_xid: u32,
    identity: Identity,
}

/// Whom AUTH_SYS names; the superuser unless said otherwise.
#[derive(Clone, Default)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) gids: Vec<u32>,
}

/// A call as it goes out, record mark included. Sent again it is a retransmission.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) bytes: Vec<u8>,
    xid: u32,
}

/// An answer: the RPC header, and after it the results.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reply {
    frame: Vec<u8>,
    results_at: usize,
}

impl Client {
    /// `xid` is the first transaction number; two clients of a case take ones far apart.
    pub(crate) fn new(address: SocketAddr, xid: u32) -> Client {
        Client { address, stream: None, next_xid: xid, identity: Identity::default() }
    }

    /// Calls from here on are this user's.
    pub(crate) fn become_user(&mut self, identity: Identity) {
        self.identity = identity;
    }

    /// An NFSv3 call that must be accepted; tried once.
    pub(crate) fn nfs(&mut self, procedure: Procedure, args: &impl Encode) -> Result<Reply, Failure> {
        let call = self.prepare(procedure, args);
        self.exchange(&call).during(procedure.name())?.accepted()
    }

    pub(crate) fn prepare(&mut self, procedure: Procedure, args: &impl Encode) -> Call {
        self.prepare_any(nfs3::PROGRAM, nfs3::VERSION, procedure as u32, args)
    }

    /// A call of any program with AUTH_SYS and a fresh transaction number.
    pub(crate) fn prepare_any(&mut self, program: u32, version: u32, procedure: u32, args: &impl Encode) -> Call {
        let sys = AuthSys {
            stamp: 0,
            machinename: Opaque::new(b"e2e").expect("three bytes"),
            uid: self.identity.uid,
            gid: self.identity.gid,
            gids: Array::new(&self.identity.gids).expect("cases name at most sixteen groups"),
        };
        let mut scratch = Vec::new();
        let cred = OpaqueAuth::sys(&mut scratch, &sys).expect("sixteen groups fit a credential");
        let xid = self.next_xid;
        self.next_xid = xid.wrapping_add(1);
        let header = CallHeader { xid, program, version, procedure, cred, verf: OpaqueAuth::NONE };
        Call::new(&header, args)
    }

    /// An NFSv3 call whose status must be NFS3_OK.
    pub(crate) fn done(&mut self, procedure: Procedure, args: &impl Encode) -> Result<Reply, Failure> {
        let reply = self.nfs(procedure, args)?;
        let status = reply.status()?;
        ensure!(status == nfs3::NFS3_OK, "{}: {}", procedure.name(), status_name(status));
        Ok(reply)
    }

    /// A guarded CREATE; the file's handle.
    pub(crate) fn create(&mut self, dir: FileHandleBuf, name: &str, mode: u32) -> Result<FileHandleBuf, Failure> {
        let location = nfs3::Diropargs3 { dir: dir.handle(), name: file_name(name) };
        let attributes = nfs3::Sattr3 { mode: Some(mode), ..nfs3::Sattr3::default() };
        let how = nfs3::Createhow3::Guarded(attributes);
        let reply = self.done(Procedure::Create, &nfs3::CreateArgs { location, how })?;
        match reply.results::<nfs3::CreateRes<'_>>()? {
            nfs3::Res::Ok(nfs3::CreateResOk { obj: Some(handle), .. }) => Ok(handle.into()),
            _ => fail!("CREATE {name} gave no handle"),
        }
    }

    pub(crate) fn lookup(&mut self, dir: FileHandleBuf, name: &str) -> Result<FileHandleBuf, Failure> {
        let what = nfs3::Diropargs3 { dir: dir.handle(), name: file_name(name) };
        let reply = self.done(Procedure::Lookup, &nfs3::LookupArgs { what })?;
        match reply.results::<nfs3::LookupRes<'_>>()? {
            nfs3::Res::Ok(ok) => Ok(ok.object.into()),
            nfs3::Res::Fail(status, _) => fail!("LOOKUP {name}: {}", status.name()),
        }
    }

    pub(crate) fn getattr(&mut self, object: FileHandleBuf) -> Result<nfs3::Fattr3, Failure> {
        let reply = self.done(Procedure::Getattr, &nfs3::GetattrArgs { object: object.handle() })?;
        match reply.results::<nfs3::GetattrRes>()? {
            nfs3::Res::Ok(ok) => Ok(ok.obj_attributes),
            nfs3::Res::Fail(status, ()) => fail!("GETATTR: {}", status.name()),
        }
    }

    pub(crate) fn remove(&mut self, dir: FileHandleBuf, name: &str) -> Result<(), Failure> {
        let object = nfs3::Diropargs3 { dir: dir.handle(), name: file_name(name) };
        self.done(Procedure::Remove, &nfs3::RemoveArgs { object }).map(drop)
    }

    /// Writes all of `bytes`: what a WRITE leaves over goes into the next. The status of the last.
    pub(crate) fn write(
        &mut self,
        file: FileHandleBuf,
        offset: u64,
        bytes: &[u8],
        stable: StableHow,
    ) -> Result<Result<Writeverf3, u32>, Failure> {
        let (mut offset, mut bytes) = (offset, bytes);
        loop {
            let count = u32::try_from(bytes.len()).during("a WRITE's length")?;
            let data = nfs3::Data::new(bytes).during("a WRITE's data")?;
            let args = nfs3::WriteArgs { file: file.handle(), offset, count, stable, data };
            let reply = self.nfs(Procedure::Write, &args)?;
            let done = match reply.results::<nfs3::WriteRes>()? {
                nfs3::Res::Ok(ok) => ok,
                nfs3::Res::Fail(status, _) => return Ok(Err(status as u32)),
            };
            ensure!(done.committed >= stable, "WRITE: {stable:?} asked, {:?} done", done.committed);
            ensure!(done.count <= count && (done.count > 0 || count == 0), "WRITE: {} of {count} bytes", done.count);
            bytes = &bytes[done.count as usize..];
            offset += u64::from(done.count);
            if bytes.is_empty() {
                return Ok(Ok(done.verf));
            }
        }
    }

    /// A COMMIT of the whole file.
    pub(crate) fn commit(&mut self, file: FileHandleBuf) -> Result<Result<Writeverf3, u32>, Failure> {
        let reply = self.nfs(Procedure::Commit, &nfs3::CommitArgs { file: file.handle(), offset: 0, count: 0 })?;
        match reply.results::<nfs3::CommitRes>()? {
            nfs3::Res::Ok(ok) => Ok(Ok(ok.verf)),
            nfs3::Res::Fail(status, _) => Ok(Err(status as u32)),
        }
    }

    /// The file's bytes from `offset` on, as many as one READ gives.
    pub(crate) fn read(&mut self, file: FileHandleBuf, offset: u64, count: u32) -> Result<Vec<u8>, Failure> {
        let reply = self.done(Procedure::Read, &nfs3::ReadArgs { file: file.handle(), offset, count })?;
        match reply.results::<nfs3::ReadRes<'_>>()? {
            nfs3::Res::Ok(ok) => Ok(ok.data.to_vec()),
            nfs3::Res::Fail(status, _) => fail!("READ: {}", status.name()),
        }
    }

    /// Sends a call and reads its answer, on a fresh connection if there is none. An error loses the connection.
    pub(crate) fn exchange(&mut self, call: &Call) -> io::Result<Reply> {
        let reply = self.send(&call.bytes).and_then(|()| self.receive(call.xid));
        if reply.is_err() {
            self.stream = None;
        }
        reply
    }

    /// Retransmits over as many connections as it takes, for at most [`INSIST_LIMIT`]: a hard mount.
    pub(crate) fn insist(&mut self, call: &Call) -> Result<Reply, Failure> {
        let began = Instant::now();
        loop {
            match self.exchange(call) {
                Ok(reply) => return Ok(reply),
                Err(error) if began.elapsed() > INSIST_LIMIT => fail!("no answer for {INSIST_LIMIT:?}: {error}"),
                Err(_) => sleep(Duration::from_millis(10)),
            }
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.connection()?.write_all(bytes)
    }

    /// The next record, which must answer `xid`.
    pub(crate) fn receive(&mut self, xid: u32) -> io::Result<Reply> {
        let mut mark = [0; record::MARK_BYTES];
        let stream = self.connection()?;
        stream.read_exact(&mut mark)?;
        let mark = u32::from_be_bytes(mark);
        let bytes = (mark & !LAST_FRAGMENT) as usize;
        let sane = mark & LAST_FRAGMENT != 0 && bytes <= REPLY_BYTES_MAX;
        let sane = sane.then_some(()).ok_or_else(|| invalid(format!("record mark {mark:#x}")));
        sane?;
        let mut frame = vec![0; bytes];
        stream.read_exact(&mut frame)?;
        let mut reader = Reader::new(&frame);
        let header: ReplyHeader<'_> = reader.decode().map_err(|error| invalid(error.to_string()))?;
        if header.xid != xid {
            return Err(invalid(format!("answer to {:#x} instead of {xid:#x}", header.xid)));
        }
        let results_at = reader.position();
        Ok(Reply { frame, results_at })
    }

    /// Forgets the connection; the next call makes another.
    pub(crate) fn disconnect(&mut self) {
        self.stream = None;
    }

    /// Whether the server closes the connection within `limit` without sending anything more.
    pub(crate) fn is_closed_within(&mut self, limit: Duration) -> Result<bool, Failure> {
        let stream = self.connection()?;
        stream.set_read_timeout(Some(limit))?;
        let closed = match stream.read(&mut [0]) {
            Ok(0) => true,
            Ok(_) => fail!("the server sent something where it had nothing to answer"),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => false,
            Err(_) => true,
        };
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        if closed {
            self.stream = None;
        }
        Ok(closed)
    }

    /// Mounts: the handle of the share's root.
    pub(crate) fn root(&mut self, mountport: u16, share: &str) -> Result<FileHandleBuf, Failure> {
        let mut mounter = Client::new(SocketAddr::new(self.address.ip(), mountport), self.next_xid);
        let path = mount::Dirpath::new(share.as_bytes()).during("the share's name")?;
        let call = mounter.prepare_any(mount::PROGRAM, mount::VERSION_3, mount::Procedure::Mnt as u32, &path);
        let reply = mounter.exchange(&call).during("MNT")?.accepted()?;
        match reply.results::<mount::Mountres3<'_>>()? {
            mount::MountResult::Ok(ok) => {
                let handle = nfs3::FileHandle::new(&ok.fhandle).during("the root's handle")?;
                Ok(handle.into())
            }
            mount::MountResult::Fail(status) => fail!("MNT {share}: {}", status.name()),
        }
    }

    fn connection(&mut self) -> io::Result<&mut TcpStream> {
        if self.stream.is_none() {
            let stream = TcpStream::connect_timeout(&self.address, ANSWER_LIMIT)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(ANSWER_LIMIT))?;
            stream.set_write_timeout(Some(ANSWER_LIMIT))?;
            self.stream = Some(stream);
        }
        Ok(self.stream.as_mut().expect("connected above"))
    }
}

impl Call {
    pub(crate) fn new(header: &CallHeader<'_>, args: &impl Encode) -> Call {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        let mark = record::begin(&mut writer);
        writer.encode(header);
        writer.encode(args);
        record::finish(&mut writer, mark, 0);
        Call { bytes, xid: header.xid }
    }

    /// The same call with its last `count` bytes cut off.
    pub(crate) fn cut(&self, count: usize) -> Call {
        let body = &self.bytes[record::MARK_BYTES..self.bytes.len() - count];
        Call { bytes: [&(LAST_FRAGMENT | body.len() as u32).to_be_bytes(), body].concat(), xid: self.xid }
    }
}

impl Reply {
    /// Fails with what differs unless this is `other`, byte by byte.
    pub(crate) fn must_equal(&self, other: &Reply) -> Result<(), Failure> {
        let (mine, its) = (self.result_bytes(), other.result_bytes());
        let at = mine.iter().zip(its).position(|(one, another)| one != another);
        ensure!(
            self == other,
            "status {} instead of {}, {} result bytes instead of {}, first difference at {at:?}",
            self.status()?,
            other.status()?,
            mine.len(),
            its.len()
        );
        Ok(())
    }

    pub(crate) fn header(&self) -> Result<ReplyHeader<'_>, Failure> {
        Reader::new(&self.frame).decode().during("the answer's header")
    }

    /// Fails unless the call was accepted and executed.
    pub(crate) fn accepted(self) -> Result<Reply, Failure> {
        let header = self.header()?;
        ensure!(header.is_success(), "the call was refused: {:?}", header.body);
        Ok(self)
    }

    /// The results, which must fill the answer to its end.
    pub(crate) fn results<'a, T: Decode<'a>>(&'a self) -> Result<T, Failure> {
        wire::xdr::decode_all(self.result_bytes()).during("the answer's results")
    }

    pub(crate) fn result_bytes(&self) -> &[u8] {
        &self.frame[self.results_at..]
    }

    /// The first word of the results: the status of every procedure but NULL.
    pub(crate) fn status(&self) -> Result<u32, Failure> {
        Reader::new(self.result_bytes()).u32().during("the answer's status")
    }
}

pub(crate) fn status_name(status: u32) -> String {
    match Nfsstat3::try_from(status) {
        Ok(known) => known.name().to_string(),
        Err(_) => format!("status {status}"),
    }
}

fn file_name(name: &str) -> nfs3::Filename<'_> {
    nfs3::Filename::new(name.as_bytes()).expect("names of cases are short")
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

const LAST_FRAGMENT: u32 = 1 << 31;
/// More than the largest READ asked for here.
const REPLY_BYTES_MAX: usize = 4 << 20;
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
const INSIST_LIMIT: Duration = Duration::from_secs(60);
