//! SET and UNSET, RFC 1833 2.2.1 and 3.2: always FALSE. This portmapper speaks for its own server alone, whose
//! registrations change with it; a host that has other RPC services runs rpcbind, which Basalt then registers with.

use wire::portmap::{Mapping, Rpcb};

pub(super) fn refuse_mapping(_: Mapping) -> bool {
    false
}

pub(super) fn refuse_rpcb(_: Rpcb<'_>) -> bool {
    false
}
