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
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
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
        Touchers::watching(store, shared, LOOK_INTERVAL, room)
    }

    /// The same with another look, and as often as that.
    fn watching(
        store: Store,
        shared: Arc<Shared>,
        interval: Duration,
        room: impl Fn(&Store, &Shared) -> Room + Send + 'static,
    ) -> io::Result<Touchers> {
        let (running, ended) = channel();
        let watch = thread::Builder::new().name("ledger-watch".to_owned()).spawn(move || {
            let is_running = || ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout);
            thread::scope(|scope| watch(scope, &store, &shared, || room(&store, &shared), is_running));
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
    look: impl Fn() -> Room,
    is_running: impl Fn() -> bool,
) {
    let touches = &shared.touches;
    let mut threads = 0;
    loop {
        let room = look();
        if room == Room::Short && threads == 0 {
            threads = spawn(scope, store, shared);
        }
        // Without a thread nobody may wait.
        let room = if threads == 0 { Room::Enough } else { room };
        if room != touches.room() {
            tracing::info!(directory = %shared.directory.display(), ?room, "memory for the ledger");
            touches.set(room);
        }
        if !is_running() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::filesystem::Options;
    use crate::inode::ROOT;
    use crate::ledger::store::{LedgerOptions, RootDirectory};
    use crate::ledger::touch::{Touch, TouchPort};
    use cache::world::Time;
    use futures_util::FutureExt;
    use std::path::Path;
    use std::rc::Rc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    /// Waits, a little at a time, until it is so.
    fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_so() {
            assert!(Instant::now() < deadline, "never: {what}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn cores_wait_while_there_is_too_little_memory_and_no_longer() {
        let root = RootDirectory { mode: 0o755, uid: 0, gid: 0, now: Time::default() };
        let shared = Arc::new(Shared::new(0, 7, Path::new("nowhere"), Options::new(2, root), 1, 1, 0));
        let folder = tempfile::tempdir().unwrap();
        let options = LedgerOptions::new(7, Time::default());
        let (store, _keeper) = Store::open(&folder.path().join("ledger"), &options).unwrap();
        let is_short = Arc::new(AtomicBool::new(false));
        let look = Arc::clone(&is_short);
        let room = move |_: &Store, _: &Shared| if look.load(Ordering::Relaxed) { Room::Short } else { Room::Enough };
        let touchers = Touchers::watching(store, Arc::clone(&shared), Duration::from_millis(1), room).unwrap();
        let port = Rc::new(TouchPort::new(&shared, 0, Box::new(|| {})));
        for round in 0..3 {
            is_short.store(true, Ordering::Relaxed);
            until("short", || shared.touches.room() == Room::Short);
            let mut touched = Box::pin(port.submit(Touch::Extents(ROOT, round << 30)).unwrap());
            until("an answer", || {
                port.deliver();
                touched.as_mut().now_or_never().is_some()
            });
            is_short.store(false, Ordering::Relaxed);
            until("enough", || shared.touches.room() == Room::Enough);
        }
        is_short.store(true, Ordering::Relaxed);
        until("short", || shared.touches.room() == Room::Short);
        drop(touchers);
        assert_eq!(shared.touches.room(), Room::Enough, "nobody waits for threads that have ended");
    }
}
