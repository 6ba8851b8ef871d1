//! Requests of two steps that came twice: the ledger does the first step once, and a length in the log is the second.
//!
//! Callers: create, setattr. The second step is of the request that the ledger did the first one for. Where
//! the other one did it too, the later of the two would cut what was written after the earlier was answered: each runs on
//! the core of its own connection, and a core may be slow. So it waits until the first is over ([`UnderWay::others_end`]),
//! and does the step only where the file is still what the first step left: a crash or an error ended the first.

#![expect(
    clippy::disallowed_types,
    reason = "the same request on two cores meets here; taken twice by requests of two steps"
)]

use super::column::Fs;
use super::filesystem::Shared;
use crate::ledger::command::ReplayKey;
use crossbeam::utils::CachePadded;
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The requests of two steps that are under way, and how often each was begun. Striped, so that cores seldom meet whose
/// requests are different ones.
#[derive(Debug)]
pub struct Requests([CachePadded<Mutex<Begun>>; STRIPES]);

type Begun = HashMap<ReplayKey, usize>;

impl Requests {
    fn stripe(&self, key: &ReplayKey) -> MutexGuard<'_, Begun> {
        self.0[(key.arguments ^ u64::from(key.xid)) as usize % STRIPES].lock()
    }
}

impl Default for Requests {
    fn default() -> Requests {
        Requests(std::array::from_fn(|_| CachePadded::default()))
    }
}

/// One that has begun. It is over when this is dropped.
pub(super) struct UnderWay {
    shared: Arc<Shared>,
    key: Option<ReplayKey>,
}

impl UnderWay {
    /// Begins, before the ledger is asked.
    pub(super) fn begin(fs: &Fs, key: Option<ReplayKey>) -> UnderWay {
        if let Some(key) = key {
            *fs.shared.under_way.stripe(&key).entry(key).or_default() += 1;
        }
        UnderWay { shared: Arc::clone(&fs.shared), key }
    }

    /// The ledger has told that this one is a repetition: waits until the same request is under way nowhere else.
    pub(super) async fn others_end(self, fs: &Fs) {
        let Some(key) = self.key else { return };
        let shared = Arc::clone(&self.shared);
        // Two repetitions do not wait for each other.
        drop(self);
        while shared.under_way.stripe(&key).contains_key(&key) {
            fs.world.sleep(LOOK_PAUSE).await;
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let mut requests = self.shared.under_way.stripe(&key);
        if let Some(begun) = requests.get_mut(&key) {
            *begun -= 1;
            if *begun == 0 {
                requests.remove(&key);
            }
        }
    }
}

/// Between two looks at a request on another core. It takes as long as a flush.
const LOOK_PAUSE: Duration = Duration::from_millis(1);
const STRIPES: usize = 64;
