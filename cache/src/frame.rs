//! A log frame: one header block and up to 512 payload blocks; or a seal, a header without records that says of all
//! frames before it that they were durable. Pure codec, little endian.
//!
//! Callers: the log (encodes), replay, reads and verify (decode). The layout is drawn byte by byte
//! in the project's format document. Decoding is strict: every field is checked, fields that mean
//! nothing are zero, and hostile bytes are an error, never a panic.

use crate::checksum;
use crate::extent::{BLOCK_BYTES, SegmentId};
use crate::world::Time;

/// Most payload blocks of a frame.
pub const FRAME_BLOCKS_MAX: usize = 512;
/// Most records of a frame.
pub const FRAME_RECORDS_MAX: usize = 31;
/// Most payload bytes of one record.
pub const PAYLOAD_MAX: usize = FRAME_BLOCKS_MAX * BLOCK_BYTES;
/// Format version that this code writes, and the only one that it reads.
pub const FRAME_VERSION: u16 = 2;

/// What a record does to its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// New bytes at an offset.
    Data,
    /// A new length, which is the record's `offset`. No payload.
    Truncate,
    /// Bytes moved here by the cleaner; takes effect only where `aux` is still the version.
    Move,
}

/// One record of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Inode number.
    pub ino: u64,
    /// Generation of the inode.
    pub generation: u32,
    /// Log sequence number.
    pub lsn: u64,
    /// File offset of the payload; Truncate: the new length.
    pub offset: u64,
    /// Payload bytes; Truncate: 0.
    pub bytes: u64,
    /// The time that becomes the file's mtime and ctime.
    pub time: Time,
    /// What it does.
    pub kind: RecordKind,
    /// Set-id bits were cleared by this write.
    pub clears_setid: bool,
    /// Offset of the first payload byte within its block.
    pub skew: u16,
    /// First payload block, counted within the frame's payload.
    pub first_block: u16,
    /// Move: version of the bytes moved; otherwise 0.
    pub aux: u64,
}

/// The fields of a frame header beside its records and checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The segment.
    pub segment: SegmentId,
    /// Block of the segment where this header is.
    pub block: u32,
    /// Payload blocks that follow.
    pub payload_blocks: u32,
    /// The lowest log sequence number of its records; 0 in a seal.
    pub lowest_lsn: u64,
    /// Every frame of this segment before this block was durable when this one was written.
    pub durable_to: u32,
    /// The core that wrote it.
    pub core: u16,
    /// Checksum of the previous frame's header in this segment; 0 for the first.
    pub previous: u32,
    /// The filesystem's on-disk identity.
    pub filesystem: u64,
}

/// Why bytes are not a frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Not the magic number: most likely never written.
    Magic,
    /// A format version that this code does not read.
    Version(u16),
    /// The checksum does not match.
    Checksum,
    /// The checksum matches, but a field holds what no writer writes.
    Field,
}

/// A header block that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its fields.
    pub header: Header,
    /// Its own checksum, which the next frame carries as `previous`.
    pub checksum: u32,
    block: &'a [u8; BLOCK_BYTES],
    record_count: usize,
}

