//! What a core counts: calls, errors, bytes and durations per procedure, connections, memory.
//!
//! Plain cells on the core, no locks and no atomics: a core answers a request for a [`Snapshot`]
//! between two turns, and the administration's thread folds the snapshots of all cores.

use crate::fs::column::Fs;
use cache::log::LogCounters;
use cache::table::CacheCounters;
use std::cell::Cell;

/// Buckets of a histogram of durations.
pub const BUCKETS: usize = 28;

/// A number that only grows, on one core.
#[derive(Debug, Default)]
pub struct Counter(Cell<u64>);

impl Counter {
    /// Adds `count`; wraps after 2^64.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.set(self.0.get().wrapping_add(count));
    }

    /// The sum so far.
    #[inline]
    pub fn value(&self) -> u64 {
        self.0.get()
    }
}

/// A number that rises and falls, on one core.
#[derive(Debug, Default)]
pub struct Gauge(Cell<u64>);

impl Gauge {
    /// Raises it by `count`.
    #[inline]
    pub fn rise(&self, count: u64) {
        self.0.set(self.0.get().saturating_add(count));
    }

    /// Lowers it by `count`.
    #[inline]
    pub fn fall(&self, count: u64) {
        self.0.set(self.0.get().saturating_sub(count));
    }

    /// How high it stands.
    #[inline]
    pub fn value(&self) -> u64 {
        self.0.get()
    }
}

/// Durations by powers of two: bucket `n` counts those below [`bucket_nanos`]`(n)`.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    nanos: Counter,
}

impl Histogram {
    /// Counts one duration.
    #[inline]
    pub fn record(&self, nanos: u64) {
        let bits = (u64::BITS - nanos.leading_zeros()) as usize;
        let bucket = bits.saturating_sub(SHORTEST_BITS).min(BUCKETS - 1);
        self.buckets[bucket].add(1);
        self.nanos.add(nanos);
    }
}

/// The upper bound of a bucket in nanoseconds; the last one has none.
pub fn bucket_nanos(bucket: usize) -> Option<u64> {
    (bucket + 1 < BUCKETS).then(|| 1 << (bucket + SHORTEST_BITS))
}

/// Durations below 2^8 ns share the first bucket; the last bounded one ends at 17 s.
const SHORTEST_BITS: usize = 8;

/// What is counted of one procedure.
#[derive(Debug, Default)]
pub struct Row {
    /// Calls answered, errors included.
    pub calls: Counter,
    /// Calls answered with a status other than success.
    pub errors: Counter,
    /// Bytes of the calls.
    pub bytes_in: Counter,
    /// Bytes of the replies.
    pub bytes_out: Counter,
    /// From the call's last byte received to its reply being queued.
    pub duration: Histogram,
}

impl Row {
    /// Counts an answer of `bytes` bytes.
    #[inline]
    pub fn answered(&self, failed: bool, bytes: usize, nanos: u64) {
        self.calls.add(1);
        self.errors.add(u64::from(failed));
        self.bytes_out.add(bytes as u64);
        self.duration.record(nanos);
    }
}

/// Everything a core counts.
#[derive(Debug)]
pub struct Stats {
    /// By the row of the procedure in the table of all programs.
    pub rows: Box<[Row]>,
    /// Calls answered with an error of the RPC layer (RFC 5531 9).
    pub rpc_errors: Counter,
    /// Connections open now.
    pub connections: Gauge,
    /// Connections taken since the start.
    pub accepted: Counter,
    /// Connections closed because the peer stalled, broke the record marking, or sent what is no call.
    pub dropped: Counter,
    /// Requests that wait for a disk, a log or the ledger.
    pub in_flight: Gauge,
    /// Bytes of requests and replies held in memory.
    pub bytes_held: Gauge,
    /// Times that a connection was not read because a limit was reached.
    pub stalls: Counter,
}

