//! Extents: which bytes of the log hold which bytes of a file. Pure; does no I/O.
//!
//! Callers: the filesystem's verbs (live extents not yet in the ledger), the ledger (extents at
//! rest), replay and verify. Extents of a file tile `[0, size)` exactly: a hole is a record, and
//! "no extent found" is corruption, never zeros.

use std::collections::BTreeMap;

/// Bytes of a log block: the unit of alignment, of checksums and of verified flags.
pub const BLOCK_BYTES: usize = 4096;

/// Names a log segment. Given out once and never again; the slot file that holds it is reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

/// Where the bytes of an extent are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: the bytes are zeros.
    Hole,
    /// In the log.
    Log {
        /// The segment.
        segment: SegmentId,
        /// Block of the segment with the frame header, which holds the checksum of each payload block.
        frame: u32,
        /// Block of the segment with the first byte.
        block: u32,
        /// Offset of the first byte within `block`, below [`BLOCK_BYTES`].
        skew: u16,
    },
}

/// A run of a file's bytes. Its file offset is its key in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Length in bytes, above 0.
    pub bytes: u64,
    /// Where the bytes are.
    pub place: Place,
    /// Log sequence number of the write that made these bytes. Survives a move by the cleaner.
    pub version: u64,
    /// Log sequence number of the record that put this extent into the map (a move has its own);
    /// 0 when it was read from the ledger.
    pub lsn: u64,
}

impl Extent {
    /// Bytes of the log that it keeps from being used again: those of all blocks that it touches.
    pub fn log_bytes(&self) -> u64 {
        match self.place {
            Place::Hole => 0,
            Place::Log { skew, .. } => (u64::from(skew).saturating_add(self.bytes))
                .div_ceil(BLOCK_BYTES as u64)
                .saturating_mul(BLOCK_BYTES as u64),
        }
    }

    /// The part without the first `bytes`. `bytes` is below the length.
    pub fn tail(self, bytes: u64) -> Extent {
        assert!(bytes < self.bytes, "an extent is never empty");
        Extent { bytes: self.bytes - bytes, place: self.place.advanced(bytes), ..self }
    }

    /// The first `bytes`. `bytes` is above 0 and at most the length.
    pub fn head(self, bytes: u64) -> Extent {
        assert!(bytes > 0 && bytes <= self.bytes, "an extent is never empty");
        Extent { bytes, ..self }
    }
}

impl Place {
    /// Where the byte is that lies `bytes` further. Saturates where a hostile place would overflow:
    /// what lies outside a frame is refused when it is read.
    pub fn advanced(self, bytes: u64) -> Place {
        match self {
            Place::Hole => Place::Hole,
            Place::Log { segment, frame, block, skew } => {
                let at = u64::from(skew).saturating_add(bytes);
                let blocks = u32::try_from(at / BLOCK_BYTES as u64).unwrap_or(u32::MAX);
                let skew = (at % BLOCK_BYTES as u64) as u16;
                Place::Log { segment, frame, block: block.saturating_add(blocks), skew }
            }
        }
    }
}

/// Extents of one file by file offset, never overlapping. The newest insertion wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtentMap {
    extents: BTreeMap<u64, Extent>,
}

impl ExtentMap {
    /// An empty map.
    pub fn new() -> ExtentMap {
        ExtentMap::default()
    }

    /// Puts `extent` at `offset`: it takes the place of whatever it covers, wholly or in part.
    /// `offset + extent.bytes` does not overflow.
    pub fn insert(&mut self, offset: u64, extent: Extent) {
        assert!(extent.bytes > 0, "an extent is never empty");
        let end = offset.checked_add(extent.bytes).expect("the caller bounds file offsets");
        // The usual case, appending: nothing at or after `offset`.
        if self.end() > offset {
            self.clear(offset, end);
        }
        self.extents.insert(offset, extent);
    }

    /// Drops everything at and after `size`.
    pub fn cut(&mut self, size: u64) {
        self.extents.split_off(&size);
        if let Some((&start, &extent)) = self.extents.last_key_value()
            && start + extent.bytes > size
        {
            self.extents.insert(start, extent.head(size - start));
        }
    }

    /// Drops what `[start, end)` covers; extents that reach out of it are trimmed.
    pub fn clear(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        if let Some((&left, &extent)) = self.extents.range(..start).next_back()
            && left + extent.bytes > start
        {
            self.extents.insert(left, extent.head(start - left));
            if left + extent.bytes > end {
                self.extents.insert(end, extent.tail(end - left));
            }
        }
        while let Some((&inner, &extent)) = self.extents.range(start..end).next() {
            self.extents.remove(&inner);
            if inner + extent.bytes > end {
                self.extents.insert(end, extent.tail(end - inner));
            }
        }
    }

