//! What a broken or hostile peer may send: each gets the answer that its RFC has, or its connection closed, while
//! another client works on unharmed and the server's memory stays where it was.

use crate::client::{Call, Client};
use crate::failure::{Failure, Outcome, While, ensure, fail};
use crate::lab::Lab;
use crate::server::{Server, Settings};
use crate::share::Raw;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use wire::nfs3::*;
use wire::rpc::{Accepted, AuthFlavor, AuthStat, CallHeader, OpaqueAuth, Rejected, ReplyBody, Versions};
use wire::xdr::Opaque;
use wire::{mount, nfs3};

pub(crate) fn run(lab: &Lab) -> Outcome {
    let mut server = Server::start_with(lab, &lab.folder("pool")?, SETTINGS)?;
    let place = server.place().clone();
    let root = Client::new(server.address(), 1).root(place.mountport, &place.share)?;
    let before_bytes = server.memory()?.own_bytes;
    let end = AtomicBool::new(false);
    let address = server.address();
    let served = thread::scope(|scope| {
        let bystander = scope.spawn(|| bystander(address, root, &end));
        let outcome = attack(address, root);
        end.store(true, Ordering::SeqCst);
        let served = bystander.join().map_err(|_| Failure::new("the bystander panicked"))?;
        outcome.and(served.during("the bystander"))
    })?;
    let after_bytes = server.memory()?.own_bytes;
    ensure!(
        after_bytes < before_bytes + MEMORY_GROWTH_MAX,
        "the server's memory grew from {before_bytes} to {after_bytes} bytes"
    );
    server.stop()?;
    server.verify()?;
    Ok(format!(
        "the bystander made {served} calls; memory grew by {} KiB",
        after_bytes.saturating_sub(before_bytes) >> 10
    ))
}

fn attack(address: SocketAddr, root: FileHandleBuf) -> Result<(), Failure> {
    let mut client = Client::new(address, 1 << 20);
    bad_records(address).during("records")?;
    bad_headers(&mut client).during("headers")?;
    bad_credentials(&mut client).during("credentials")?;
    bad_arguments(&mut client, root).during("arguments")?;
    bad_handles(&mut client, root).during("handles")?;
    bad_names(&mut client, root).during("names")?;
    bad_numbers(&mut client, root).during("numbers")?;
    stalled(address).during("stalled connections")?;
    crowd(address, root).during("many connections")
}

/// A client that does nothing wrong; the count of its calls.
fn bystander(address: SocketAddr, root: FileHandleBuf, end: &AtomicBool) -> Result<u64, Failure> {
    let mut client = Client::new(address, 9 << 20);
    let dir = Raw::worker_folder(&mut client, root, "bystander")?;
    let mut calls = 0;
    while !end.load(Ordering::SeqCst) {
        let what = at(dir.handle(), b"file");
        let how = Createhow3::Guarded(Sattr3::default());
        let create = client.nfs(Procedure::Create, &CreateArgs { location: what, how })?.status()?;
        let remove = client.nfs(Procedure::Remove, &RemoveArgs { object: what })?.status()?;
        ensure!(create == NFS3_OK && remove == NFS3_OK, "CREATE {create}, REMOVE {remove}");
        calls += 2;
    }
    Ok(calls)
}

/// Record marks and records that can't be a call: the connection is closed, nothing else happens.
fn bad_records(address: SocketAddr) -> Result<(), Failure> {
    let huge = 0xFFFF_FFFF_u32.to_be_bytes().to_vec();
    let two_gib = 0x7FFF_FFFF_u32.to_be_bytes().to_vec();
    let flood = [0; 4 * 4096].to_vec();
    let short = [&0x8000_0008_u32.to_be_bytes()[..], &[0; 8]].concat();
    let reply = [&0x8000_0018_u32.to_be_bytes()[..], &[0, 0, 0, 1, 0, 0, 0, 1], &[0; 16]].concat();
    let text = b"GET / HTTP/1.1\r\nHost: server\r\n\r\n".to_vec();
    for bytes in [huge, two_gib, flood, short, reply, text] {
        let mut client = Client::new(address, 1);
        // The server may close before all is sent.
        let _ = client.send(&bytes);
        ensure!(client.is_closed_within(CLOSED_AT_ONCE)?, "{:02x?} left its connection open", bytes.first_chunk::<4>());
    }
    Ok(())
}

