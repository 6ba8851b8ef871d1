//! GETPORT, RFC 1833 3.2: the port of a program on IPv4, 0 where there is none. The port of the argument is
//! ignored.

use super::{Context, Netid};
use wire::portmap::{IPPROTO_TCP, IPPROTO_UDP, Mapping};

pub(super) fn getport(cx: &Context<'_>, asked: Mapping) -> u32 {
    let netid = match asked.prot {
        IPPROTO_TCP => Netid::Tcp,
        IPPROTO_UDP => Netid::Udp,
        _ => return 0,
    };
    cx.registry.nearest(asked.prog, asked.vers, netid).map_or(0, |found| u32::from(found.address.port()))
}
