//! The filesystem's verbs: protocol-free, one file each. Doors call them by name.
//!
//! A verb that may have to wait does its synchronous part first and answers a [`Step`]: work that
//! needs no disk never allocates a future, and nothing borrowed from the caller survives into the
//! part that waits.

use cache::world::LocalFuture;

pub mod access;
mod ahead;
pub mod ask;
mod backlog;
pub mod checkpoint;
pub mod clean;
pub mod column;
pub mod commit;
pub mod create;
pub mod filesystem;
pub mod getattr;
pub mod link;
pub mod lookup;
pub mod mkdir;
pub mod mknod;
pub mod peers;
pub mod read;
pub mod readdir;
pub mod readlink;
pub mod recover;
pub mod remove;
pub mod rename;
pub mod rmdir;
mod seen;
mod segments;
pub mod setattr;
mod signal;
pub mod statfs;
pub mod symlink;
#[cfg(test)]
pub(crate) mod tests;
mod under_way;
pub mod write;

pub use column::{Fs, Means, Seed};
pub use filesystem::{Filesystem, Options, Shared};
pub use peers::{LogAsk, PeerLogs, SingleCore};

/// How far a verb came in its synchronous part.
pub enum Step<T> {
    /// It is finished.
    Done(T),
    /// It waits for a disk, a log or the ledger; the future owns all that it needs.
    Later(LocalFuture<T>),
}

impl<T: 'static> Step<T> {
    /// Changes the result, now or when it comes.
    pub fn map<U: 'static>(self, change: impl FnOnce(T) -> U + 'static) -> Step<U> {
        match self {
            Step::Done(value) => Step::Done(change(value)),
            Step::Later(future) => Step::Later(Box::pin(async move { change(future.await) })),
        }
    }

    /// Waits for the result where it is not there yet.
    pub async fn wait(self) -> T {
        match self {
            Step::Done(value) => value,
            Step::Later(future) => future.await,
        }
    }
}
