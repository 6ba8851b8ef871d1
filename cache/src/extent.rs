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
