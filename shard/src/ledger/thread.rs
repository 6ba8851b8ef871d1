//! The ledger's thread: drains the lanes of all cores, one transaction per round.
//!
//! Caller: the daemon. While one transaction is flushed the next batch gathers; that is all there is
//! to group commit. Cores stop before their ledger does.

use super::apply::Ledger;
use super::port::Hub;
use std::sync::Arc;
use std::thread::JoinHandle;

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
    loop {
        turn += 1;
        if hub.pump(&mut ledger, turn) {
            continue;
        }
        if hub.is_closing() {
            return ledger;
        }
        hub.sleep();
    }
}