impl Header {
    /// Writes the header block and returns its checksum. `records` (none in a seal) and `checksums` (one per payload
    /// block) are within their limits and tell the same story as the header: the log made them.
    pub fn encode(&self, records: &[Record], checksums: &[u32], block: &mut [u8; BLOCK_BYTES]) -> u32 {
        assert!(records.len() <= FRAME_RECORDS_MAX);
        assert!(!records.is_empty() || self.seals());
        assert!(checksums.len() <= FRAME_BLOCKS_MAX);
        assert!(checksums.len() == self.payload_blocks as usize);
        block.fill(0);
        put(block, MAGIC_AT, MAGIC.to_le_bytes());
        put(block, VERSION_AT, FRAME_VERSION.to_le_bytes());
        put(block, COUNT_AT, (records.len() as u16).to_le_bytes());
        put(block, SEGMENT_AT, self.segment.0.to_le_bytes());
        put(block, BLOCK_AT, self.block.to_le_bytes());
        put(block, PAYLOAD_AT, self.payload_blocks.to_le_bytes());
        put(block, LOWEST_AT, self.lowest_lsn.to_le_bytes());
        put(block, DURABLE_AT, self.durable_to.to_le_bytes());
        put(block, CORE_AT, self.core.to_le_bytes());
        put(block, PREVIOUS_AT, self.previous.to_le_bytes());
        put(block, FILESYSTEM_AT, self.filesystem.to_le_bytes());
        for (index, record) in records.iter().enumerate() {
            record.encode(block, RECORDS_AT + index * RECORD_BYTES);
        }
        for (index, checksum) in checksums.iter().enumerate() {
            put(block, CHECKSUMS_AT + 4 * index, checksum.to_le_bytes());
        }
        let checksum = checksum::crc32c(block);
        put(block, CHECKSUM_AT, checksum.to_le_bytes());
        checksum
    }

    /// Whether it may be without records: it says that all before it was durable, and nothing else.
    fn seals(&self) -> bool {
        self.block > 0 && self.durable_to == self.block && self.payload_blocks == 0 && self.lowest_lsn == 0
    }
}

impl Frame<'_> {
    /// Checks a header block.
    pub fn decode(block: &[u8; BLOCK_BYTES]) -> Result<Frame<'_>, FrameError> {
        if u32::from_le_bytes(take(block, MAGIC_AT)) != MAGIC {
            return Err(FrameError::Magic);
        }
        let version = u16::from_le_bytes(take(block, VERSION_AT));
        if version != FRAME_VERSION {
            return Err(FrameError::Version(version));
        }
        let checksum = u32::from_le_bytes(take(block, CHECKSUM_AT));
        if header_checksum(block) != checksum {
            return Err(FrameError::Checksum);
        }
        let record_count = usize::from(u16::from_le_bytes(take(block, COUNT_AT)));
        let header = Header {
            segment: SegmentId(u64::from_le_bytes(take(block, SEGMENT_AT))),
            block: u32::from_le_bytes(take(block, BLOCK_AT)),
            payload_blocks: u32::from_le_bytes(take(block, PAYLOAD_AT)),
            lowest_lsn: u64::from_le_bytes(take(block, LOWEST_AT)),
            durable_to: u32::from_le_bytes(take(block, DURABLE_AT)),
            core: u16::from_le_bytes(take(block, CORE_AT)),
            previous: u32::from_le_bytes(take(block, PREVIOUS_AT)),
            filesystem: u64::from_le_bytes(take(block, FILESYSTEM_AT)),
        };
        let frame = Frame { header, checksum, block, record_count };
        if frame.is_sound() { Ok(frame) } else { Err(FrameError::Field) }
    }

    /// Whether it is a seal: it has no records.
    pub fn is_seal(&self) -> bool {
        self.record_count == 0
    }

    /// Its records, in order.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        (0..self.record_count)
            .map(|index| Record::decode(self.block, index).expect("checked when the frame was decoded"))
    }

    /// Checksum of a payload block, counted within the frame; `None` beyond its payload.
    pub fn payload_checksum(&self, index: u32) -> Option<u32> {
        payload_checksum(self.block, index)
    }

    /// Every rule beside magic, version and checksum.
    fn is_sound(&self) -> bool {
        let header = &self.header;
        if self.record_count > FRAME_RECORDS_MAX {
            return false;
        }
        if header.payload_blocks as usize > FRAME_BLOCKS_MAX || header.durable_to > header.block {
            return false;
        }
        if header.block.checked_add(header.payload_blocks).is_none() {
            return false;
        }
        let records_end = RECORDS_AT + self.record_count * RECORD_BYTES;
        let checksums_end = CHECKSUMS_AT + 4 * header.payload_blocks as usize;
        let unused = [38..40, 52..60, records_end..CHECKSUMS_AT, checksums_end..BLOCK_BYTES];
        if unused.into_iter().any(|range| self.block[range].iter().any(|&byte| byte != 0)) {
            return false;
        }
        if self.is_seal() { header.seals() } else { self.records_are_sound() }
    }

    fn records_are_sound(&self) -> bool {
        let mut next_block = 0;
        let mut lowest = u64::MAX;
        for index in 0..self.record_count {
            let Some(record) = Record::decode(self.block, index) else { return false };
            let Some(end) = record.payload_end() else { return false };
            if end > self.header.payload_blocks {
                return false;
            }
            if record.kind != RecordKind::Truncate {
                if u32::from(record.first_block) < next_block {
                    return false;
                }
                next_block = end;
            }
            lowest = lowest.min(record.lsn);
        }
        lowest == self.header.lowest_lsn
    }
}

