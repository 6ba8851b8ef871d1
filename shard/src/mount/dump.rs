//! DUMP, RFC 1813 5.2.2: who has mounted what, as far as this server remembers. The client is named by its address.

use super::list::MOUNTS_MAX;
use crate::net::dispatch::Call;
use crate::net::reply::{Ended, Outcome, Reply};
use wire::mount::{Dirpath, MNTPATHLEN, Mountbody, Name};

/// Every entry at its longest: a bool, an IPv6 address and a path with their lengths.
pub(super) const REPLY_BYTES_MAX: usize = 256 + MOUNTS_MAX * (64 + MNTPATHLEN);

pub(super) fn dump(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut w = reply.writer();
    for mounted in call.connection.core.mounts.all() {
        let client = mounted.client.to_string();
        w.bool(true);
        w.encode(&Mountbody {
            ml_hostname: Name::new(client.as_bytes()).expect("an address is shorter than 255 bytes"),
            ml_directory: Dirpath::new(&mounted.path).expect("it came in a Dirpath"),
        });
    }
    w.bool(false);
    Ok(Ended::Well)
}
