//! One core's world: event loop, connections, the lock table, the ledger, the filesystem's verbs,
//! and one folder per protocol with one file per operation.

#![deny(unsafe_code)]

pub mod cred;
pub mod fs;
pub mod inode;
pub mod ledger;
pub mod live;
pub mod memory;
pub mod mount;
pub mod net;
pub mod nfs3;
pub mod policy;
pub mod portmap;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod stats;
pub mod status;
#[expect(unsafe_code, reason = "system calls that no crate wraps")]
pub mod system;
pub mod table;
