//! The ledger's thread: drains the lanes of all cores, one transaction per round.
//!
//! Caller: the daemon. While one transaction is written the next batch gathers; that is all there is
//! to group commit. When there is nothing more the journal is sealed; a checkpoint follows each second in which there was anything, sooner where there is nothing else
//! to do, and the end. Cores stop before their ledger does.

use super::apply::Ledger;
use super::port::Hub;
use cache::log::SEAL_PAUSE;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The running thread. Dropped, it finishes what was submitted and ends.
pub struct LedgerThread {
    hub: Arc<Hub>,
    running: Option<JoinHandle<Ledger>>,
}

impl LedgerThread {
    /// Starts it.
    pub fn spawn(ledger: Ledger, hub: Arc<Hub>) -> std::io::Result<LedgerThread> {
        let lanes = hub.clone();
        let running = std::thread::Builder::new().name("ledger".to_owned()).spawn(move || run(ledger, &lanes))?;
        Ok(LedgerThread { hub, running: Some(running) })
    }

    /// Finishes what was submitted and ends. `None` when the thread had panicked.
    pub fn stop(mut self) -> Option<Ledger> {
        self.join()
    }

    fn join(&mut self) -> Option<Ledger> {
        self.hub.close();
        self.running.take()?.join().ok()
    }
}

impl Drop for LedgerThread {
    fn drop(&mut self) {
        self.join();
    }
}

fn run(mut ledger: Ledger, hub: &Hub) -> Ledger {
    let mut turn = 0;
    let (mut checkpointed, mut worked_last) = (Instant::now(), Instant::now());
    loop {
        turn += 1;
        let worked = hub.pump(&mut ledger, turn);
        if worked {
            worked_last = Instant::now();
        }
        let interval = if worked_last.elapsed() < IDLE { INTERVAL } else { IDLE_INTERVAL };
        if ledger.is_behind() && checkpointed.elapsed() >= interval {
            checkpointed = Instant::now();
            // A failure is for ever, and was logged: whoever asks next is told.
            ledger.checkpoint().ok();
        }
        if worked {
            continue;
        }
        if hub.is_closing() {
            ledger.settle().ok();
            return ledger;
        }
        if worked_last.elapsed() >= SEAL_PAUSE {
            // As with a checkpoint.
            ledger.seal().ok();
        }
        let has_something_to_do = ledger.looks_at_checkpoint() || ledger.is_behind();
        hub.sleep(has_something_to_do.then_some(IDLE));
    }
}

/// What was committed waits at most so long for a checkpoint to begin, where there is always something to do.
const INTERVAL: Duration = Duration::from_secs(1);
/// And so long where there is not: until its checkpoint is through, a row is looked up in two places.
const IDLE_INTERVAL: Duration = Duration::from_millis(250);
/// The ledger is idle when nothing was asked of it for so long. So often it then looks whether a checkpoint is through.
const IDLE: Duration = SEAL_PAUSE;
