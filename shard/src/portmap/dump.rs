//! DUMP, RFC 1833 3.2 and 2.2.1: everything that is registered. Version 2 shows IPv4 alone.

use super::Context;
use wire::Writer;
use wire::portmap::{Mapping, Owner, Rpcb, UaddrBuf};

pub(super) fn mappings<'a>(cx: &Context<'a>) -> impl Iterator<Item = Mapping> + use<'a> {
    cx.registry.iter().filter_map(|entry| {
        let prot = entry.netid.protocol()?;
        Some(Mapping { prog: entry.program, vers: entry.version, prot, port: u32::from(entry.address.port()) })
    })
}

pub(super) fn rpcbs(cx: &Context<'_>, w: &mut Writer<'_>) {
    for entry in cx.registry.iter() {
        let address = UaddrBuf::new(entry.address);
        w.bool(true);
        w.encode(&Rpcb {
            r_prog: entry.program,
            r_vers: entry.version,
            r_netid: entry.netid.on_the_wire(),
            r_addr: address.uaddr(),
            r_owner: Owner::new(OWNER).expect("it is shorter than the type's maximum"),
        });
    }
    w.bool(false);
}

/// Whom the entries belong to.
const OWNER: &[u8] = b"basalt";
