//! Flushes across cores: a file's records may lie in several cores' logs, and COMMIT answers for all
//! of them.
//!
//! Callers: COMMIT, stable truncates, the checkpoint. The doors of a core wire [`PeerFlush`] through
//! its mailbox to the other core, which calls [`Fs::flush_for_peer`].

use super::column::Fs;
use crate::status::Status;
use cache::log::Position;
use cache::world::LocalFuture;
use futures_util::future::join_all;
use std::rc::Rc;

/// The way to the other cores.
pub trait PeerFlush {
    /// Asks `core` to make its log of the filesystem with number `filesystem` durable up to
    /// `position`; answers what [`Fs::flush_for_peer`] answered there.
    fn flush(&self, filesystem: u32, core: u16, position: u64) -> LocalFuture<Result<(), Status>>;
}

/// For a filesystem that one core serves: there is nobody to ask.
pub struct SingleCore;

impl PeerFlush for SingleCore {
    fn flush(&self, _filesystem: u32, _core: u16, _position: u64) -> LocalFuture<Result<(), Status>> {
        Box::pin(async { Err(Status::ServerFault) })
    }
}

impl Fs {
    /// Another core needs this core's log durable up to `position`.
    pub fn flush_for_peer(self: &Rc<Fs>, position: u64) -> LocalFuture<Result<(), Status>> {
        let fs = Rc::clone(self);
        Box::pin(async move { fs.flush(Position(position)).await })
    }

    /// Whether each of these cores' logs is durable up to the position beside it.
    pub(super) fn is_durable(&self, last: &[(u16, u64)]) -> bool {
        last.iter().all(|&(core, position)| self.shared.durable(core) >= position)
    }

    /// Makes each of these cores' logs durable up to the position beside it, all at once.
    pub(super) async fn flush_all(&self, last: Vec<(u16, u64)>) -> Result<(), Status> {
        let flushes = last.into_iter().filter(|&(core, position)| self.shared.durable(core) < position);
        let flushes = flushes.map(|(core, position)| async move {
            if core == self.core {
                self.flush(Position(position)).await
            } else {
                self.peers.flush(self.shared.index, core, position).await
            }
        });
        let results = join_all(flushes).await;
        if self.shared.is_poisoned() {
            return Err(Status::Io);
        }
        results.into_iter().collect()
    }
}
