//! The MOUNT protocol, version 3 (RFC 1813 Appendix I) and version 1 (RFC 1094 Appendix A): the tables of their
//! procedures. One file each holds what they do.
//!
//! Version 1 is for `showmount` and old automounters, which ask it for lists. Its MNT is refused: it gives out handles
//! for NFS version 2, which is not spoken.

mod dump;
mod export;
mod list;
mod mnt;
mod umnt;
mod umntall;

pub use list::{MOUNTS_MAX, MOUNTS_PER_CLIENT_MAX, MountList, Mounted};

use crate::net::dispatch::Row;
use crate::net::reply::Ended;

const NULL: Row = Row { name: "NULL", run: |_, _| Ok(Ended::Well), reply_max: 64 };
const DUMP: Row = Row { name: "DUMP", run: dump::dump, reply_max: dump::REPLY_BYTES_MAX };
const UMNT: Row = Row { name: "UMNT", run: umnt::umnt, reply_max: 64 };
const UMNTALL: Row = Row { name: "UMNTALL", run: umntall::umntall, reply_max: 64 };

/// Version 3, RFC 1813 5.2.
pub(crate) static TABLE_3: [Row; 6] = [
    NULL,
    Row { name: "MNT", run: mnt::mnt, reply_max: 256 },
    DUMP,
    UMNT,
    UMNTALL,
    Row { name: "EXPORT", run: export::export, reply_max: export::REPLY_BYTES_MAX },
];

/// Version 1, RFC 1094 A.4.
pub(crate) static TABLE_1: [Row; 7] = [
    NULL,
    Row { name: "MNT", run: mnt::refuse, reply_max: 64 },
    DUMP,
    UMNT,
    UMNTALL,
    Row { name: "EXPORT", run: export::export, reply_max: export::REPLY_BYTES_MAX },
    Row { name: "EXPORTALL", run: export::export, reply_max: export::REPLY_BYTES_MAX },
];
