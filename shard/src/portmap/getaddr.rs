//! GETADDR and GETVERSADDR, RFC 1833 2.2.1: the universal address of a program, empty where there is none. The
//! network is the one that the call came over, whatever the argument says.

use super::{Context, Registration};
use wire::Writer;
use wire::portmap::{Rpcb, Uaddr, UaddrBuf};

/// Another version's address when the very one is not there.
pub(super) fn getaddr(cx: &Context<'_>, asked: Rpcb<'_>, w: &mut Writer<'_>) {
    reply(cx, cx.registry.nearest(asked.r_prog, asked.r_vers, cx.netid), w);
}

/// The very version or nothing.
pub(super) fn getversaddr(cx: &Context<'_>, asked: Rpcb<'_>, w: &mut Writer<'_>) {
    reply(cx, cx.registry.exact(asked.r_prog, asked.r_vers, cx.netid), w);
}

fn reply(cx: &Context<'_>, found: Option<&Registration>, w: &mut Writer<'_>) {
    match found {
        Some(found) => w.encode(&UaddrBuf::new(found.reachable_from(cx.local)).uaddr()),
        None => w.encode(&Uaddr::default()),
    }
}
