//! What tests write: every block of 4 KiB says which file, which offset and which version it is, so that a block
//! that is old, foreign or misplaced is known when it is read. Around that, bytes that do not compress.

use crate::failure::{Failure, Outcome};
use std::sync::LazyLock;

/// The unit of everything written, in bytes.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// Where and what a range is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: u64,
    /// In bytes, a multiple of [`BLOCK_BYTES`].
    pub(crate) offset: u64,
    pub(crate) version: u64,
}

/// A buffer of this many bytes, ready for [`stamp`].
pub(crate) fn buffer(bytes: usize) -> Vec<u8> {
    assert!(bytes.is_multiple_of(BLOCK_BYTES));
    NOISE.repeat(bytes / BLOCK_BYTES)
}

/// Makes a buffer from [`buffer`] the content of `place`. Cheap: only the stamps change.
pub(crate) fn stamp(buffer: &mut [u8], place: Place) {
    let blocks = buffer.chunks_exact_mut(BLOCK_BYTES).zip(0..);
    for (block, index) in blocks {
        block[..STAMP_BYTES].copy_from_slice(&stamp_of(place, index));
    }
}

/// Compares all bytes of a range with what [`stamp`] made for `place`.
pub(crate) fn check(range: &[u8], place: Place) -> Outcome<()> {
    for (block, index) in range.chunks(BLOCK_BYTES).zip(0..) {
        let expected = stamp_of(place, index);
        let is_whole = block.len() == BLOCK_BYTES;
        if !is_whole || block[..STAMP_BYTES] != expected || block[STAMP_BYTES..] != NOISE[STAMP_BYTES..] {
            let found = block.get(..STAMP_BYTES).map(Place::of_stamp);
            return Err(Failure::Said(format!("wrong data: block {index} of {place:?} holds {found:?}")));
        }
    }
    Ok(())
}

const STAMP_BYTES: usize = 24;

fn stamp_of(place: Place, index: u64) -> [u8; STAMP_BYTES] {
    let mut stamp = [0; STAMP_BYTES];
    stamp[..8].copy_from_slice(&place.file.to_le_bytes());
    stamp[8..16].copy_from_slice(&(place.offset + index * BLOCK_BYTES as u64).to_le_bytes());
    stamp[16..].copy_from_slice(&place.version.to_le_bytes());
    stamp
}

impl Place {
    fn of_stamp(stamp: &[u8]) -> Self {
        let word = |at: usize| stamp[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Self { file: word(0), offset: word(8), version: word(16) }
    }
}

static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    (0..BLOCK_BYTES / 8).flat_map(|_| random.next().to_le_bytes()).collect()
});

/// A small generator of numbers (xorshift64*): for offsets and noise, not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `end`.
    #[inline]
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { file: 7, offset: 1 << 20, version: 3 };

    #[test]
    fn what_was_stamped_is_found_right() {
        let mut range = buffer(64 << 10);
        stamp(&mut range, PLACE);
        assert!(check(&range, PLACE).is_ok());
    }

    #[test]
    fn another_file_offset_or_version_is_wrong_data() {
        let mut range = buffer(8192);
        stamp(&mut range, PLACE);
        for other in [Place { file: 8, ..PLACE }, Place { offset: 0, ..PLACE }, Place { version: 2, ..PLACE }] {
            assert!(check(&range, other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn one_flipped_byte_anywhere_is_noticed() {
        let mut range = buffer(8192);
        stamp(&mut range, PLACE);
        for at in [0, 23, 24, 4095, 4096, 8191] {
            let mut flipped = range.clone();
            flipped[at] ^= 1;
            assert!(check(&flipped, PLACE).is_err(), "byte {at}");
        }
    }
}
