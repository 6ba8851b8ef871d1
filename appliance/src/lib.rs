//! The configuration of the daemon, apart from the daemon itself: who reads one without running a server needs it too.
//!
//! Callers: `basaltd`, and the fuzzing of its decoders.

#![forbid(unsafe_code)]

pub mod config;
