//! What clients send wrongly, by mistake or on purpose: each gets its answer of RFC 5531 9 or RFC 1813 2.6, and the
//! connection and the other clients go on.

mod lab;

use lab::{Client, Lab, Setup, marked};
use wire::nfs3::*;
use wire::rpc::{Accepted, AuthFlavor, AuthStat, CallHeader, OpaqueAuth, Rejected, ReplyBody, ReplyHeader, Versions};
use wire::xdr::{Opaque, Reader, encode_vec};

fn lab() -> Lab {
    Lab::new(Setup::default())
}

fn reply_to(client: &mut Client, call: &[u8]) -> ReplyBody<'static> {
    client.send(call);
    let record = client.receive();
    let header: ReplyHeader<'_> = Reader::new(&record).decode().expect("a reply");
    match header.body {
        ReplyBody::Accepted { stat, .. } => ReplyBody::Accepted { verf: OpaqueAuth::NONE, stat },
        ReplyBody::Denied(why) => ReplyBody::Denied(why),
    }
}

fn accepted(stat: Accepted) -> ReplyBody<'static> {
    ReplyBody::Accepted { verf: OpaqueAuth::NONE, stat }
}

fn header(cred: OpaqueAuth<'_>) -> CallHeader<'_> {
    CallHeader { xid: 9, program: PROGRAM, version: VERSION, procedure: 1, cred, verf: OpaqueAuth::NONE }
}

#[test]
fn what_is_not_here_is_said_to_be_unavailable() {
    let lab = lab();
    let mut client = lab.client();
    let call = |client: &Client, program, version, procedure| client.call(9, program, version, procedure, &());
    let unknown = call(&client, 100_099, 1, 0);
    assert_eq!(reply_to(&mut client, &unknown), accepted(Accepted::ProgUnavail));
    let (low, high) = (3, 3);
    let version = call(&client, PROGRAM, 4, 0);
    assert_eq!(reply_to(&mut client, &version), accepted(Accepted::ProgMismatch(Versions { low, high })));
    let version = call(&client, wire::mount::PROGRAM, 2, 0);
    let versions = Versions { low: 1, high: 3 };
    assert_eq!(reply_to(&mut client, &version), accepted(Accepted::ProgMismatch(versions)));
    for procedure in [22, 23, u32::MAX] {
        let unknown = call(&client, PROGRAM, VERSION, procedure);
        assert_eq!(reply_to(&mut client, &unknown), accepted(Accepted::ProcUnavail));
    }
    client.mount("/share");
}

#[test]
fn arguments_that_cannot_be_decoded_are_garbage() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    for procedure in Procedure::ALL.into_iter().filter(|&procedure| procedure != Procedure::Null) {
        let empty = client.nfs_call(9, procedure, &());
        assert_eq!(reply_to(&mut client, &empty), accepted(Accepted::GarbageArgs), "{procedure:?}");
        let long = client.nfs_call(9, procedure, &u32::MAX);
        assert_eq!(reply_to(&mut client, &long), accepted(Accepted::GarbageArgs), "{procedure:?}");
    }
    assert!(client.getattr(&root).is_ok());
}

#[test]
fn a_call_of_another_rpc_version_is_denied() {
    let lab = lab();
    let mut client = lab.client();
    let mut call = client.nfs_call(9, Procedure::Null, &());
    call[4 + 11] = 3;
    assert_eq!(reply_to(&mut client, &call), ReplyBody::Denied(Rejected::RPC_MISMATCH));
}

#[test]
fn a_garbled_credential_and_an_unknown_flavour_are_denied() {
    let lab = lab();
    let mut client = lab.client();
    let body = Opaque::new(&[0xFF; 12]).unwrap();
    let denied = |why| ReplyBody::Denied(Rejected::AuthError(why));
    let garbled = OpaqueAuth { flavor: AuthFlavor::SYS, body };
    let call = marked(&encode_vec(&header(garbled)));
    assert_eq!(reply_to(&mut client, &call), denied(AuthStat::Badcred));
    let unknown = OpaqueAuth { flavor: AuthFlavor(77), body };
    let call = marked(&encode_vec(&header(unknown)));
    assert_eq!(reply_to(&mut client, &call), denied(AuthStat::Rejectedcred));
    client.mount("/share");
}

#[test]
fn a_call_without_a_credential_acts_as_nobody() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    let args = GetattrArgs { object: root.handle() };
    let call = marked(&[encode_vec(&header(OpaqueAuth::NONE)), encode_vec(&args)].concat());
    client.send(&call);
    let record = client.receive();
    let results = lab::results_of(&record, 9);
    assert_eq!(lab::decoded::<GetattrRes>(&results).error(), None);
}

