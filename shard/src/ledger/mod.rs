//! The ledger: metadata at rest in LMDB, written by one thread per filesystem with group commit.

pub mod command;