impl Record {
    /// The payload block after the record's last, within the frame; `None` when the record
    /// contradicts itself.
    fn payload_end(&self) -> Option<u32> {
        if self.kind == RecordKind::Truncate {
            let empty = self.bytes == 0 && self.skew == 0 && self.first_block == 0;
            return empty.then_some(0);
        }
        if self.bytes == 0 || self.bytes > PAYLOAD_MAX as u64 || usize::from(self.skew) >= BLOCK_BYTES {
            return None;
        }
        self.offset.checked_add(self.bytes)?;
        let blocks = (u64::from(self.skew) + self.bytes).div_ceil(BLOCK_BYTES as u64) as u32;
        Some(u32::from(self.first_block) + blocks)
    }

    fn encode(&self, block: &mut [u8; BLOCK_BYTES], at: usize) {
        assert!(self.payload_end().is_some(), "the log makes only records that it can read back");
        put(block, at, self.ino.to_le_bytes());
        put(block, at + 8, self.lsn.to_le_bytes());
        put(block, at + 16, self.offset.to_le_bytes());
        put(block, at + 24, self.bytes.to_le_bytes());
        put(block, at + 32, self.time.secs.to_le_bytes());
        put(block, at + 40, self.time.nanos.to_le_bytes());
        block[at + 44] = match self.kind {
            RecordKind::Data => 1,
            RecordKind::Truncate => 2,
            RecordKind::Move => 3,
        };
        block[at + 45] = u8::from(self.clears_setid);
        put(block, at + 46, self.skew.to_le_bytes());
        put(block, at + 48, self.first_block.to_le_bytes());
        put(block, at + 52, self.generation.to_le_bytes());
        put(block, at + 56, self.aux.to_le_bytes());
    }

    fn decode(block: &[u8; BLOCK_BYTES], index: usize) -> Option<Record> {
        let at = RECORDS_AT + index * RECORD_BYTES;
        let kind = match block[at + 44] {
            1 => RecordKind::Data,
            2 => RecordKind::Truncate,
            3 => RecordKind::Move,
            _ => return None,
        };
        let nanos = u32::from_le_bytes(take(block, at + 40));
        let aux = u64::from_le_bytes(take(block, at + 56));
        let padding = u16::from_le_bytes(take(block, at + 50));
        if block[at + 45] > 1 || padding != 0 || nanos > NANOS_MAX || (aux != 0 && kind != RecordKind::Move) {
            return None;
        }
        Some(Record {
            ino: u64::from_le_bytes(take(block, at)),
            lsn: u64::from_le_bytes(take(block, at + 8)),
            offset: u64::from_le_bytes(take(block, at + 16)),
            bytes: u64::from_le_bytes(take(block, at + 24)),
            time: Time { secs: i64::from_le_bytes(take(block, at + 32)), nanos },
            kind,
            clears_setid: block[at + 45] == 1,
            skew: u16::from_le_bytes(take(block, at + 46)),
            first_block: u16::from_le_bytes(take(block, at + 48)),
            generation: u32::from_le_bytes(take(block, at + 52)),
            aux,
        })
    }
}

