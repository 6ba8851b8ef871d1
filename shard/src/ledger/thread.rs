//! The ledger's thread: drains the lanes of all cores, one transaction per round.
//!
//! Caller: the daemon. While one transaction is written the next batch gathers; that is all there is
//! to group commit. A checkpoint follows each second in which there was anything, and the end. Cores
//! stop before their ledger does.

use super::apply::Ledger;
use super::port::Hub;
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
    let mut checkpointed = Instant::now();
    loop {
        turn += 1;
        let worked = hub.pump(&mut ledger, turn);
        if ledger.is_behind() && checkpointed.elapsed() >= CHECKPOINT_INTERVAL {
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
        let left = CHECKPOINT_INTERVAL.saturating_sub(checkpointed.elapsed());
        hub.sleep(ledger.is_behind().then_some(left));
    }
}

/// What was committed waits at most so long for a checkpoint to begin.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
