//! The ledger: metadata at rest in LMDB, written by one thread per filesystem with group commit.
//!
//! ```text
//! cores --Job--> thread --jobs--> Ledger::apply --one transaction--> LMDB
//!   ^                                  |
//!   +---- Done, one doorbell ----------+--> committed number, lock table
//! ```
//!
//! The order on a commit: LMDB commit, then the commit's number, then the lock table, then the
//! answers. Readers on every core see LMDB through their own snapshots ([`reader`]).

pub mod apply;
mod batch;
pub mod check;
pub mod command;
#[expect(unsafe_code, reason = "LMDB is opened over a memory map")]
pub mod env;
mod fold;
pub mod port;
pub mod reader;
pub mod record;
mod replies;
pub mod segments;
pub mod store;
pub mod sweep;
pub mod thread;
pub mod verbs;

#[cfg(test)]
mod tests;