/// Checksum of payload block `index` out of a header block that was checked before; `None` beyond
/// the frame's payload.
pub(crate) fn payload_checksum(checked: &[u8; BLOCK_BYTES], index: u32) -> Option<u32> {
    let payload_blocks = u32::from_le_bytes(take(checked, PAYLOAD_AT));
    let within = index < payload_blocks && (index as usize) < FRAME_BLOCKS_MAX;
    within.then(|| u32::from_le_bytes(take(checked, CHECKSUMS_AT + 4 * index as usize)))
}

/// Checksum of a header block, its own checksum field taken as zero.
fn header_checksum(block: &[u8; BLOCK_BYTES]) -> u32 {
    checksum::crc32c_of(&[&block[..CHECKSUM_AT], &[0; 4], &block[CHECKSUM_AT + 4..]])
}

fn put<const N: usize>(block: &mut [u8; BLOCK_BYTES], at: usize, bytes: [u8; N]) {
    block[at..at + N].copy_from_slice(&bytes);
}

fn take<const N: usize>(block: &[u8; BLOCK_BYTES], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&block[at..at + N]);
    bytes
}

const MAGIC: u32 = u32::from_le_bytes(*b"BSLF");
const MAGIC_AT: usize = 0;
const VERSION_AT: usize = 4;
const COUNT_AT: usize = 6;
const SEGMENT_AT: usize = 8;
const BLOCK_AT: usize = 16;
const PAYLOAD_AT: usize = 20;
const LOWEST_AT: usize = 24;
const DURABLE_AT: usize = 32;
const CORE_AT: usize = 36;
const PREVIOUS_AT: usize = 40;
const FILESYSTEM_AT: usize = 44;
const CHECKSUM_AT: usize = 60;
const RECORDS_AT: usize = 64;
const RECORD_BYTES: usize = 64;
const CHECKSUMS_AT: usize = 2048;
const NANOS_MAX: u32 = 999_999_999;