    /// What `[start, end)` holds, in order, clipped to it. Gaps are skipped.
    pub fn range(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, Extent)> + '_ {
        let first = self
            .extents
            .range(..start)
            .next_back()
            .filter(|(left, extent)| *left + extent.bytes > start && end > start)
            .map(|(&left, &extent)| (start, extent.tail(start - left)));
        let rest = self.extents.range(start..end.max(start)).map(|(&offset, &extent)| (offset, extent));
        first.into_iter().chain(rest).map(move |(offset, extent)| (offset, extent.head(extent.bytes.min(end - offset))))
    }

    /// Drops every extent whose `lsn` is at most the given one: the ledger has it.
    pub fn remove_up_to(&mut self, lsn: u64) {
        self.extents.retain(|_, extent| extent.lsn > lsn);
    }

    /// All extents, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Extent)> + '_ {
        self.extents.iter().map(|(&offset, &extent)| (offset, extent))
    }

    /// Number of extents.
    pub fn len(&self) -> usize {
        self.extents.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// Where the last extent ends; 0 when there is none.
    pub fn end(&self) -> u64 {
        self.extents.last_key_value().map_or(0, |(&start, extent)| start + extent.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Rng;

    /// Every byte of a small file: the version that wrote it and where it lies in the log.
    type Model = Vec<Option<(u64, u64)>>;

    const FILE_BYTES: u64 = 300;

    fn extent(version: u64, at: u64, bytes: u64) -> Extent {
        let place = Place::Log { segment: SegmentId(version), frame: 0, block: 1, skew: 0 }.advanced(at);
        Extent { bytes, place, version, lsn: version }
    }

    /// The byte of the log that a place names.
    fn log_byte(place: Place) -> u64 {
        match place {
            Place::Hole => 0,
            Place::Log { block, skew, .. } => (u64::from(block) - 1) * BLOCK_BYTES as u64 + u64::from(skew),
        }
    }

    fn check(map: &ExtentMap, model: &Model, seed: u64) {
        let mut seen: Model = vec![None; model.len()];
        let mut last = 0;
        for (offset, extent) in map.iter() {
            assert!(offset >= last, "overlap, seed {seed}");
            last = offset + extent.bytes;
            for byte in 0..extent.bytes {
                seen[(offset + byte) as usize] = Some((extent.version, log_byte(extent.place.advanced(byte))));
            }
        }
        assert_eq!(&seen, model, "seed {seed}");
        assert_eq!(map.end(), model.iter().rposition(Option::is_some).map_or(0, |last| last as u64 + 1), "seed {seed}");
        assert_eq!(map.len(), map.iter().count());
    }

    fn check_range(map: &ExtentMap, model: &Model, start: u64, end: u64, seed: u64) {
        let mut seen = 0;
        for (offset, extent) in map.range(start, end) {
            assert!(offset >= start && offset + extent.bytes <= end, "clipped, seed {seed}");
            for byte in 0..extent.bytes {
                let wanted = Some((extent.version, log_byte(extent.place.advanced(byte))));
                assert_eq!(model[(offset + byte) as usize], wanted, "seed {seed}");
                seen += 1;
            }
        }
        let wanted = if start < end { &model[start as usize..end as usize] } else { &[] };
        assert_eq!(seen, wanted.iter().flatten().count(), "nothing is left out, seed {seed}");
    }

    #[test]
    fn the_map_holds_what_an_array_of_bytes_would() {
        for seed in 0..400 {
            let mut rng = Rng::new(seed);
            let mut map = ExtentMap::new();
            let mut model: Model = vec![None; FILE_BYTES as usize];
            for version in 1..80 {
                let start = rng.below(FILE_BYTES);
                let end = start + 1 + rng.below(FILE_BYTES - start);
                match rng.below(10) {
                    0 => {
                        map.cut(start);
                        model[start as usize..].fill(None);
                    }
                    1 => {
                        map.clear(start, end);
                        model[start as usize..end as usize].fill(None);
                    }
                    2 => {
                        let lsn = rng.below(version);
                        map.remove_up_to(lsn);
                        model
                            .iter_mut()
                            .filter(|byte| byte.is_some_and(|(v, _)| v <= lsn))
                            .for_each(|byte| *byte = None);
                    }
                    _ => {
                        let at = rng.below(3 * BLOCK_BYTES as u64);
                        map.insert(start, extent(version, at, end - start));
                        for byte in start..end {
                            model[byte as usize] = Some((version, at + byte - start));
                        }
                    }
                }
                check(&map, &model, seed);
                check_range(&map, &model, rng.below(FILE_BYTES), rng.below(FILE_BYTES + 1), seed);
            }
        }
    }

    #[test]
    fn a_tail_moves_on_by_blocks_and_bytes() {
        let tail = extent(1, 4000, 10_000).tail(5000);
        assert_eq!(tail.bytes, 5000);
        assert_eq!(tail.place, Place::Log { segment: SegmentId(1), frame: 0, block: 3, skew: 808 });
        let hole = Extent { bytes: 10, place: Place::Hole, version: 1, lsn: 1 };
        assert_eq!(hole.tail(4), Extent { bytes: 6, ..hole });
        assert_eq!(hole.head(4), Extent { bytes: 4, ..hole });
    }

    #[test]
    fn a_hostile_place_saturates() {
        let place = Place::Log { segment: SegmentId(1), frame: u32::MAX, block: u32::MAX, skew: u16::MAX };
        let Place::Log { block, skew, .. } = place.advanced(u64::MAX) else { panic!("still in the log") };
        assert_eq!(block, u32::MAX);
        assert!(usize::from(skew) < BLOCK_BYTES);
    }
}
