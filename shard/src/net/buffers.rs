//! Memory that a core's connections take in turn: receive buffers, small ones for everybody and large
//! ones for records under way, and lists of replies.
//!
//! Callers: a connection's reader and writer. Last in, first out: the buffer used last is the one whose memory
//! is in the processor's cache. Nothing is allocated by a length that a peer claims: a buffer grows
//! by a factor over what has arrived, and is exchanged for a large one only where one lies idle.

use cache::block::Gather;
use std::cell::RefCell;

/// Bytes of a small buffer: what an idle connection holds.
pub(crate) const SMALL_BYTES: usize = 32 * 1024;
/// Growth over what has arrived.
const GROWTH: usize = 4;
/// Idle buffers kept of each size.
const SMALL_KEPT_MAX: usize = 256;
const LARGE_KEPT_MAX: usize = 256;
/// Idle lists of replies kept.
const LISTS_KEPT_MAX: usize = 32;

/// The idle receive buffers and lists of a core.
pub(crate) struct Buffers {
    small: RefCell<Vec<Vec<u8>>>,
    large: RefCell<Vec<Vec<u8>>>,
    lists: RefCell<Vec<Gather>>,
    large_bytes: usize,
    large_kept_max: usize,
}

impl Buffers {
    /// No buffers yet; the large ones have `large_bytes` bytes. Those kept idle take at most
    /// `kept_bytes_max`, or are one.
    pub(crate) fn new(large_bytes: usize, kept_bytes_max: usize) -> Buffers {
        assert!(large_bytes >= SMALL_BYTES * 2);
        let large_kept_max = (kept_bytes_max / large_bytes).clamp(1, LARGE_KEPT_MAX);
        let (small, large, lists) = Default::default();
        Buffers { small, large, lists, large_bytes, large_kept_max }
    }

    /// An empty small buffer.
    pub(crate) fn small(&self) -> Vec<u8> {
        self.small.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(SMALL_BYTES))
    }

    /// Bytes that the buffer for a record of `wanted` bytes will come to take: what one step of growth gives, or
    /// all of a large one, which is then kept. Anything between would be made anew for each such record.
    pub(crate) fn growth(&self, wanted: usize) -> usize {
        let step = self.grown_bytes(0);
        if wanted <= step && self.large.borrow().is_empty() { step } else { self.large_bytes }
    }

    /// An empty list of replies, with memory where one lies idle.
    pub(crate) fn list(&self) -> Gather {
        self.lists.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a list that is empty again.
    pub(crate) fn give_back_list(&self, list: Gather) {
        let mut lists = self.lists.borrow_mut();
        if lists.len() < LISTS_KEPT_MAX {
            lists.push(list);
        }
    }

    /// A buffer of at most `bytes_max` bytes with what `full` holds from `head` on and room for more
    /// of one record.
    pub(crate) fn grown(&self, full: Vec<u8>, head: usize, bytes_max: usize) -> Vec<u8> {
        let arrived = full.get(head..).unwrap_or_default();
        let idle = if bytes_max >= self.large_bytes { self.large.borrow_mut().pop() } else { None };
        let fresh = || Vec::with_capacity(self.grown_bytes(arrived.len()).min(bytes_max));
        let mut buffer = idle.unwrap_or_else(fresh);
        buffer.extend_from_slice(arrived);
        self.give_back(full);
        buffer
    }

    /// Takes a buffer that is no longer needed.
    pub(crate) fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let capacity = buffer.capacity();
        let (list, kept_max) = if capacity >= self.large_bytes {
            (&self.large, self.large_kept_max)
        } else if capacity < SMALL_BYTES * 2 {
            (&self.small, SMALL_KEPT_MAX)
        } else {
            return;
        };
        let mut list = list.borrow_mut();
        if list.len() < kept_max {
            list.push(buffer);
        }
    }

    /// Lets go of the large ones that lie idle.
    pub(crate) fn trim(&self) {
        self.large.take();
    }

    /// Bytes of a large buffer.
    pub(crate) fn large_bytes(&self) -> usize {
        self.large_bytes
    }

    fn grown_bytes(&self, arrived: usize) -> usize {
        arrived.max(SMALL_BYTES).saturating_mul(GROWTH).min(self.large_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = 1 << 20;

    #[test]
    fn a_buffer_grows_by_a_factor_over_what_arrived_and_keeps_it() {
        let buffers = Buffers::new(LARGE, 8 * LARGE);
        let mut buffer = buffers.small();
        buffer.resize(SMALL_BYTES, 7);
        let grown = buffers.grown(buffer, 10, LARGE);
        assert_eq!(grown.capacity(), 4 * SMALL_BYTES);
        assert_eq!(grown, [7].repeat(SMALL_BYTES - 10));
    }

    #[test]
    fn growth_ends_at_the_large_size_and_an_idle_one_is_taken_first() {
        let buffers = Buffers::new(LARGE, 8 * LARGE);
        let full = vec![1; LARGE / 2];
        let large = buffers.grown(full, 0, LARGE);
        assert_eq!(large.capacity(), LARGE);
        buffers.give_back(large);
        let taken = buffers.grown(buffers.small(), 0, LARGE);
        assert_eq!(taken.capacity(), LARGE);
        assert!(taken.is_empty());
    }

    #[test]
    fn a_buffer_grows_no_further_than_it_may_and_its_growth_is_told_before() {
        let buffers = Buffers::new(LARGE, 8 * LARGE);
        assert_eq!(buffers.growth(SMALL_BYTES + 1), 4 * SMALL_BYTES);
        assert_eq!(buffers.growth(5 * SMALL_BYTES), LARGE);
        assert_eq!(buffers.growth(usize::MAX), LARGE);
        let grown = buffers.grown(vec![1; 4 * SMALL_BYTES], 0, 5 * SMALL_BYTES);
        assert_eq!(grown.capacity(), 5 * SMALL_BYTES);
        buffers.give_back(Vec::with_capacity(LARGE));
        assert_eq!(buffers.growth(1), LARGE, "an idle one is there to be taken");
        buffers.trim();
        assert_eq!(buffers.growth(1), 4 * SMALL_BYTES);
    }

    #[test]
    fn the_buffer_of_a_long_record_is_kept_for_the_next() {
        let buffers = Buffers::new(LARGE, 8 * LARGE);
        let wanted = LARGE - 1000;
        let reserved = buffers.growth(wanted);
        let mut buffer = buffers.small();
        while buffer.capacity() < wanted {
            buffer.resize(buffer.capacity(), 0);
            buffer = buffers.grown(buffer, 0, reserved);
        }
        buffers.give_back(buffer);
        assert_eq!(buffers.large.borrow().len(), 1);
        let next = buffers.grown(buffers.small(), 0, buffers.growth(wanted));
        assert_eq!(next.capacity(), LARGE);
    }

    #[test]
    fn no_more_large_buffers_are_kept_than_the_budget_has() {
        let buffers = Buffers::new(LARGE, 2 * LARGE);
        for _ in 0..3 {
            buffers.give_back(Vec::with_capacity(LARGE));
        }
        assert_eq!(buffers.large.borrow().len(), 2);
    }

    #[test]
    fn small_buffers_are_used_again() {
        let buffers = Buffers::new(LARGE, 8 * LARGE);
        let mut buffer = buffers.small();
        buffer.push(1);
        let place = buffer.as_ptr();
        buffers.give_back(buffer);
        let again = buffers.small();
        assert_eq!(again.as_ptr(), place);
        assert!(again.is_empty());
    }
}
