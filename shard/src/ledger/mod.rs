//! The ledger: metadata at rest in LMDB, written by one thread per filesystem with group commit.
//!
//! ```text
//! cores --Job--> thread --jobs--> Ledger::apply --one record--> journal
//!   ^                                  |                          checkpoint --many commits--> LMDB
//!   +---- Done, one doorbell ----------+--> committed number, lock table
//! ```
//!
//! The order on a commit: the rows into the layer above LMDB's tree, where nobody sees them yet; the
//! journal's record, durably; the commit's number, with which the rows are seen; the lock table; the
//! answers. A checkpoint carries the rows of many commits over into LMDB, in one transaction, and makes
//! its file durable ([`keeper`]). Readers on every core see LMDB's tree and the layers above it
//! ([`reader`], [`recent`]): LMDB writes its tree, and Basalt reads it, each page checked ([`stored`], [`pages`]).

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
pub mod pages;
pub mod port;
#[cfg(any(test, feature = "sim"))]
pub mod power;
pub mod reader;
mod recent;
pub mod record;
pub mod redo;
mod replies;
pub mod root;
pub mod segments;
#[cfg(any(test, feature = "sim"))]
pub mod specimen;
pub mod store;
mod stored;
pub mod sweep;
pub mod thread;
pub mod touch;
pub mod touchers;
pub mod verbs;
pub mod warm;

#[cfg(test)]
mod tests;
