//! GETTIME, RFC 1833 2.2.1: the server's seconds since 1970.

use super::Context;

pub(super) fn gettime(cx: &Context<'_>) -> u32 {
    cx.now_secs
}
