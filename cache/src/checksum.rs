//! CRC32C (Castagnoli), as the log's frames have it. Callers: the frames' codec, the blocks.

use crc_fast::{CrcAlgorithm, Digest};

/// The checksum of `bytes`.
#[inline]
pub fn crc32c(bytes: &[u8]) -> u32 {
    // The upper half of the result is of no use to sums of 32 bits.
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// Another checksum than [`crc32c`], by the polynomial of ISO 3309: of bytes that carry CRC32C themselves. Bytes and the
/// CRC32C behind them can be replaced by others of the same length and theirs, and a CRC32C around both stays what it was.
#[inline]
pub fn crc32(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, bytes) as u32
}

/// The checksum of `parts`, one behind the other.
pub(crate) fn crc32c_of(parts: &[&[u8]]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Rng;

    #[test]
    fn another_implementation_agrees_at_every_length_and_alignment() {
        let mut rng = Rng::new(1);
        let bytes: Vec<u8> = (0..10_000).map(|_| rng.below(256) as u8).collect();
        for length in (0..600).chain([1023, 1024, 1025, 4095, 4096, 4097, 9000]) {
            let start = rng.below(64) as usize;
            let bytes = &bytes[start..start + length];
            assert_eq!(crc32c(bytes), crc32c::crc32c(bytes), "{length} bytes from {start} on");
            let (first, second) = bytes.split_at(length / 3);
            assert_eq!(crc32c_of(&[first, second]), crc32c(bytes), "{length} bytes in two parts");
        }
    }
}
