//! Bytes at rest: disk, block cache, log segments, extent maps. Knows blocks, not files.
//!
//! Callers: `shard` (the filesystem's verbs) and `tools` (verify, dump). Unsafe code lives in
//! `disk` and `block` only.

#![deny(unsafe_code)]

#[expect(unsafe_code, reason = "raw chunk memory shared by cores, and ranges that the kernel reads")]
pub mod block;
pub mod checksum;
#[expect(unsafe_code, reason = "buffers handed to the kernel stay alive until it is done with them")]
pub mod disk;
pub mod extent;
pub mod frame;
pub mod log;
pub mod replay;
mod signal;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod table;
pub mod world;
