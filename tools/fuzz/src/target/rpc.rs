//! Whole RPC messages: a call with its credential and arguments, as the server reads it; the header of a reply.

use super::{Target, checked, golden, mount, nfs3, portmap};
use wire::Reader;
use wire::rpc::{
    AUTH_BODY_MAX, BadCall, CallHeader, Credential, GIDS_MAX, MACHINE_NAME_MAX, OpaqueAuth, ReplyBody, ReplyHeader,
};
use wire::xdr::{decode_all, encode_vec};

pub(super) const CALL: Target = Target {
    name: "call",
    about: "an RPC call: header, credential, and the arguments of whatever program it names",
    input_max: 6000,
    working_bytes: 0,
    words: &[b"\0\x01\x86\xA3", b"\0\x01\x86\xA5", b"\0\x01\x86\xA0", b"\0\0\0\x02", b"\0\0\0\x01"],
    seeds: || {
        golden::all().into_iter().filter(|golden| golden.direction == "call").map(|golden| golden.frame).collect()
    },
    run: call,
};

pub(super) const REPLY: Target = Target {
    name: "reply",
    about: "the header of an RPC reply",
    input_max: 1024,
    working_bytes: 0,
    words: &[b"\0\0\0\x01"],
    seeds: || {
        golden::all().into_iter().filter(|golden| golden.direction == "reply").map(|golden| golden.frame).collect()
    },
    run: reply,
};

fn call(input: &[u8]) {
    let mut r = Reader::new(input);
    let header = match CallHeader::parse(&mut r) {
        Ok(header) => header,
        Err(bad) => return refused(input, bad),
    };
    let bytes = encode_vec(&header);
    assert_eq!(bytes.len(), r.position());
    assert_eq!(CallHeader::parse(&mut Reader::new(&bytes)), Ok(header));
    assert!(header.cred.body.len() <= AUTH_BODY_MAX && header.verf.body.len() <= AUTH_BODY_MAX);
    if let Ok(Credential::Sys(sys)) = header.cred.credential() {
        assert!(sys.machinename.len() <= MACHINE_NAME_MAX && sys.gids.len() <= GIDS_MAX);
        let mut scratch = Vec::new();
        let again = OpaqueAuth::sys(&mut scratch, &sys).expect("what fitted fits again");
        assert_eq!(again.body.len(), header.cred.body.len());
        assert_eq!(again.credential(), Ok(Credential::Sys(sys)));
    }
    match (header.program, header.version) {
        (wire::nfs3::PROGRAM, wire::nfs3::VERSION) => nfs3::arguments(header.procedure, &mut r),
        (wire::mount::PROGRAM, _) => mount::arguments(header.procedure, &mut r),
        (wire::portmap::PROGRAM, wire::portmap::VERSION_2) => portmap::arguments_2(header.procedure, &mut r),
        (wire::portmap::PROGRAM, _) => portmap::arguments_4(header.procedure, &mut r),
        _ => {}
    }
}

/// A bad call is denied in words that a client reads, under its own number, or dropped.
fn refused(input: &[u8], bad: BadCall) {
    let Some(reply) = bad.reply() else { return };
    assert_eq!(reply.xid.to_be_bytes(), input[..4]);
    assert!(!reply.is_success());
    assert_eq!(decode_all::<ReplyHeader<'_>>(&encode_vec(&reply)), Ok(reply));
}

fn reply(input: &[u8]) {
    let mut r = Reader::new(input);
    if let Some(ReplyHeader { body: ReplyBody::Accepted { verf, .. }, .. }) = checked!(r, ReplyHeader<'_>) {
        assert!(verf.body.len() <= AUTH_BODY_MAX);
    }
}
