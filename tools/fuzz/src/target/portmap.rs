//! The portmapper: arguments and results of versions 2, 3 and 4, and universal addresses.
//!
//! Input: a byte that says which, the XDR.

use super::{Target, bounded, checked, golden};
use wire::Reader;
use wire::portmap::{
    Mapping, NETID_MAX, Netid, OWNER_MAX, Owner, PmapProcedure, Pmaplist, Rpcb, RpcbProcedure, Rpcblist, UADDR_MAX,
    Uaddr, UaddrBuf,
};

pub(super) const PORTMAP: Target = Target {
    name: "portmap",
    about: "portmap 2 and rpcbind 3 and 4: arguments, results, universal addresses",
    input_max: 2048,
    working_bytes: 0,
    words: &[b"tcp", b"tcp6", b"0.0.0.0.8.1", b"::.0.111", b"\0\0\0\x01", b"."],
    seeds,
    run,
};

fn run(input: &[u8]) {
    let Some((which, body)) = input.split_first() else { return };
    let mut r = Reader::new(body);
    match which % 8 {
        0..=2 => arguments_2(u32::from(which / 8), &mut r),
        3..=5 => arguments_4(u32::from(which / 8), &mut r),
        6 => drop(checked!(r, Pmaplist<'_>)),
        _ => list(&mut r),
    }
}

/// The arguments of a procedure of version 2.
pub(super) fn arguments_2(procedure: u32, r: &mut Reader<'_>) {
    if let Ok(PmapProcedure::Set | PmapProcedure::Unset | PmapProcedure::Getport) = procedure.try_into() {
        checked!(r, Mapping);
    }
}

/// The arguments of a procedure of version 3 or 4. A universal address is a result as well.
pub(super) fn arguments_4(procedure: u32, r: &mut Reader<'_>) {
    match procedure.try_into() {
        Ok(RpcbProcedure::Uaddr2taddr) => {
            let uaddr = checked!(r, Uaddr<'_>);
            uaddr.into_iter().for_each(address);
        }
        Ok(RpcbProcedure::Null | RpcbProcedure::Dump | RpcbProcedure::Gettime) => {}
        Ok(_) => {
            let rpcb = bounded!(r, Rpcb<'_>, r_netid <= NETID_MAX, r_addr <= UADDR_MAX, r_owner <= OWNER_MAX);
            rpcb.into_iter().for_each(|rpcb| address(rpcb.r_addr));
        }
        Err(_) => {}
    }
}

fn list(r: &mut Reader<'_>) {
    let Some(list) = checked!(r, Rpcblist<'_>) else { return };
    for rpcb in list.iter() {
        assert!(Netid::new(&rpcb.r_netid).is_ok() && Owner::new(&rpcb.r_owner).is_ok());
        address(rpcb.r_addr);
    }
}

/// An address that is read is the one that is written for it.
fn address(uaddr: Uaddr<'_>) {
    assert!(uaddr.len() <= UADDR_MAX);
    if let Some(address) = uaddr.parse() {
        assert_eq!(UaddrBuf::new(address).uaddr().parse(), Some(address));
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![[&[3 + 8 * 7][..], b"\0\0\0\x0C10.0.0.7.8.1"].concat()];
    for golden in golden::all() {
        let procedure = match golden.protocol.as_str() {
            "portmap2" => PmapProcedure::ALL.iter().position(|all| all.name() == golden.procedure),
            "rpcbind3" | "rpcbind4" => RpcbProcedure::ALL.iter().position(|all| all.name() == golden.procedure),
            _ => continue,
        };
        let is_old = golden.protocol == "portmap2";
        let which = match (golden.direction.as_str(), procedure) {
            ("call", Some(procedure)) => procedure as u8 * 8 + if is_old { 0 } else { 3 },
            _ => {
                if is_old {
                    6
                } else {
                    7
                }
            }
        };
        seeds.push([&[which], golden.body()].concat());
    }
    seeds
}
