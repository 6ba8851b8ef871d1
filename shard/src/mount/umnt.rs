//! UMNT, RFC 1813 5.2.3: takes one mount of the caller out of the list. Always succeeds.

use super::mnt::plain;
use crate::net::dispatch::Call;
use crate::net::reply::{Ended, Outcome, Reply};
use wire::mount::Dirpath;

pub(super) fn umnt(call: &Call<'_>, _: &mut Reply<'_>) -> Outcome {
    let path: Dirpath<'_> = call.args()?;
    call.connection.core.mounts.remove(call.connection.peer, &plain(path.bytes()));
    Ok(Ended::Well)
}
