//! The floor: a server that answers every NFSv3 call with the same reply from memory. It knows no files, checks
//! nothing and keeps nothing: what it costs is the kernel's network path, record marking and a call's header, and
//! no server can cost less on the same path. One blocking thread a connection, one send for all that one receive
//! brought. Clients must not verify what they read.

use crate::failure::{Failure, Outcome};
use crate::pattern;
use crate::pipe::{self, Inbox};
use std::io::IoSlice;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use wire::mount::{self, Fhandle3, MountResult, Mountres3, MountresOk};
use wire::nfs3::{
    self, AccessRes, AccessResOk, CommitRes, CommitResOk, Cookieverf3, CreateRes, CreateResOk, DirPlusWriter,
    Entryplus3, Fattr3, FileHandle, Filename, Ftype3, GetattrRes, GetattrResOk, LookupRes, LookupResOk, MkdirRes,
    MkdirResOk, Nfstime3, Procedure, ReadArgs, ReadResHead, ReadResOkHead, RemoveRes, RemoveResOk, RenameRes,
    RenameResOk, Specdata3, StableHow, WccAttr, WccData, WriteArgs, WriteRes, WriteResOk, Writeverf3,
};
use wire::record;
use wire::rpc::{CallHeader, ReplyHeader};
use wire::xdr::{Array, Encode, Reader, Writer};

/// Serves for ever.
pub(crate) fn serve(listener: &TcpListener) -> Outcome<()> {
    let canned = Arc::new(Canned::new()?);
    loop {
        let (stream, _) = listener.accept()?;
        let canned = canned.clone();
        // How a connection ends is its client's matter.
        thread::spawn(move || drop(converse(stream, &canned)));
    }
}

/// One connection, to its end.
fn converse(stream: TcpStream, canned: &Canned) -> Outcome<()> {
    stream.set_nodelay(true)?;
    let mut inbox = Inbox::new(stream.try_clone()?);
    let mut replies = Replies { stream, bytes: Vec::new(), data: Vec::new() };
    while inbox.receive()? {
        while let Some(place) = inbox.next_record()? {
            canned.answer(inbox.record(place), &mut replies)?;
        }
        replies.send(&canned.data)?;
    }
    Ok(())
}

/// Replies on their way out.
struct Replies {
    stream: TcpStream,
    bytes: Vec<u8>,
    /// Where in `bytes` data follows, and how much of it.
    data: Vec<(usize, usize)>,
}

impl Replies {
    fn send(&mut self, data: &[u8]) -> Outcome<()> {
        let mut pieces = Vec::with_capacity(2 * self.data.len() + 1);
        let mut sent = 0;
        for (at, count) in self.data.drain(..) {
            pieces.push(IoSlice::new(&self.bytes[sent..at]));
            pieces.push(IoSlice::new(&data[..count]));
            sent = at;
        }
        if sent < self.bytes.len() {
            pieces.push(IoSlice::new(&self.bytes[sent..]));
        }
        pipe::send_all(&mut self.stream, &mut pieces)?;
        self.bytes.clear();
        Ok(())
    }
}

/// The replies.
struct Canned {
    /// By procedure: record mark, header and results; the xid is filled in. Empty for what nobody asks here.
    nfs: Vec<Vec<u8>>,
    mounted: Vec<u8>,
    data: Vec<u8>,
}

/// Behind the record mark.
const XID_BYTES: usize = 4;
/// Entries of the one folder that there is.
const ENTRIES: u64 = 1000;
/// The most that one READ gives, in bytes.
const DATA_BYTES: usize = 1 << 20;
/// The size of the one file that there is: longer than anyone asks, in bytes.
const FILE_BYTES: u64 = 1 << 40;
/// Of the Linux client's READDIRPLUS, in bytes.
const PAGE_BYTES: u32 = 64 << 10;

impl Canned {
    fn new() -> Outcome<Self> {
        let handle = FileHandle::new(&HANDLE)?;
        let auth_flavors = Array::new(&[wire::rpc::AuthFlavor::SYS.0])?;
        let mounted: Mountres3<'_> = MountResult::Ok(MountresOk { fhandle: Fhandle3::new(&HANDLE)?, auth_flavors });
        let nfs = Procedure::ALL.into_iter().map(|procedure| results(procedure, handle));
        let nfs = nfs.collect::<Outcome<_>>()?;
        Ok(Self { nfs, mounted: reply(&mounted), data: pattern::buffer(DATA_BYTES) })
    }

    #[inline]
    fn answer(&self, call: &[u8], replies: &mut Replies) -> Outcome<()> {
        let mut r = Reader::new(call);
        let header = CallHeader::parse(&mut r).map_err(|_| Failure::said("no call"))?;
        let start = replies.bytes.len();
        match (header.program, header.procedure) {
            (mount::PROGRAM, _) => replies.bytes.extend_from_slice(&self.mounted),
            (nfs3::PROGRAM, READ) => {
                let args: ReadArgs<'_> = r.decode()?;
                let count = (args.count as usize).min(DATA_BYTES) & !3;
                read_head(&mut replies.bytes, count);
                replies.data.push((replies.bytes.len(), count));
            }
            (nfs3::PROGRAM, WRITE) => {
                let args: WriteArgs<'_> = r.decode()?;
                write_head(&mut replies.bytes, args.count, args.stable);
            }
            (nfs3::PROGRAM, procedure) => {
                let reply = self.nfs.get(procedure as usize).filter(|reply| !reply.is_empty());
                replies.bytes.extend_from_slice(reply.ok_or_else(|| Failure::said("not canned"))?);
            }
            _ => return Err(Failure::said("not canned")),
        }
        let xid = start + record::MARK_BYTES;
        replies.bytes[xid..xid + XID_BYTES].copy_from_slice(&header.xid.to_be_bytes());
        Ok(())
    }
}

