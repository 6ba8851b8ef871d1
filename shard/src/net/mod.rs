//! The network side of the cores: accepting, connections, RPC, and the threads that run them.
//!
//! Caller: the daemon, through [`server::Server`]. A connection is accepted by one thread, handed to the
//! core that has the fewest, and served there to its end.

pub(crate) mod accept;
mod buffers;
pub mod conn;
pub mod core;
pub mod dispatch;
pub(crate) mod gate;
pub mod handle;
pub(crate) mod mailbox;
mod peers;
mod prepare;
pub mod reply;
pub mod server;
mod sleep;
pub(crate) mod socket;
mod window;
pub mod world;