impl Stats {
    /// Zeros for `rows` procedures.
    pub fn new(rows: usize) -> Stats {
        Stats {
            rows: (0..rows).map(|_| Row::default()).collect(),
            rpc_errors: Counter::default(),
            connections: Gauge::default(),
            accepted: Counter::default(),
            dropped: Counter::default(),
            in_flight: Gauge::default(),
            bytes_held: Gauge::default(),
            stalls: Counter::default(),
        }
    }

    /// A copy for another thread, without what cache and filesystems count themselves.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            rows: self.rows.iter().map(RowSnapshot::of).collect(),
            rpc_errors: self.rpc_errors.value(),
            connections: self.connections.value(),
            accepted: self.accepted.value(),
            dropped: self.dropped.value(),
            in_flight: self.in_flight.value(),
            bytes_held: self.bytes_held.value(),
            stalls: self.stalls.value(),
            cache: CacheCounters::default(),
            stores: Vec::new(),
        }
    }
}

/// [`Row`] as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowSnapshot {
    /// See [`Row::calls`].
    pub calls: u64,
    /// See [`Row::errors`].
    pub errors: u64,
    /// See [`Row::bytes_in`].
    pub bytes_in: u64,
    /// See [`Row::bytes_out`].
    pub bytes_out: u64,
    /// Sum of all durations in nanoseconds.
    pub nanos: u64,
    /// Calls by duration; not cumulative. See [`bucket_nanos`].
    pub buckets: [u64; BUCKETS],
}

impl RowSnapshot {
    fn of(row: &Row) -> RowSnapshot {
        RowSnapshot {
            calls: row.calls.value(),
            errors: row.errors.value(),
            bytes_in: row.bytes_in.value(),
            bytes_out: row.bytes_out.value(),
            nanos: row.duration.nanos.value(),
            buckets: std::array::from_fn(|bucket| row.duration.buckets[bucket].value()),
        }
    }

    fn add(&mut self, other: &RowSnapshot) {
        self.calls += other.calls;
        self.errors += other.errors;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.nanos = self.nanos.wrapping_add(other.nanos);
        for (sum, count) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += count;
        }
    }
}

/// [`Stats`] as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// See [`Stats::rows`].
    pub rows: Vec<RowSnapshot>,
    /// See [`Stats::rpc_errors`].
    pub rpc_errors: u64,
    /// See [`Stats::connections`].
    pub connections: u64,
    /// See [`Stats::accepted`].
    pub accepted: u64,
    /// See [`Stats::dropped`].
    pub dropped: u64,
    /// See [`Stats::in_flight`].
    pub in_flight: u64,
    /// See [`Stats::bytes_held`].
    pub bytes_held: u64,
    /// See [`Stats::stalls`].
    pub stalls: u64,
    /// Of the core's block cache.
    pub cache: CacheCounters,
    /// By filesystem.
    pub stores: Vec<StoreSnapshot>,
}

/// What one core counts of one filesystem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreSnapshot {
    /// The filesystem's id.
    pub filesystem: u64,
    /// Bytes read by clients.
    pub read_bytes: u64,
    /// Bytes written by clients.
    pub written_bytes: u64,
    /// Reads that waited for the disk.
    pub read_misses: u64,
    /// Calls that waited for pages of the ledger.
    pub touches: u64,
    /// Checkpoints of the log.
    pub checkpoints: u64,
    /// Bytes moved by the cleaner.
    pub moved_bytes: u64,
    /// Segments that the cleaner could not read.
    pub unreadable_segments: u64,
    /// Reads of bytes or extents that turned out to be damaged.
    pub corrupt: u64,
    /// Of the core's log.
    pub log: LogCounters,
}

