//! Codecs of the protocols that Basalt speaks: bytes in, values out.
//!
//! Callers: `shard` (the server's side of every type) and `perf` (the client's side).
//! Promises: no I/O, no clock, no allocation sized by a number from the wire, no panic whatever the bytes.
//! A decoded value borrows the frame it came from. One file per protocol, in the order of its RFC.
#![forbid(unsafe_code)]

#[macro_use]
pub mod xdr;
pub mod mount;
pub mod nfs3;
pub mod portmap;
pub mod record;
pub mod rpc;

pub use xdr::{Decode, Encode, Malformed, Reader, Writer};

#[cfg(test)]
mod tests;
