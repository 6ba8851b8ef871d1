//! Answers that were given, so that a replayed request is answered and not done again.
//!
//! Caller: the ledger, which owns the only instance. An answer with an effect is a row of `replies`,
//! written in the same transaction as the effect; the index here only says in which slot. An answer
//! without an effect (a refusal, or nothing to do) is kept in memory alone: a crash in between may
//! let its replay take effect, which is then its first time.

use super::command::{Answer, ReplayKey};
use super::record::meta::Meta;
use std::collections::{HashMap, VecDeque};

/// The index of the ring, and the answers that have no row.
#[derive(Debug)]
pub(super) struct Replies {
    slots: Box<[Option<ReplayKey>]>,
    index: HashMap<ReplayKey, u32>,
    light: HashMap<ReplayKey, Box<Answer>>,
    light_order: VecDeque<ReplayKey>,
}

/// Where an answer is.
pub(super) enum Known {
    /// In this slot of the ring.
    Slot(u32),
    /// Here.
    Light(Box<Answer>),
}

impl Replies {
    /// A ring as large as `meta` says, holding `rows`: slot and key.
    pub(super) fn new(meta: &Meta, rows: impl IntoIterator<Item = (u32, ReplayKey)>) -> Replies {
        let mut replies = Replies {
            slots: vec![None; meta.reply_slots as usize].into_boxed_slice(),
            index: HashMap::new(),
            light: HashMap::new(),
            light_order: VecDeque::new(),
        };
        for (slot, key) in rows {
            replies.occupy(slot, key);
        }
        replies
    }

    /// The answer to `key`, if it was given.
    pub(super) fn find(&self, key: &ReplayKey) -> Option<Known> {
        if let Some(&slot) = self.index.get(key) {
            return Some(Known::Slot(slot));
        }
        let answer = self.light.get(key)?;
        Some(Known::Light(Box::new(Answer { replayed: true, ..**answer })))
    }

    /// Takes the next slot of the ring for `key`; the oldest answer gives way.
    pub(super) fn next_slot(&mut self, meta: &mut Meta, key: ReplayKey) -> u32 {
        let slot = (meta.replies % u64::from(meta.reply_slots)) as u32;
        meta.replies += 1;
        self.occupy(slot, key);
        slot
    }

    /// Keeps an answer that had no effect; the oldest such answer gives way.
    pub(super) fn keep_light(&mut self, key: ReplayKey, answer: &Answer) {
        if self.light.len() >= LIGHT_MAX
            && let Some(oldest) = self.light_order.pop_front()
        {
            self.light.remove(&oldest);
        }
        if self.light.insert(key, Box::new(*answer)).is_none() {
            self.light_order.push_back(key);
        }
    }

    fn occupy(&mut self, slot: u32, key: ReplayKey) {
        let Some(place) = self.slots.get_mut(slot as usize) else { return };
        if let Some(old) = place.replace(key)
            && self.index.get(&old) == Some(&slot)
        {
            self.index.remove(&old);
        }
        self.index.insert(key, slot);
    }
}

/// Answers without an effect that are kept.
const LIGHT_MAX: usize = 2048;