const READ: u32 = Procedure::Read as u32;
const WRITE: u32 = Procedure::Write as u32;

fn reply(results: &impl Encode) -> Vec<u8> {
    let mut bytes = Vec::new();
    append(&mut bytes, results, 0);
    bytes
}

fn append(bytes: &mut Vec<u8>, results: &impl Encode, data_bytes: usize) {
    let mut w = Writer::new(bytes);
    let mark = record::begin(&mut w);
    w.encode(&ReplyHeader::success(0));
    w.encode(results);
    record::finish(&mut w, mark, data_bytes);
}

fn read_head(bytes: &mut Vec<u8>, count: usize) {
    let head = ReadResOkHead { file_attributes: Some(ATTRIBUTES), count: count as u32, eof: false };
    append(bytes, &ReadResHead::Ok(head), count);
}

fn write_head(bytes: &mut Vec<u8>, count: u32, committed: StableHow) {
    let written = WriteResOk { file_wcc: WCC, count, committed, verf: Writeverf3([7; 8]) };
    append(bytes, &WriteRes::Ok(written), 0);
}

fn results(procedure: Procedure, handle: FileHandle<'_>) -> Outcome<Vec<u8>> {
    let obj = Some(handle);
    let obj_attributes = Some(ATTRIBUTES);
    let dir_attributes = Some(ATTRIBUTES);
    Ok(match procedure {
        Procedure::Null => reply(&()),
        Procedure::Getattr => reply(&GetattrRes::Ok(GetattrResOk { obj_attributes: ATTRIBUTES })),
        Procedure::Lookup => reply(&LookupRes::Ok(LookupResOk { object: handle, obj_attributes, dir_attributes })),
        Procedure::Access => reply(&AccessRes::Ok(AccessResOk { obj_attributes, access: 0x3F })),
        Procedure::Create => reply(&CreateRes::Ok(CreateResOk { obj, obj_attributes, dir_wcc: WCC })),
        Procedure::Mkdir => reply(&MkdirRes::Ok(MkdirResOk { obj, obj_attributes, dir_wcc: WCC })),
        Procedure::Remove => reply(&RemoveRes::Ok(RemoveResOk { dir_wcc: WCC })),
        Procedure::Rename => reply(&RenameRes::Ok(RenameResOk { fromdir_wcc: WCC, todir_wcc: WCC })),
        Procedure::Commit => reply(&CommitRes::Ok(CommitResOk { file_wcc: WCC, verf: Writeverf3([7; 8]) })),
        Procedure::Readdirplus => page(handle)?,
        _ => Vec::new(),
    })
}

/// A page of a folder, as full as a client wants it.
fn page(handle: FileHandle<'_>) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut w = Writer::new(&mut bytes);
    let mark = record::begin(&mut w);
    w.encode(&ReplyHeader::success(0));
    let mut list = DirPlusWriter::begin(&mut w, Some(ATTRIBUTES), Cookieverf3::default(), PAGE_BYTES, PAGE_BYTES);
    for fileid in 0..ENTRIES {
        let name = format!("texture.{fileid:04}.exr");
        let name = Filename::new(name.as_bytes())?;
        let (name_attributes, name_handle) = (Some(ATTRIBUTES), Some(handle));
        if !list.push(&Entryplus3 { fileid, name, cookie: fileid + 3, name_attributes, name_handle }) {
            break;
        }
    }
    list.finish(true).map_err(|status| Failure::Refused { procedure: Procedure::Readdirplus, status })?;
    record::finish(&mut w, mark, 0);
    Ok(bytes)
}

/// As long as our own handles.
const HANDLE: [u8; 40] = [0x42; 40];
const TIME: Nfstime3 = Nfstime3 { seconds: 1_700_000_000, nseconds: 1 };
const ATTRIBUTES: Fattr3 = Fattr3 {
    ftype: Ftype3::Reg,
    mode: 0o644,
    nlink: 1,
    uid: 0,
    gid: 0,
    size: FILE_BYTES,
    used: FILE_BYTES,
    rdev: Specdata3 { specdata1: 0, specdata2: 0 },
    fsid: 1,
    fileid: 1,
    atime: TIME,
    mtime: TIME,
    ctime: TIME,
};
const WCC: WccData =
    WccData { before: Some(WccAttr { size: FILE_BYTES, mtime: TIME, ctime: TIME }), after: Some(ATTRIBUTES) };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{self, Setting};
    use crate::site::{Address, Site, Sizes, Verify};
    use crate::work;
    use std::time::Duration;

    #[test]
    fn every_test_runs_against_the_floor() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        thread::spawn(move || serve(&listener));
        let address = Address { nfs: server, mount: server, share: "/floor".to_string() };
        let mut site = Site::open(address, Sizes::SMALL, Verify::No).unwrap();
        for test in work::TESTS {
            // A machine that is very busy may have no time for a single call.
            let ran = (0..100).any(|_| units_of(test, &mut site) > 0);
            assert!(ran, "{} did nothing", test.name);
        }
    }

    fn units_of(test: &work::Test, site: &mut Site) -> u64 {
        let mut prepared = test.prepare(site, test.shape()).unwrap();
        let time = Duration::from_millis(50);
        let setting = Setting { server: site.address.nfs, pid: None, client_core: None, warm_up: Duration::ZERO, time };
        let measured = load::run(setting, prepared.lanes(test.in_flight)).unwrap();
        prepared.clean(site).unwrap();
        measured.units
    }
}