fn bad_headers(client: &mut Client) -> Result<(), Failure> {
    let three = Versions { low: 3, high: 3 };
    let mounts = Versions { low: 1, high: 3 };
    for (program, version, procedure, wanted) in [
        (4_000_000, 1, 0, Accepted::ProgUnavail),
        (nfs3::PROGRAM, 7, 0, Accepted::ProgMismatch(three)),
        (nfs3::PROGRAM, 2, 0, Accepted::ProgMismatch(three)),
        (nfs3::PROGRAM, 3, 22, Accepted::ProcUnavail),
        (nfs3::PROGRAM, 3, u32::MAX, Accepted::ProcUnavail),
        (mount::PROGRAM, 9, 0, Accepted::ProgMismatch(mounts)),
        (mount::PROGRAM, 3, 99, Accepted::ProcUnavail),
    ] {
        let call = client.prepare_any(program, version, procedure, &());
        accept_stat(client, &call, wanted).during(format_args!("program {program}.{version} {procedure}"))?;
    }
    // The third word of the call is the version of RPC itself.
    let mut call = client.prepare(Procedure::Null, &());
    call.bytes[15] = 3;
    let body = client.exchange(&call)?;
    let denied = ReplyBody::Denied(Rejected::RPC_MISMATCH);
    ensure!(body.header()?.body == denied, "RPC version 3: {:?}", body.header()?.body);
    Ok(())
}

fn bad_credentials(client: &mut Client) -> Result<(), Failure> {
    let body = Opaque::new(&[7; 13]).during("a short body")?;
    let auth = |flavor| OpaqueAuth { flavor, body };
    for (cred, wanted) in [
        (auth(AuthFlavor::SYS), &[AuthStat::Badcred][..]),
        (auth(AuthFlavor::RPCSEC_GSS), &[AuthStat::Rejectedcred, AuthStat::Tooweak][..]),
        (auth(AuthFlavor(77)), &[AuthStat::Rejectedcred, AuthStat::Tooweak][..]),
    ] {
        let call = Call::new(&header(cred), &());
        denied(client, &call, wanted).during(format_args!("{cred:?}"))?;
    }
    // A credential that claims 401 bytes, and one that claims 4 GiB: neither is believed.
    for claimed in [401, u32::MAX] {
        let mut call = Call::new(&header(OpaqueAuth::NONE), &());
        call.bytes[32..36].copy_from_slice(&claimed.to_be_bytes());
        denied(client, &call, &[AuthStat::Badcred]).during(format_args!("{claimed} bytes"))?;
    }
    Ok(())
}

/// Arguments cut off at every word: GARBAGE_ARGS, and the connection stays in step.
fn bad_arguments(client: &mut Client, root: FileHandleBuf) -> Result<(), Failure> {
    let whole = client.prepare(Procedure::Lookup, &LookupArgs { what: at(root.handle(), b"name") });
    let args = wire::xdr::encode_vec(&LookupArgs { what: at(root.handle(), b"name") });
    for cut in (4..=args.len()).step_by(4) {
        accept_stat(client, &whole.cut(cut), Accepted::GarbageArgs).during(format_args!("{cut} bytes cut"))?;
    }
    let mut long = client.prepare(Procedure::Lookup, &LookupArgs { what: at(root.handle(), b"name") });
    let length_at = long.bytes.len() - args.len();
    for claimed in [65, u32::MAX] {
        long.bytes[length_at..length_at + 4].copy_from_slice(&claimed.to_be_bytes());
        accept_stat(client, &long, Accepted::GarbageArgs).during(format_args!("a handle of {claimed} bytes"))?;
    }
    Ok(())
}

/// No handle but one that the server gave is taken, whatever bit of it is changed.
fn bad_handles(client: &mut Client, root: FileHandleBuf) -> Result<(), Failure> {
    let mut forged = vec![vec![], vec![0; 3], vec![0xFF; 64], root[..root.len() - 1].to_vec()];
    for index in 0..root.len() {
        let mut handle = root.to_vec();
        handle[index] ^= 1 << (index % 8);
        forged.push(handle);
    }
    for handle in forged {
        let object = FileHandle::new(&handle).during("a handle")?;
        let status = client.nfs(Procedure::Getattr, &GetattrArgs { object })?.status()?;
        one_of(status, &[Nfsstat3::Badhandle, Nfsstat3::Stale]).during(format_args!("handle {handle:02x?}"))?;
    }
    Ok(())
}

