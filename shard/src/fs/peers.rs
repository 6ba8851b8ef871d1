//! What cores ask of each other's logs: a file's records may lie in several of them, and COMMIT answers
//! for all; and what only one core's log still needs keeps segments from everybody.
//!
//! Callers: COMMIT, stable truncates, the checkpoint, the cleaner. The doors of a core wire
//! [`PeerLogs`] through its mailbox to the other core, which calls [`Fs::serve_peer`].

use super::checkpoint;
use super::column::Fs;
use crate::status::Status;
use cache::log::Position;
use cache::world::LocalFuture;
use futures_util::future::join_all;
use std::rc::Rc;

/// What a core asks of another one's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogAsk {
    /// To be durable up to this position.
    Flush(u64),
    /// To be folded: then no replay keeps the segments that it has left.
    Fold,
}

/// The way to the other cores.
pub trait PeerLogs {
    /// Asks it of `core` and its log of the filesystem with number `filesystem`; answers what
    /// [`Fs::serve_peer`] answered there.
    fn ask(&self, filesystem: u32, core: u16, ask: LogAsk) -> LocalFuture<Result<(), Status>>;
}

/// For a filesystem that one core serves: there is nobody to ask.
pub struct SingleCore;

impl PeerLogs for SingleCore {
    fn ask(&self, _filesystem: u32, _core: u16, _ask: LogAsk) -> LocalFuture<Result<(), Status>> {
        Box::pin(async { Err(Status::ServerFault) })
    }
}

impl Fs {
    /// Another core needs something of this core's log.
    pub fn serve_peer(self: &Rc<Fs>, ask: LogAsk) -> LocalFuture<Result<(), Status>> {
        let fs = Rc::clone(self);
        Box::pin(async move {
            match ask {
                LogAsk::Flush(position) => fs.flush(Position(position)).await,
                LogAsk::Fold => checkpoint::fold_all(&fs).await,
            }
        })
    }

    /// Asks it of `core`, which may be this one.
    fn ask(self: &Rc<Fs>, core: u16, ask: LogAsk) -> LocalFuture<Result<(), Status>> {
        if core == self.core { self.serve_peer(ask) } else { self.peers.ask(self.shared.index, core, ask) }
    }

    /// Whether each of these cores' logs is durable up to the position beside it.
    pub(super) fn is_durable(&self, last: &[(u16, u64)]) -> bool {
        last.iter().all(|&(core, position)| self.shared.durable(core) >= position)
    }

    /// Makes each of these cores' logs durable up to the position beside it, all at once.
    pub(super) async fn flush_all(self: &Rc<Fs>, last: Vec<(u16, u64)>) -> Result<(), Status> {
        let flushes = last.into_iter().filter(|&(core, position)| self.shared.durable(core) < position);
        let flushes = flushes.map(|(core, position)| self.ask(core, LogAsk::Flush(position)));
        let results = join_all(flushes).await;
        if self.shared.is_poisoned() {
            return Err(Status::Io);
        }
        results.into_iter().collect()
    }

    /// Folds what each core's log holds now, all at once.
    pub(super) async fn fold_everywhere(self: &Rc<Fs>) -> Result<(), Status> {
        let folds = (0..self.shared.options.cores).map(|core| self.ask(core, LogAsk::Fold));
        join_all(folds).await.into_iter().collect()
    }
}