#[test]
fn a_forged_handle_is_a_bad_handle() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    for at in 0..root.len() {
        let mut forged = root.to_vec();
        forged[at] ^= 1;
        let forged: FileHandleBuf = FileHandle::new(&forged).unwrap().into();
        assert_eq!(client.getattr(&forged).err(), Some(Nfsstat3::Badhandle), "byte {at}");
    }
    for length in [0, 1, 39, 41, 64] {
        let forged: FileHandleBuf = FileHandle::new(&[7; 64][..length]).unwrap().into();
        assert_eq!(client.getattr(&forged).err(), Some(Nfsstat3::Badhandle), "{length} bytes");
    }
}

#[test]
fn names_that_may_not_be_are_refused() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    let long = "x".repeat(256);
    for (name, status) in [
        ("", Nfsstat3::Acces),
        ("a/b", Nfsstat3::Acces),
        ("a\0b", Nfsstat3::Acces),
        (".", Nfsstat3::Exist),
        ("..", Nfsstat3::Exist),
        (&*long, Nfsstat3::Nametoolong),
    ] {
        assert_eq!(client.mkdir(&root, name).err(), Some(status), "{name:?}");
        assert_eq!(client.create(&root, name, Createhow3::Guarded(Sattr3::default())).err(), Some(status), "{name:?}");
    }
    assert_eq!(client.lookup(&root, &long).err(), Some(Nfsstat3::Nametoolong));
    assert_eq!(client.rmdir(&root, ".").err(), Some(Nfsstat3::Inval));
    assert_eq!(client.rmdir(&root, "..").err(), Some(Nfsstat3::Exist));
    assert_eq!(client.rename((&root, ".."), (&root, "a")).err(), Some(Nfsstat3::Inval));
    assert!(client.mkdir(&root, &long[1..]).is_ok());
}

#[test]
fn a_count_that_is_not_the_length_of_the_data_is_invalid() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    let file = client.file(&root, "a");
    let mut args = lab::write_args(&file, 0, b"12345", StableHow::Unstable);
    args.count = 6;
    let bytes = client.results(PROGRAM, VERSION, Procedure::Write as u32, &args);
    assert_eq!(lab::decoded::<WriteRes>(&bytes).error(), Some(Nfsstat3::Inval));
    assert_eq!(client.getattr(&file).unwrap().size, 0);
}

#[test]
fn offsets_at_the_end_of_everything_are_answered() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    let file = client.file(&root, "a");
    assert_eq!(client.write(&file, u64::MAX, b"x", StableHow::Unstable).err(), Some(Nfsstat3::Fbig));
    assert_eq!(client.write(&file, u64::MAX - 1, b"xyz", StableHow::Unstable).err(), Some(Nfsstat3::Fbig));
    assert_eq!(client.read(&file, u64::MAX, u32::MAX).unwrap(), (Vec::new(), true));
    let huge = Sattr3 { size: Some(u64::MAX), ..Sattr3::default() };
    assert_eq!(client.setattr(&file, huge).err(), Some(Nfsstat3::Fbig));
}

#[test]
fn a_record_that_is_too_long_ends_its_connection_alone() {
    let lab = lab();
    let (mut bad, mut good) = (lab.client(), lab.client());
    let root = good.mount("/share");
    bad.send(&[0x7F, 0xFF, 0xFF, 0xFF]);
    assert!(bad.try_receive().is_none());
    assert!(good.getattr(&root).is_ok());
}

#[test]
fn every_cut_of_a_call_leaves_the_server_well() {
    let lab = lab();
    let mut good = lab.client();
    let root = good.mount("/share");
    let call = good.nfs_call(9, Procedure::Getattr, &GetattrArgs { object: root.handle() });
    for length in 0..call.len() {
        // Half a record, and the end of the stream.
        let mut half = lab.client();
        half.send(&call[..length]);
        half.finish();
        assert!(half.try_receive().is_none(), "{length} bytes");
        // The same as a whole record: answered as far as it can be understood, else the connection is closed.
        let mut whole = lab.client();
        whole.send(&marked(&call[4..call.len().min(4 + length)]));
        whole.finish();
        if let Some(reply) = whole.try_receive() {
            assert_eq!(reply[..8], [0, 0, 0, 9, 0, 0, 0, 1]);
        }
    }
    assert!(good.getattr(&root).is_ok());
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once() {
    let lab = Lab::new(Setup { connections_max: 2, ..Setup::default() });
    let mut clients = [lab.client(), lab.client()];
    clients.iter_mut().for_each(|client| {
        client.mount("/share");
    });
    assert!(lab.client().try_receive().is_none());
    assert_eq!(lab.server().refused_connections(), 1);
    clients.iter_mut().for_each(|client| {
        client.mount("/share");
    });
}