fn bad_names(client: &mut Client, root: FileHandleBuf) -> Result<(), Failure> {
    use Nfsstat3::{Acces, Exist, Inval, Isdir, Nametoolong, Notempty};
    let long = [b'x'; 256];
    let longest = [b'x'; NAME_WIRE_MAX];
    for (name, wanted) in [
        (&b""[..], &[Inval, Acces][..]),
        (b"a/b", &[Inval, Acces]),
        (b"/", &[Inval, Acces]),
        (b"a\0b", &[Inval, Acces]),
        (&long, &[Nametoolong]),
        (&longest, &[Nametoolong]),
        (b".", &[Exist, Inval]),
        (b"..", &[Exist, Inval]),
    ] {
        let location = at(root.handle(), name);
        let shown = name.escape_ascii().to_string();
        let shown = &shown[..shown.len().min(20)];
        let how = Createhow3::Guarded(Sattr3::default());
        let attributes = Sattr3::default();
        let symlink_data = Nfspath::new(b"text").during("text")?;
        let symlink = Symlinkdata3 { symlink_attributes: attributes, symlink_data };
        let what = Mknoddata3::Fifo(attributes);
        let file = at(root.handle(), b"plain");
        let status = client.nfs(Procedure::Create, &CreateArgs { location, how })?.status()?;
        one_of(status, wanted).during(format_args!("CREATE {shown}"))?;
        let status = client.nfs(Procedure::Mkdir, &MkdirArgs { location, attributes })?.status()?;
        one_of(status, wanted).during(format_args!("MKDIR {shown}"))?;
        let status = client.nfs(Procedure::Symlink, &SymlinkArgs { location, symlink })?.status()?;
        one_of(status, wanted).during(format_args!("SYMLINK {shown}"))?;
        let status = client.nfs(Procedure::Mknod, &MknodArgs { location, what })?.status()?;
        one_of(status, wanted).during(format_args!("MKNOD {shown}"))?;
        client.nfs(Procedure::Create, &CreateArgs { location: file, how: Createhow3::Unchecked(attributes) })?;
        let status = client.nfs(Procedure::Rename, &RenameArgs { from: file, to: location })?.status()?;
        one_of(status, &[wanted, &[Isdir]].concat()).during(format_args!("RENAME to {shown}"))?;
        let status = client.nfs(Procedure::Remove, &RemoveArgs { object: location })?.status()?;
        one_of(status, &[wanted, &[Isdir]].concat()).during(format_args!("REMOVE {shown}"))?;
        let status = client.nfs(Procedure::Rmdir, &RmdirArgs { object: location })?.status()?;
        one_of(status, &[wanted, &[Notempty]].concat()).during(format_args!("RMDIR {shown}"))?;
    }
    // A name of more bytes than the wire's limit can't be read at all.
    let args = LookupArgs { what: at(root.handle(), &longest) };
    let mut call = client.prepare(Procedure::Lookup, &args);
    let length_at = call.bytes.len() - NAME_WIRE_MAX - 4;
    call.bytes[length_at..length_at + 4].copy_from_slice(&u32::MAX.to_be_bytes());
    accept_stat(client, &call, Accepted::GarbageArgs).during("a name of 4 GiB")
}

/// Offsets, counts and sizes at their ends.
fn bad_numbers(client: &mut Client, root: FileHandleBuf) -> Result<(), Failure> {
    let location = at(root.handle(), b"numbers");
    let how = Createhow3::Unchecked(Sattr3::default());
    let reply = client.nfs(Procedure::Create, &CreateArgs { location, how })?;
    let Res::Ok(CreateResOk { obj: Some(file), .. }) = reply.results::<CreateRes<'_>>()? else {
        fail!("CREATE: {}", reply.status()?);
    };
    for (offset, count) in [(0, u32::MAX), (u64::MAX, u32::MAX), (u64::MAX - 5, 100), (1 << 63, 4096)] {
        let status = client.nfs(Procedure::Read, &ReadArgs { file, offset, count })?.status()?;
        let fine = status == NFS3_OK || status == Nfsstat3::Inval as u32;
        ensure!(fine, "READ at {offset} of {count}: status {status}");
    }
    let data = Data::new(b"four").during("data")?;
    let stable = StableHow::FileSync;
    for (offset, count) in [(u64::MAX, 4), (u64::MAX - 2, 4), (i64::MAX as u64, 4), (0, 5), (0, u32::MAX)] {
        let status = client.nfs(Procedure::Write, &WriteArgs { file, offset, count, stable, data })?.status()?;
        let wanted = [Nfsstat3::Fbig, Nfsstat3::Inval];
        one_of(status, &wanted).during(format_args!("WRITE at {offset} of {count}"))?;
    }
    let new_attributes = Sattr3 { size: Some(u64::MAX), ..Sattr3::default() };
    let status =
        client.nfs(Procedure::Setattr, &SetattrArgs { object: file, new_attributes, guard: None })?.status()?;
    one_of(status, &[Nfsstat3::Fbig, Nfsstat3::Inval]).during("SETATTR of 2^64 - 1 bytes")?;
    let dir = root.handle();
    let cookieverf = Cookieverf3::default();
    let status = client.nfs(Procedure::Readdir, &ReaddirArgs { dir, cookie: 0, cookieverf, count: 0 })?.status()?;
    one_of(status, &[Nfsstat3::Toosmall]).during("READDIR of 0 bytes")?;
    let args = ReaddirArgs { dir, cookie: u64::MAX, cookieverf, count: u32::MAX };
    let status = client.nfs(Procedure::Readdir, &args)?.status()?;
    let fine = status == NFS3_OK || status == Nfsstat3::BadCookie as u32;
    ensure!(fine, "READDIR at the last cookie: status {status}");
    Ok(())
}

