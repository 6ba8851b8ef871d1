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
    /// Bytes read since the stream began.
    run: u64,
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
            *slot = Stream { ino: ino.0, end, ahead: 0, run: 0 };
            return None;
        }
        slot.end = slot.end.max(end);
        slot.run = slot.run.saturating_add(end.saturating_sub(offset));
        let window = slot.run.min(AHEAD_BYTES_MAX);
        let is_cold = missed || slot.ahead > slot.end;
        if !is_cold || slot.run < RUN_BYTES_MIN || slot.ahead > slot.end.saturating_add(window / 2) {
            return None;
        }
        let from = slot.ahead.max(slot.end);
        slot.ahead = slot.end.saturating_add(window);
        (from < slot.ahead).then_some((from, slot.ahead))
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
/// How far from the last read the next one of a stream may begin: what a client has in flight.
const DISORDER_BYTES: u64 = 16 << 20;
/// A shorter run is not fetched ahead.
const RUN_BYTES_MIN: u64 = 128 << 10;
/// How far ahead a stream is fetched: as far as it has run, and at most this.
const AHEAD_BYTES_MAX: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_stream_that_misses_is_fetched_as_far_ahead_as_it_has_run() {
        let mut streams = Streams::default();
        assert_eq!(streams.next(Ino(1), 100 * MIB, 101 * MIB, true), None, "one read is no stream");
        assert_eq!(streams.next(Ino(1), 101 * MIB, 102 * MIB, true), Some((102 * MIB, 103 * MIB)));
        assert_eq!(streams.next(Ino(1), 102 * MIB, 103 * MIB, true), Some((103 * MIB, 105 * MIB)));
        assert_eq!(streams.next(Ino(1), 104 * MIB, 105 * MIB, true), Some((105 * MIB, 108 * MIB)));
        assert_eq!(streams.next(Ino(1), 103 * MIB, 104 * MIB, false), None, "out of order, and fetched already");
        assert_eq!(streams.next(Ino(1), 105 * MIB, 106 * MIB, false), Some((108 * MIB, 111 * MIB)));
        for step in 106..160 {
            streams.next(Ino(1), step * MIB, (step + 1) * MIB, true);
        }
        let ahead = streams.slots[1].ahead - streams.slots[1].end;
        assert!((AHEAD_BYTES_MAX / 2..=AHEAD_BYTES_MAX).contains(&ahead), "{ahead}");
    }

    #[test]
    fn files_of_one_place_are_no_stream_together() {
        let mut streams = Streams::default();
        for step in 0..20 {
            let ino = Ino(1 + step % 2 * STREAMS as u64);
            assert_eq!(streams.next(ino, step * MIB, (step + 1) * MIB, true), None);
        }
    }

    #[test]
    fn a_stream_in_memory_and_random_reads_fetch_nothing() {
        let mut streams = Streams::default();
        for step in 0..20 {
            assert_eq!(streams.next(Ino(1), step * MIB, (step + 1) * MIB, false), None);
            assert_eq!(streams.next(Ino(2), step * 77 % 20 * 64 * MIB, step * 77 % 20 * 64 * MIB + 4096, true), None);
        }
        streams.next(Ino(1), 20 * MIB, 21 * MIB, true);
        streams.is_warm(Ino(1 + STREAMS as u64));
        assert!(streams.slots[1].ahead > 0, "another file in its place was warm");
        streams.is_warm(Ino(1));
        assert_eq!(streams.next(Ino(1), 21 * MIB, 22 * MIB, false), None);
    }
}
