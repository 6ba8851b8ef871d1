//! The whole server in a simulated world, judged by a model. For tests; one seed is one exact history.

mod client;
mod crash;
mod driven;
mod history;
mod judge;
mod model;
mod network;
mod op;
mod payload;
mod policy;
mod sequences;
mod server;
#[cfg(test)]
mod tests;
mod walk;

pub use driven::drive;
pub use history::{Tally, replay, run};
pub use sequences::{sequence, sequences};

/// The lowest byte of the inode's number in a handle.
const INO_BYTE: usize = 12;
