//! Read-ahead: a file that is read from front to back is fetched before it is asked for.
//!
//! Caller: READ. A small table of streams per core, by inode; a stream's reads may come a little out
//! of order, as a client's connections race. What a stream finds in memory anyway costs one look.

use super::column::{Fs, Scratch};
use super::read::{self, Want};
use crate::inode::Ino;
use cache::extent::Extent;

/// The streams of a core.
pub(super) struct Streams {
    slots: Box<[Stream]>,
}

/// Where a file was read last.
#[derive(Clone, Copy, Default)]
struct Stream {
    ino: u64,
    /// Where the furthest read ended.
    end: u64,
    /// Fetched or in memory up to here; 0 while there was no need to fetch.
    ahead: u64,
}

impl Default for Streams {
    fn default() -> Streams {
        Streams { slots: vec![Stream::default(); STREAMS].into() }
    }
}

impl Streams {
    /// Notes a read of `[offset, end)` and answers the range to fetch, if it is time. `missed` tells
    /// that the read waits for the disk.
    fn next(&mut self, ino: Ino, offset: u64, end: u64, missed: bool) -> Option<(u64, u64)> {
        let slot = &mut self.slots[ino.0 as usize % STREAMS];
        let is_sequential = slot.ino == ino.0 && offset.abs_diff(slot.end) <= DISORDER_BYTES;
        if !is_sequential {
            *slot = Stream { ino: ino.0, end, ahead: 0 };
            return None;
        }
        slot.end = slot.end.max(end);
        let is_cold = missed || slot.ahead > slot.end;
        if !is_cold || slot.ahead > slot.end + AHEAD_BYTES / 2 {
            return None;
        }
        let from = slot.ahead.max(slot.end);
        slot.ahead = slot.end.saturating_add(AHEAD_BYTES);
        Some((from, slot.ahead))
    }

    /// The range was in memory: the stream is left alone until it misses again.
    fn is_warm(&mut self, ino: Ino) {
        let slot = &mut self.slots[ino.0 as usize % STREAMS];
        if slot.ino == ino.0 {
            slot.ahead = 0;
        }
    }
}

impl Fs {
    /// A read of `[want.offset, end)` is on its way: fetches what will be asked for next.
    pub(super) fn read_ahead(&self, want: &Want, end: u64, missed: bool) {
        let next = self.streams.borrow_mut().next(want.id.ino, want.offset, end, missed);
        let Some((from, to)) = next else { return };
        let count = u32::try_from(to - from).unwrap_or(u32::MAX);
        let mut scratch = Scratch::default();
        // What goes wrong here goes wrong again for whoever really reads it.
        if read::tile(self, &Want { offset: from, count, ..*want }, &mut scratch).is_err() {
            return;
        }
        let mut pieces = Vec::new();
        let missing: Vec<Extent> = scratch
            .tiled
            .iter()
            .map(|(_, extent)| *extent)
            .filter(|extent| !self.volume.read(extent, &mut pieces))
            .collect();
        if missing.is_empty() {
            self.streams.borrow_mut().is_warm(want.id.ino);
        } else {
            self.volume.prefetch(missing);
        }
    }
}

/// Streams that a core tells apart.
const STREAMS: usize = 256;
/// How far from the last read the next one of a stream may begin.
const DISORDER_BYTES: u64 = 4 << 20;
/// How far ahead a stream is fetched.
const AHEAD_BYTES: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_stream_that_misses_is_fetched_in_large_steps() {
        let mut streams = Streams::default();
        assert_eq!(streams.next(Ino(1), 0, MIB, true), None, "one read is no stream");
        assert_eq!(streams.next(Ino(1), MIB, 2 * MIB, true), Some((2 * MIB, 6 * MIB)));
        assert_eq!(streams.next(Ino(1), 3 * MIB, 4 * MIB, false), Some((6 * MIB, 8 * MIB)));
        assert_eq!(streams.next(Ino(1), 2 * MIB, 3 * MIB, false), None, "out of order, and fetched already");
        assert_eq!(streams.next(Ino(1), 4 * MIB, 5 * MIB, false), None);
        assert_eq!(streams.next(Ino(1), 5 * MIB, 6 * MIB, false), Some((8 * MIB, 10 * MIB)));
    }

    #[test]
    fn a_stream_in_memory_and_random_reads_fetch_nothing() {
        let mut streams = Streams::default();
        for step in 0..20 {
            assert_eq!(streams.next(Ino(1), step * MIB, (step + 1) * MIB, false), None);
            assert_eq!(streams.next(Ino(2), step * 77 % 20 * 64 * MIB, step * 77 % 20 * 64 * MIB + 4096, true), None);
        }
        streams.next(Ino(1), 20 * MIB, 21 * MIB, true);
        streams.is_warm(Ino(1));
        assert_eq!(streams.next(Ino(1), 21 * MIB, 22 * MIB, false), None);
    }
}
