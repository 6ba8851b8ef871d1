//! Memory of the block caches, made ready before a core needs it. The kernel clears what is first
//! touched, 2 MiB at a time, while whoever touches it waits; here that is a thread of the lowest
//! priority, for all cores.
//!
//! Caller: [`super::server`]. Promises: no core waits for it; where nothing is ready, the core touches
//! the memory itself.

use cache::block::Arena;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// The running thread.
pub(crate) struct Preparer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Preparer {
    /// Starts it, over the arenas of all cores.
    pub(crate) fn spawn(arenas: Vec<Arena>) -> io::Result<Preparer> {
        let stop = Arc::new(AtomicBool::new(false));
        let own = stop.clone();
        let thread = std::thread::Builder::new().name("basalt-memory".to_owned());
        let thread = thread.spawn(move || run(&arenas, &own))?;
        Ok(Preparer { stop, thread })
    }

    /// Ends it after the slab at hand.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        let _ = self.thread.join();
    }
}

fn run(arenas: &[Arena], stop: &AtomicBool) {
    // Where it stays as it is, it takes more from the cores while they have much to do.
    let _ = crate::system::step_back(NICE);
    arenas.iter().for_each(|arena| arena.wake_to_prepare(std::thread::current()));
    let mut worked = true;
    while !stop.load(Ordering::Acquire) {
        if !worked {
            std::thread::park();
        }
        // One slab for each core in turn.
        worked = arenas.iter().filter(|arena| arena.prepare()).count() > 0;
    }
}

/// The lowest priority that there is.
const NICE: i32 = 19;

#[cfg(test)]
mod tests {
    use super::*;
    use cache::block::CHUNK_BYTES;
    use std::time::{Duration, Instant};

    #[test]
    fn what_is_taken_is_made_up_for_and_the_thread_ends_when_it_is_told() {
        let arenas = [Arena::new(80 << 20), Arena::new(4 << 20)];
        let preparer = Preparer::spawn(arenas.to_vec()).unwrap();
        let ready = |least: usize| {
            let deadline = Instant::now() + Duration::from_secs(60);
            while arenas[0].bytes_ready() < least {
                assert!(Instant::now() < deadline, "nothing was prepared");
                std::thread::yield_now();
            }
        };
        ready(10 << 20);
        let taken: Vec<_> = (0..(30 << 20) / CHUNK_BYTES).map(|_| arenas[0].take().unwrap()).collect();
        ready(30 << 20);
        assert_eq!(arenas[1].bytes_ready(), 2 << 20);
        drop(taken);
        preparer.stop();
    }
}
