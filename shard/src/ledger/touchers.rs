//! The threads that take page faults for the cores of one filesystem ([`super::touch`]), and the one that
//! looks whether they are needed: at the start, and then each minute.
//!
//! Caller: [`crate::fs::Filesystem`], from its start to its end.

use super::reader::Reader;
use super::store::Store;
use super::touch::Room;
use super::warm;
use crate::fs::filesystem::Shared;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle, Scope};
use std::time::Duration;

/// The running threads. Dropped, they end.
pub struct Touchers {
    /// Dropped to end them.
    running: Option<Sender<()>>,
    watch: Option<JoinHandle<()>>,
}

impl Touchers {
    /// Starts the thread that looks.
    pub fn spawn(store: Store, shared: Arc<Shared>) -> io::Result<Touchers> {
        let (running, ended) = channel();
        let watch = thread::Builder::new().name("ledger-watch".to_owned()).spawn(move || {
            thread::scope(|scope| watch(scope, &store, &shared, &ended));
        })?;
        Ok(Touchers { running: Some(running), watch: Some(watch) })
    }
}

impl Drop for Touchers {
    fn drop(&mut self) {
        self.running = None;
        if let Some(watch) = self.watch.take() {
            let _ = watch.join();
        }
    }
}

fn watch<'scope>(
    scope: &'scope Scope<'scope, '_>,
    store: &'scope Store,
    shared: &'scope Arc<Shared>,
    ended: &Receiver<()>,
) {
    let touches = &shared.touches;
    let mut threads = 0;
    loop {
        let room = room(store, shared);
        if room == Room::Short && threads == 0 {
            threads = spawn(scope, store, shared);
        }
        // Without a thread nobody may wait.
        let room = if threads == 0 { Room::Enough } else { room };
        if room != touches.room() {
            tracing::info!(directory = %shared.directory.display(), ?room, "memory for the ledger");
            touches.set(room);
        }
        if ended.recv_timeout(LOOK_INTERVAL) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    touches.set(Room::Enough);
    touches.end(threads);
}

/// Answers how many could be started.
fn spawn<'scope>(scope: &'scope Scope<'scope, '_>, store: &'scope Store, shared: &'scope Arc<Shared>) -> usize {
    let start = |index: &usize| {
        let serve = || shared.touches.serve(&mut Reader::new(store, Arc::clone(shared)));
        thread::Builder::new().name(format!("ledger-touch-{index}")).spawn_scoped(scope, serve).is_ok()
    };
    (0..THREADS).filter(start).count()
}

fn room(store: &Store, shared: &Shared) -> Room {
    let bytes = store.tables().file_bytes();
    let fits = match shared.options.ledger_memory {
        Some(memory) => bytes <= memory,
        None => warm::fits(bytes),
    };
    if fits { Room::Enough } else { Room::Short }
}

/// Page faults that the disk works on at a time.
const THREADS: usize = 8;
/// How often it is looked whether the ledger still fits.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