/// Half a record, then silence: closed after the stated time, and not before.
fn stalled(address: SocketAddr) -> Result<(), Failure> {
    for half in [&[0x80_u8, 0][..], &[0x80, 0, 0, 0x28, 0, 0, 0, 1]] {
        let mut client = Client::new(address, 1);
        client.send(half)?;
        ensure!(!client.is_closed_within(STALL_TIMEOUT / 2)?, "closed before the stated time");
        ensure!(client.is_closed_within(STALL_TIMEOUT * 3)?, "not closed after the stated time");
    }
    Ok(())
}

/// More connections than one client may have: those beyond are closed, and the server serves on.
fn crowd(address: SocketAddr, root: FileHandleBuf) -> Result<(), Failure> {
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        // Refusing a connection is an answer too.
        if let Ok(mut stream) = TcpStream::connect(address) {
            let _ = stream.write_all(&[0x80]);
            streams.push(stream);
        }
    }
    thread::sleep(Duration::from_millis(200));
    drop(streams);
    thread::sleep(Duration::from_millis(200));
    let mut client = Client::new(address, 1);
    let status = client.nfs(Procedure::Getattr, &GetattrArgs { object: root.handle() })?.status()?;
    ensure!(status == NFS3_OK, "GETATTR after the crowd: {status}");
    Ok(())
}

fn header(cred: OpaqueAuth<'_>) -> CallHeader<'_> {
    let (program, version, procedure) = (nfs3::PROGRAM, nfs3::VERSION, Procedure::Null as u32);
    CallHeader { xid: 5, program, version, procedure, cred, verf: OpaqueAuth::NONE }
}

fn accept_stat(client: &mut Client, call: &Call, wanted: Accepted) -> Result<(), Failure> {
    let reply = client.exchange(call)?;
    match reply.header()?.body {
        ReplyBody::Accepted { stat, .. } if stat == wanted => Ok(()),
        body => fail!("{body:?} instead of {wanted:?}"),
    }
}

fn denied(client: &mut Client, call: &Call, wanted: &[AuthStat]) -> Result<(), Failure> {
    let reply = client.exchange(call)?;
    match reply.header()?.body {
        ReplyBody::Denied(Rejected::AuthError(stat)) if wanted.contains(&stat) => Ok(()),
        body => fail!("{body:?} instead of {wanted:?}"),
    }
}

fn one_of(status: u32, wanted: &[Nfsstat3]) -> Result<(), Failure> {
    let fits = wanted.iter().any(|one| *one as u32 == status);
    ensure!(fits, "status {status} instead of one of {wanted:?}");
    Ok(())
}

fn at<'a>(dir: FileHandle<'a>, name: &'a [u8]) -> Diropargs3<'a> {
    Diropargs3 { dir, name: Filename::new(name).expect("no name here is longer than the wire's limit") }
}

/// With little memory: an eighth of what is allowed is made ready meanwhile, which is nobody's attack.
const SETTINGS: Settings = &[("BASALT_SERVER_STALL_TIMEOUT", "2s"), ("BASALT_SERVER_MEMORY", "256MiB")];
const STALL_TIMEOUT: Duration = Duration::from_secs(2);
const CLOSED_AT_ONCE: Duration = Duration::from_secs(5);
/// Above `connections_per_client_max`'s default.
const CONNECTIONS: usize = 300;
const MEMORY_GROWTH_MAX: u64 = 64 << 20;
