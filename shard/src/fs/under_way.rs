//! Requests that set a length, so that one that came twice sets it once.
//!
//! Callers: create, setattr. A length is set in the log, and a request may come again on another connection, whose core
//! knows nothing of the first. Where both set it, the later one would cut what was written after the earlier was
//! answered: a core may be slow. So the same request is under way once ([`UnderWay::begin`]). What the one that
//! waited does then: where the ledger does a step first, the ledger's stored answer tells that it is a repetition;
//! of a length alone the answer is kept here, while the server runs ([`UnderWay::known`]).

#![expect(
    clippy::disallowed_types,
    reason = "the same request on two cores meets here; taken by requests that set a length"
)]

use super::column::Fs;
use super::filesystem::Shared;
use super::setattr::SetattrDone;
use crate::ledger::command::ReplayKey;
use crate::status::Status;
use crossbeam::utils::CachePadded;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The requests that are under way, and the last answers. Striped, so that cores seldom meet whose requests are
/// different ones.
pub struct Requests([CachePadded<Mutex<Stripe>>; STRIPES]);

#[derive(Default)]
struct Stripe {
    under_way: HashSet<ReplayKey>,
    answers: VecDeque<(ReplayKey, Resized)>,
}

type Resized = Result<SetattrDone, Status>;

impl Requests {
    fn stripe(&self, key: &ReplayKey) -> MutexGuard<'_, Stripe> {
        self.0[(key.arguments ^ u64::from(key.xid)) as usize % STRIPES].lock()
    }
}

impl Default for Requests {
    fn default() -> Requests {
        Requests(std::array::from_fn(|_| CachePadded::default()))
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}

/// A request that is under way. It is over when this is dropped.
pub(super) struct UnderWay {
    shared: Arc<Shared>,
    key: Option<ReplayKey>,
}

impl UnderWay {
    /// Begins: at once, or when the same request is over that is under way. One without a key is like no other.
    pub(super) async fn begin(fs: &Fs, key: Option<ReplayKey>) -> UnderWay {
        if let Some(key) = key {
            while !fs.shared.under_way.stripe(&key).under_way.insert(key) {
                fs.world.sleep(LOOK_PAUSE).await;
            }
        }
        UnderWay { shared: Arc::clone(&fs.shared), key }
    }

    /// What was answered to the same request, if that was kept.
    pub(super) fn known(&self) -> Option<Resized> {
        let key = self.key?;
        let stripe = self.shared.under_way.stripe(&key);
        stripe.answers.iter().rev().find(|(of, _)| *of == key).map(|(_, answer)| *answer)
    }

    /// Keeps the answer. What failed with the disk may be tried again.
    pub(super) fn keep(&self, answer: &Resized) {
        let Some(key) = self.key.filter(|_| !matches!(answer, Err(Status::Io))) else { return };
        let mut stripe = self.shared.under_way.stripe(&key);
        if stripe.answers.len() == ANSWERS_MAX {
            stripe.answers.pop_front();
        }
        stripe.answers.push_back((key, *answer));
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.shared.under_way.stripe(&key).under_way.remove(&key);
        }
    }
}

/// Between two looks at a request on another core. It takes as long as a flush.
const LOOK_PAUSE: Duration = Duration::from_millis(1);
const STRIPES: usize = 64;
/// Of a stripe.
const ANSWERS_MAX: usize = 128;
