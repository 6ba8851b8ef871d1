//! The built-in portmapper, RFC 1833: version 2 (PMAP) and rpcbind versions 3 and 4. This file is the table of
//! its procedures; one file each holds what they do.
//!
//! Caller: the appliance's portmapper threads, with one RPC message of a TCP stream or a UDP datagram at a time.
//! Pure. It speaks for this server alone: SET and UNSET are refused, and so are the indirect calls, which would
//! call others in a stranger's name.

mod dump;
mod getaddr;
mod getport;
mod gettime;
mod registry;
mod set;

pub use registry::{Netid, REGISTRATIONS_MAX, Registration, Registry};

use std::net::SocketAddr;
use wire::portmap::{PROGRAM, PmapProcedure, RpcbProcedure, VERSION_2, VERSION_3, VERSION_4};
use wire::rpc::{Accepted, CallHeader, ReplyHeader, Versions};
use wire::{Encode, Reader, Writer};

/// Longest call that is looked at, in bytes: every argument has its maximum below.
pub const CALL_BYTES_MAX: usize = 2048;
/// Longest reply, in bytes: a list of [`REGISTRATIONS_MAX`] entries.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;

/// What a procedure may ask about its call.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// What is registered.
    pub registry: &'a Registry,
    /// The network that the call came over.
    pub netid: Netid,
    /// The own address that the call came to.
    pub local: SocketAddr,
    /// Seconds since 1970, for GETTIME.
    pub now_secs: u32,
}

/// Answers one call by appending the reply (without record mark) to `reply`. `false` when there is nobody to
/// answer: the bytes are no call.
pub fn answer(cx: &Context<'_>, message: &[u8], reply: &mut Vec<u8>) -> bool {
    let mut reader = Reader::new(message);
    let call = match CallHeader::parse(&mut reader) {
        Ok(call) => call,
        Err(bad) => {
            let Some(header) = bad.reply() else { return false };
            header.encode(&mut Writer::new(reply));
            return true;
        }
    };
    let start = reply.len();
    let mut w = Writer::new(reply);
    ReplyHeader::success(call.xid).encode(&mut w);
    if let Err(stat) = serve(cx, &call, &mut reader, &mut w) {
        w.truncate(start);
        ReplyHeader::accepted(call.xid, stat).encode(&mut w);
    }
    debug_assert!(reply.len() - start <= REPLY_BYTES_MAX);
    true
}

fn serve(cx: &Context<'_>, call: &CallHeader<'_>, r: &mut Reader<'_>, w: &mut Writer<'_>) -> Result<(), Accepted> {
    if call.program != PROGRAM {
        return Err(Accepted::ProgUnavail);
    }
    match call.version {
        VERSION_2 => serve_pmap(cx, call.procedure, r, w),
        VERSION_3 | VERSION_4 => serve_rpcb(cx, call.version, call.procedure, r, w),
        _ => Err(Accepted::ProgMismatch(Versions { low: VERSION_2, high: VERSION_4 })),
    }
}

/// The table of version 2, RFC 1833 3.2.
fn serve_pmap(cx: &Context<'_>, procedure: u32, r: &mut Reader<'_>, w: &mut Writer<'_>) -> Result<(), Accepted> {
    let procedure = PmapProcedure::try_from(procedure).map_err(|_| Accepted::ProcUnavail)?;
    match procedure {
        PmapProcedure::Null => {}
        PmapProcedure::Set | PmapProcedure::Unset => w.encode(&set::refuse_mapping(arguments(r)?)),
        PmapProcedure::Getport => w.encode(&getport::getport(cx, arguments(r)?)),
        PmapProcedure::Dump => w.list(dump::mappings(cx)),
        PmapProcedure::Callit => return Err(Accepted::ProcUnavail),
    }
    Ok(())
}

/// The table of versions 3 and 4, RFC 1833 2.2.
fn serve_rpcb(
    cx: &Context<'_>,
    version: u32,
    procedure: u32,
    r: &mut Reader<'_>,
    w: &mut Writer<'_>,
) -> Result<(), Accepted> {
    let procedure = RpcbProcedure::try_from(procedure).map_err(|_| Accepted::ProcUnavail)?;
    match procedure {
        RpcbProcedure::Null => {}
        RpcbProcedure::Set | RpcbProcedure::Unset => w.encode(&set::refuse_rpcb(arguments(r)?)),
        RpcbProcedure::Getaddr => getaddr::getaddr(cx, arguments(r)?, w),
        RpcbProcedure::Dump => dump::rpcbs(cx, w),
        RpcbProcedure::Gettime => w.encode(&gettime::gettime(cx)),
        RpcbProcedure::Getversaddr if version == VERSION_4 => getaddr::getversaddr(cx, arguments(r)?, w),
        // Indirect calls; transport-dependent forms of addresses; statistics: RFC 1833 lets a server leave them.
        RpcbProcedure::Bcast
        | RpcbProcedure::Indirect
        | RpcbProcedure::Uaddr2taddr
        | RpcbProcedure::Taddr2uaddr
        | RpcbProcedure::Getversaddr
        | RpcbProcedure::Getaddrlist
        | RpcbProcedure::Getstat => return Err(Accepted::ProcUnavail),
    }
    Ok(())
}

fn arguments<'a, T: wire::Decode<'a>>(r: &mut Reader<'a>) -> Result<T, Accepted> {
    r.decode().map_err(|_| Accepted::GarbageArgs)
}

#[cfg(test)]
mod tests;
