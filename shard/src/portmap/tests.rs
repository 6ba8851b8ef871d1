//! The portmapper over real bytes.

use super::*;
use std::net::IpAddr;
use wire::portmap::{Mapping, Owner, Pmaplist, Rpcb, Rpcblist, Uaddr};
use wire::rpc::{OpaqueAuth, ReplyBody};
use wire::xdr::encode_vec;

const NFS: u32 = 100_003;
const MOUNT: u32 = 100_005;

fn registry() -> Registry {
    let listen: SocketAddr = "0.0.0.0:2049".parse().unwrap();
    let wide: SocketAddr = "[::]:2050".parse().unwrap();
    let mut list = Registration::of_listener(NFS, &[3], listen, Netid::tcp);
    list.extend(Registration::of_listener(MOUNT, &[1, 3], wide, Netid::tcp));
    Registry::new(list)
}

fn call(program: u32, version: u32, procedure: u32, arguments: &[u8]) -> Vec<u8> {
    let header = CallHeader { xid: 7, program, version, procedure, cred: OpaqueAuth::NONE, verf: OpaqueAuth::NONE };
    let mut bytes = encode_vec(&header);
    bytes.extend_from_slice(arguments);
    bytes
}

/// The answer to a call over TCP that came to 10.0.0.1: how it went, and the results.
fn ask(netid: Netid, version: u32, procedure: u32, arguments: &[u8]) -> (Accepted, Vec<u8>) {
    let local = if netid == Netid::Tcp6 { "[fd00::1]:111" } else { "10.0.0.1:111" };
    let registry = registry();
    let cx = Context { registry: &registry, netid, local: local.parse().unwrap(), now_secs: 1234 };
    let mut reply = Vec::new();
    assert!(answer(&cx, &call(PROGRAM, version, procedure, arguments), &mut reply));
    let mut reader = Reader::new(&reply);
    let header: ReplyHeader<'_> = reader.decode().unwrap();
    let ReplyBody::Accepted { stat, .. } = header.body else { panic!("denied") };
    (stat, reader.rest().to_vec())
}

fn getport(program: u32, version: u32, prot: u32) -> u32 {
    let (stat, results) = ask(Netid::Udp, 2, 3, &encode_vec(&Mapping { prog: program, vers: version, prot, port: 9 }));
    assert_eq!(stat, Accepted::Success);
    wire::xdr::decode_all(&results).unwrap()
}

fn rpcb(program: u32, version: u32) -> Vec<u8> {
    let (r_netid, r_addr, r_owner) = (Default::default(), Uaddr::default(), Owner::default());
    encode_vec(&Rpcb { r_prog: program, r_vers: version, r_netid, r_addr, r_owner })
}

fn address(netid: Netid, version: u32, procedure: u32, arguments: &[u8]) -> String {
    let (stat, results) = ask(netid, version, procedure, arguments);
    assert_eq!(stat, Accepted::Success);
    let found: Uaddr<'_> = wire::xdr::decode_all(&results).unwrap();
    String::from_utf8(found.to_vec()).unwrap()
}

#[test]
fn getport_answers_the_port_and_zero_for_what_is_not_there() {
    assert_eq!(getport(NFS, 3, 6), 2049);
    assert_eq!(getport(MOUNT, 1, 6), 2050);
    assert_eq!(getport(NFS, 3, 17), 0);
    assert_eq!(getport(100_021, 4, 6), 0);
    assert_eq!(getport(NFS, 3, 99), 0);
}

#[test]
fn another_version_is_pointed_at_the_program_which_tells_the_right_one() {
    assert_eq!(getport(NFS, 2, 6), 2049);
    assert_eq!(address(Netid::Tcp, 4, 3, &rpcb(NFS, 4)), "10.0.0.1.8.1");
    assert_eq!(address(Netid::Tcp, 4, 9, &rpcb(NFS, 4)), "");
    assert_eq!(address(Netid::Tcp, 4, 9, &rpcb(NFS, 3)), "10.0.0.1.8.1");
}