const _: () = assert!(RECORDS_AT + FRAME_RECORDS_MAX * RECORD_BYTES == CHECKSUMS_AT);
const _: () = assert!(CHECKSUMS_AT + 4 * FRAME_BLOCKS_MAX == BLOCK_BYTES);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Rng;

    fn header(payload_blocks: u32) -> Header {
        Header {
            segment: SegmentId(0x0102_0304_0506_0708),
            block: 0x11_2233,
            payload_blocks,
            lowest_lsn: 40,
            durable_to: 0x10_0000,
            core: 0x5566,
            previous: 0x7788_99aa,
            filesystem: 0xbbcc_ddee_ff00_1122,
        }
    }

    fn data(lsn: u64, first_block: u16, bytes: u64) -> Record {
        Record {
            ino: 9,
            generation: 3,
            lsn,
            offset: 1 << 40,
            bytes,
            time: Time { secs: -5, nanos: 999_999_999 },
            kind: RecordKind::Data,
            clears_setid: true,
            skew: 0,
            first_block,
            aux: 0,
        }
    }

    fn sample() -> (Header, Vec<Record>, Vec<u32>) {
        let truncate =
            Record { kind: RecordKind::Truncate, bytes: 0, offset: 77, clears_setid: false, ..data(41, 0, 0) };
        let moved = Record { kind: RecordKind::Move, aux: 12, skew: 100, ..data(42, 3, 4000) };
        (header(6), vec![data(40, 0, 2 * 4096 + 1), truncate, moved], vec![1, 2, 3, 4, 5, 6])
    }

    fn encoded() -> [u8; BLOCK_BYTES] {
        let (header, records, checksums) = sample();
        let mut block = [0xff; BLOCK_BYTES];
        header.encode(&records, &checksums, &mut block);
        block
    }

    /// Puts the checksum right after a change, so that the rule behind it is what refuses.
    fn sealed(mut block: [u8; BLOCK_BYTES]) -> [u8; BLOCK_BYTES] {
        let checksum = header_checksum(&block);
        put(&mut block, CHECKSUM_AT, checksum.to_le_bytes());
        block
    }

    #[test]
    fn a_record_ends_within_its_frame() {
        let decoded = |payload_blocks: u32, bytes: u64| {
            let mut block = [0; BLOCK_BYTES];
            header(payload_blocks).encode(&[data(40, 0, bytes)], &vec![7; payload_blocks as usize], &mut block);
            Frame::decode(&block).map(|frame| frame.header.payload_blocks)
        };
        for payload_blocks in 1..=4 {
            let bytes = u64::from(payload_blocks) * BLOCK_BYTES as u64;
            assert_eq!(decoded(payload_blocks, bytes), Ok(payload_blocks));
            assert_eq!(decoded(payload_blocks, bytes + 1), Err(FrameError::Field));
        }
    }

    #[test]
    fn a_frame_comes_back_as_it_was() {
        let (header, records, checksums) = sample();
        let mut block = [0; BLOCK_BYTES];
        let checksum = header.encode(&records, &checksums, &mut block);
        let frame = Frame::decode(&block).unwrap();
        assert_eq!(frame.header, header);
        assert_eq!(frame.checksum, checksum);
        assert_eq!(frame.records().collect::<Vec<_>>(), records);
        let read: Vec<u32> = (0..6).filter_map(|index| frame.payload_checksum(index)).collect();
        assert_eq!(read, checksums);
        assert_eq!(frame.payload_checksum(6), None);
    }

    fn seal() -> [u8; BLOCK_BYTES] {
        let mut block = [0xff; BLOCK_BYTES];
        Header { lowest_lsn: 0, durable_to: 0x11_2233, ..header(0) }.encode(&[], &[], &mut block);
        block
    }

    #[test]
    fn a_seal_comes_back_and_says_nothing_else() {
        let whole = seal();
        let frame = Frame::decode(&whole).unwrap();
        assert!(frame.is_seal());
        assert_eq!(frame.records().count(), 0);
        assert_eq!((frame.header.block, frame.header.durable_to), (0x11_2233, 0x11_2233));
        assert!(!Frame::decode(&encoded()).unwrap().is_seal());
        let refused: [(usize, &[u8]); 6] = [
            (PAYLOAD_AT, &[1]),
            (LOWEST_AT, &[1]),
            (DURABLE_AT, &[0x32]),
            (DURABLE_AT, &[0x34]),
            (COUNT_AT, &[1]),
            (RECORDS_AT, &[1]),
        ];
        for (at, bytes) in refused {
            let mut block = whole;
            block[at..at + bytes.len()].copy_from_slice(bytes);
            assert_eq!(Frame::decode(&sealed(block)).unwrap_err(), FrameError::Field, "byte {at}");
        }
        let mut first = whole;
        first[BLOCK_AT..BLOCK_AT + 4].fill(0);
        first[DURABLE_AT..DURABLE_AT + 4].fill(0);
        assert_eq!(Frame::decode(&sealed(first)).unwrap_err(), FrameError::Field, "there is nothing before it");
    }

    #[test]
    fn the_fullest_frame_comes_back() {
        let records: Vec<Record> = (0..31).map(|index| data(40 + index, 16 * index as u16, 16 * 4096)).collect();
        let checksums: Vec<u32> = (0..512).map(|index| index * 77).collect();
        let mut block = [0; BLOCK_BYTES];
        header(512).encode(&records, &checksums, &mut block);
        let frame = Frame::decode(&block).unwrap();
        assert!(frame.records().eq(records));
        assert_eq!(frame.payload_checksum(511), Some(511 * 77));
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let block = encoded();
        assert_eq!(
            &block[..24],
            b"BSLF\x02\x00\x03\x00\x08\x07\x06\x05\x04\x03\x02\x01\x33\x22\x11\x00\x06\x00\x00\x00"
        );
        assert_eq!(&block[24..40], b"\x28\0\0\0\0\0\0\0\0\0\x10\0\x66\x55\0\0");
        assert_eq!(&block[40..52], b"\xaa\x99\x88\x77\x22\x11\x00\xff\xee\xdd\xcc\xbb");
        let moved = &block[64 + 128..64 + 192];
        assert_eq!(moved[44..50], [3, 1, 100, 0, 3, 0]);
        assert_eq!(moved[56..64], [12, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&block[2048..2056], &[1, 0, 0, 0, 2, 0, 0, 0]);
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let whole = encoded();
        for at in 0..BLOCK_BYTES {
            let mut block = whole;
            block[at] ^= 0x40;
            assert!(Frame::decode(&block).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_field_that_no_writer_writes_is_refused_though_the_checksum_is_right() {
        let whole = encoded();
        assert!(Frame::decode(&sealed(whole)).is_ok());
        let records_end = RECORDS_AT + 3 * RECORD_BYTES;
        let zeros = [38, 39, 52, 59, records_end, CHECKSUMS_AT - 1, CHECKSUMS_AT + 24, BLOCK_BYTES - 1];
        let record_fields = [RECORDS_AT + 44, RECORDS_AT + 45, RECORDS_AT + 50, RECORDS_AT + 43, RECORDS_AT + 47];
        for at in zeros.into_iter().chain(record_fields) {
            let mut block = whole;
            block[at] = 0x77;
            assert_eq!(Frame::decode(&sealed(block)).unwrap_err(), FrameError::Field, "byte {at}");
        }
        let refused: [(usize, &[u8]); 9] = [
            (COUNT_AT, &[0, 0]),
            (COUNT_AT, &[32, 0]),
            (COUNT_AT, &[255, 255]),
            (PAYLOAD_AT, &[1, 2, 0, 0]),
            (PAYLOAD_AT, &[5, 0, 0, 0]),
            (LOWEST_AT, &[41]),
            (DURABLE_AT, &[0x34, 0x22, 0x11]),
            (BLOCK_AT, &[255, 255, 255, 255]),
            (RECORDS_AT + 24, &[255, 255, 255, 255, 255, 255, 255, 255]),
        ];
        for (at, bytes) in refused {
            let mut block = whole;
            block[at..at + bytes.len()].copy_from_slice(bytes);
            assert_eq!(Frame::decode(&sealed(block)).unwrap_err(), FrameError::Field, "byte {at}");
        }
        let mut block = whole;
        block[VERSION_AT] = 1;
        assert_eq!(Frame::decode(&sealed(block)).unwrap_err(), FrameError::Version(1));
    }

    #[test]
    fn any_bytes_at_all_decode_or_are_refused() {
        for seed in 0..3000 {
            let mut rng = Rng::new(seed);
            let mut block = if seed % 4 == 0 { seal() } else { encoded() };
            for _ in 0..1 + rng.below(12) {
                let at = if rng.one_in(2) { rng.below(64 + 192) } else { rng.below(BLOCK_BYTES as u64) };
                block[at as usize] = rng.bits() as u8;
            }
            let block = sealed(block);
            if let Ok(frame) = Frame::decode(&block) {
                let records: Vec<Record> = frame.records().collect();
                let checksums: Vec<u32> = (0..).map_while(|index| frame.payload_checksum(index)).collect();
                let mut again = [0; BLOCK_BYTES];
                frame.header.encode(&records, &checksums, &mut again);
                assert!(again == block, "what is accepted has one meaning, seed {seed}");
            }
        }
    }
}
