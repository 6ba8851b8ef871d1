//! UMNTALL, RFC 1813 5.2.4: takes all mounts of the caller out of the list. Always succeeds.

use crate::net::dispatch::Call;
use crate::net::reply::{Ended, Outcome, Reply};

pub(super) fn umntall(call: &Call<'_>, _: &mut Reply<'_>) -> Outcome {
    call.connection.core.mounts.remove_client(call.connection.peer);
    Ok(Ended::Well)
}