impl StoreSnapshot {
    /// What a core counts of this filesystem.
    pub fn of(fs: &Fs) -> StoreSnapshot {
        StoreSnapshot {
            filesystem: fs.shared.id,
            read_bytes: fs.stats.read_bytes.get(),
            written_bytes: fs.stats.written_bytes.get(),
            read_misses: fs.stats.read_misses.get(),
            touches: fs.stats.touches.get(),
            checkpoints: fs.stats.checkpoints.get(),
            moved_bytes: fs.stats.moved_bytes.get(),
            unreadable_segments: fs.stats.unreadable_segments.get(),
            corrupt: fs.stats.corrupt.get(),
            log: fs.log.counters(),
        }
    }

    fn add(&mut self, other: &StoreSnapshot) {
        self.read_bytes += other.read_bytes;
        self.written_bytes += other.written_bytes;
        self.read_misses += other.read_misses;
        self.touches += other.touches;
        self.checkpoints += other.checkpoints;
        self.moved_bytes += other.moved_bytes;
        self.unreadable_segments += other.unreadable_segments;
        self.corrupt += other.corrupt;
        self.log.records += other.log.records;
        self.log.payload_bytes += other.log.payload_bytes;
        self.log.frames += other.log.frames;
        self.log.written_bytes += other.log.written_bytes;
        self.log.flushes += other.log.flushes;
        self.log.flush_waiters += other.log.flush_waiters;
        self.log.segments += other.log.segments;
    }
}

impl Snapshot {
    /// Adds another core's.
    pub fn add(&mut self, other: &Snapshot) {
        self.rows.resize_with(self.rows.len().max(other.rows.len()), RowSnapshot::default);
        for (sum, row) in self.rows.iter_mut().zip(&other.rows) {
            sum.add(row);
        }
        self.rpc_errors += other.rpc_errors;
        self.connections += other.connections;
        self.accepted += other.accepted;
        self.dropped += other.dropped;
        self.in_flight += other.in_flight;
        self.bytes_held += other.bytes_held;
        self.stalls += other.stalls;
        self.cache.hits += other.cache.hits;
        self.cache.misses += other.cache.misses;
        self.cache.fills += other.cache.fills;
        self.cache.evictions += other.cache.evictions;
        self.cache.corrupt_blocks += other.cache.corrupt_blocks;
        other.stores.iter().for_each(|store| self.add_store(store));
    }

    fn add_store(&mut self, other: &StoreSnapshot) {
        match self.stores.iter_mut().find(|store| store.filesystem == other.filesystem) {
            Some(store) => store.add(other),
            None => self.stores.push(*other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_lands_below_the_bound_of_its_bucket() {
        for nanos in [0, 1, 255, 256, 1000, 1 << 20, (1 << 34) - 1, 1 << 34, u64::MAX] {
            let histogram = Histogram::default();
            histogram.record(nanos);
            let bucket = histogram.buckets.iter().position(|count| count.value() == 1).unwrap();
            assert!(bucket_nanos(bucket).is_none_or(|bound| nanos < bound), "{nanos} in {bucket}");
            let below = bucket.checked_sub(1).and_then(bucket_nanos);
            assert!(below.is_none_or(|bound| nanos >= bound), "{nanos} in {bucket}");
        }
    }

    #[test]
    fn the_snapshots_of_two_cores_add_up() {
        let (one, two) = (Stats::new(2), Stats::new(2));
        one.rows[0].calls.add(3);
        two.rows[0].calls.add(4);
        two.rows[1].duration.record(1000);
        two.connections.rise(2);
        let mut sum = one.snapshot();
        sum.stores = vec![StoreSnapshot { filesystem: 7, read_bytes: 1, ..StoreSnapshot::default() }];
        let other = |filesystem| StoreSnapshot { filesystem, read_bytes: 2, ..StoreSnapshot::default() };
        sum.add(&Snapshot { stores: vec![other(7), other(8)], ..two.snapshot() });
        assert_eq!(sum.stores.iter().map(|store| store.read_bytes).collect::<Vec<_>>(), [3, 2]);
        assert_eq!(sum.rows[0].calls, 7);
        assert_eq!(sum.rows[1].nanos, 1000);
        assert_eq!(sum.connections, 2);
    }
}