#[test]
fn getaddr_answers_on_the_network_that_was_asked_over() {
    assert_eq!(address(Netid::Tcp, 3, 3, &rpcb(MOUNT, 3)), "10.0.0.1.8.2");
    assert_eq!(address(Netid::Tcp6, 4, 3, &rpcb(MOUNT, 3)), "fd00::1.8.2");
    assert_eq!(address(Netid::Tcp6, 4, 3, &rpcb(NFS, 3)), "");
    assert_eq!(address(Netid::Udp, 4, 3, &rpcb(NFS, 3)), "");
}

#[test]
fn dump_lists_every_registration_and_version_two_only_those_of_ipv4() {
    let (_, results) = ask(Netid::Tcp, 2, 4, &[]);
    let list: Pmaplist<'_> = wire::xdr::decode_all(&results).unwrap();
    let listed: Vec<_> = list.iter().map(|entry| (entry.prog, entry.vers, entry.prot, entry.port)).collect();
    assert_eq!(listed, [(NFS, 3, 6, 2049), (MOUNT, 1, 6, 2050), (MOUNT, 3, 6, 2050)]);
    let (_, results) = ask(Netid::Tcp, 4, 4, &[]);
    let list: Rpcblist<'_> = wire::xdr::decode_all(&results).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let listed: Vec<_> = list.iter().map(|entry| (entry.r_prog, text(&entry.r_netid), text(&entry.r_addr))).collect();
    assert_eq!(listed[0], (NFS, "tcp".to_string(), "0.0.0.0.8.1".to_string()));
    assert_eq!(listed[1], (MOUNT, "tcp6".to_string(), "::.8.2".to_string()));
    assert_eq!(listed.len(), 5);
}

#[test]
fn set_and_unset_are_refused() {
    let mapping = encode_vec(&Mapping { prog: NFS, vers: 3, prot: 6, port: 1 });
    for procedure in [1, 2] {
        assert_eq!(ask(Netid::Tcp, 2, procedure, &mapping), (Accepted::Success, vec![0; 4]));
        assert_eq!(ask(Netid::Tcp, 4, procedure, &rpcb(NFS, 3)), (Accepted::Success, vec![0; 4]));
    }
    assert_eq!(getport(NFS, 3, 6), 2049);
}

#[test]
fn null_and_gettime_are_answered_and_indirect_calls_are_not() {
    assert_eq!(ask(Netid::Udp, 2, 0, &[]), (Accepted::Success, vec![]));
    assert_eq!(ask(Netid::Udp, 4, 6, &[]), (Accepted::Success, vec![0, 0, 4, 0xD2]));
    for (version, procedure) in [(2, 5), (3, 5), (4, 5), (4, 10), (3, 9), (4, 12), (4, 99), (2, 6)] {
        assert_eq!(ask(Netid::Udp, version, procedure, &[0; 64]).0, Accepted::ProcUnavail, "{version} {procedure}");
    }
}

#[test]
fn a_wrong_version_program_or_argument_gets_the_answer_of_rpc() {
    let versions = Versions { low: 2, high: 4 };
    assert_eq!(ask(Netid::Tcp, 5, 0, &[]).0, Accepted::ProgMismatch(versions));
    assert_eq!(ask(Netid::Tcp, 2, 3, &[0; 12]).0, Accepted::GarbageArgs);
    let registry = registry();
    let local = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 111);
    let cx = Context { registry: &registry, netid: Netid::Tcp, local, now_secs: 0 };
    let mut reply = Vec::new();
    assert!(answer(&cx, &call(NFS, 3, 0, &[]), &mut reply));
    assert_eq!(reply[20..], [0, 0, 0, 1]);
}

#[test]
fn every_cut_of_a_call_is_answered_or_dropped_without_a_panic() {
    let registry = registry();
    let local = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 111);
    let cx = Context { registry: &registry, netid: Netid::Tcp, local, now_secs: 0 };
    let whole = call(PROGRAM, 4, 3, &rpcb(NFS, 3));
    for len in 0..whole.len() {
        let mut reply = Vec::new();
        assert_eq!(answer(&cx, &whole[..len], &mut reply), !reply.is_empty(), "cut at {len}");
    }
}
