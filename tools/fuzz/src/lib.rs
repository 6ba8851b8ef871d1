//! Fuzzing: one target per decoder, and an engine that makes their inputs with coverage as its guide.
//!
//! Callers: `basalt-fuzz` (through `cargo xtask fuzz`), and the tests of this crate, which replay every corpus. A
//! target is a function of bytes that panics when a property does not hold. For every execution it must also hold
//! that no more than twice the input and [`SLACK_BYTES`] are allocated at a time, and that it ends.
//! [`probe`] is the only file with unsafe code: it counts allocations and reads the compiler's coverage counters.
#![deny(unsafe_code)]

pub mod corpus;
pub mod engine;
mod mutate;
#[expect(unsafe_code, reason = "a global allocator that counts, and the counters that instrumented code increments")]
pub mod probe;
pub mod random;
pub mod target;

pub use target::{TARGETS, Target};

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What an execution may allocate beside twice its input.
pub const SLACK_BYTES: usize = 64 << 10;

/// Runs a target once. What went wrong is the error: a panic, or too many bytes allocated at a time. Otherwise the
/// most bytes that were allocated at a time.
pub fn execute(target: &Target, input: &[u8]) -> Result<usize, String> {
    let (outcome, peak_bytes) = probe::peak_during(|| catch_unwind(AssertUnwindSafe(|| (target.run)(input))));
    if let Err(panic) = outcome {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        return Err(format!("panic: {}", text.unwrap_or("of an unknown kind")));
    }
    let limit = 2 * input.len() + SLACK_BYTES + target.working_bytes;
    match peak_bytes <= limit {
        true => Ok(peak_bytes),
        false => Err(format!("{peak_bytes} bytes were allocated at a time, {limit} are allowed")),
    }
}

#[cfg(test)]
mod tests;
