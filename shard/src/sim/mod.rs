//! The whole server in a simulated world, judged by a model. For tests; one seed is one exact history.

mod client;
mod crash;
mod history;
mod judge;
mod model;
mod network;
mod op;
mod payload;
mod server;
#[cfg(test)]
mod tests;
mod walk;

pub use history::{Tally, replay, run};
