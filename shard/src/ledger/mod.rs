//! The ledger: metadata at rest in LMDB, written by one thread per filesystem with group commit.
//!
//! ```text
//! cores --Job--> thread --jobs--> Ledger::apply --one transaction--> journal, then LMDB
//!   ^                                  |
//!   +---- Done, one doorbell ----------+--> committed number, lock table
//! ```
//!
//! The order on a commit: the journal's record, durably; LMDB's commit, without a flush; the commit's
//! number; the lock table; the answers. Checkpoints make LMDB's file durable behind that
//! ([`keeper`]). Readers on every core see LMDB through their own snapshots ([`reader`]).

pub mod apply;
mod batch;
pub mod check;
pub mod command;
#[expect(unsafe_code, reason = "LMDB is opened over a memory map")]
pub mod env;
mod fold;
pub mod journal;
pub mod keeper;
pub mod media;
pub mod port;
#[cfg(any(test, feature = "sim"))]
pub mod power;
pub mod reader;
pub mod record;
pub mod redo;
mod replies;
pub mod root;
pub mod segments;
mod sound;
pub mod store;
pub mod sweep;
pub mod thread;
pub mod touch;
pub mod touchers;
pub mod verbs;
pub mod warm;

#[cfg(test)]
mod tests;
