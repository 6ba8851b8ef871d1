//! The header block of a log frame, with records and checksums, or of a seal, without. What is decoded at all is written again in the same
//! bytes, and its records lie within the frame.
//!
//! Input: a byte that says whether the checksum is put right, then the block from its start; the rest is zero.

use super::Target;
use cache::extent::{BLOCK_BYTES, SegmentId};
use cache::frame::{FRAME_BLOCKS_MAX, FRAME_RECORDS_MAX, Frame, Header, Record, RecordKind};
use cache::world::Time;

pub(super) const FRAME: Target = Target {
    name: "frame",
    about: "log frames: header, records, checksums",
    input_max: 1 + BLOCK_BYTES,
    working_bytes: 0,
    words: &[b"BSLF\x02\0", b"\x01\0\0\0", b"\x02\0\0\0", b"\x03\0\0\0"],
    seeds,
    run,
};

fn run(input: &[u8]) {
    let Some((how, bytes)) = input.split_first() else { return };
    let bytes = &bytes[..bytes.len().min(BLOCK_BYTES)];
    let mut block = [0; BLOCK_BYTES];
    block[..bytes.len()].copy_from_slice(bytes);
    if how % 8 != 0 {
        seal(&mut block);
    }
    let Ok(frame) = Frame::decode(&block) else { return };
    let records: Vec<Record> = frame.records().collect();
    let payload_blocks = frame.header.payload_blocks;
    assert!(records.len() <= FRAME_RECORDS_MAX && payload_blocks as usize <= FRAME_BLOCKS_MAX);
    assert_eq!(frame.is_seal(), records.is_empty());
    assert!(!frame.is_seal() || payload_blocks == 0 && frame.header.durable_to == frame.header.block);
    let checksums: Vec<u32> = (0..).map_while(|index| frame.payload_checksum(index)).collect();
    assert_eq!(checksums.len(), payload_blocks as usize);
    for record in &records {
        assert!(record.lsn >= frame.header.lowest_lsn);
        let blocks = (u64::from(record.skew) + record.bytes).div_ceil(BLOCK_BYTES as u64);
        assert!(u64::from(record.first_block) + blocks <= u64::from(payload_blocks), "{record:?} leaves its frame");
        assert!(record.offset.checked_add(record.bytes).is_some());
    }
    let mut again = [0xFF; BLOCK_BYTES];
    let checksum = frame.header.encode(&records, &checksums, &mut again);
    assert!(again == block, "read and written again, the block is another one");
    assert_eq!(checksum, frame.checksum);
}

/// Puts the checksum right.
pub(super) fn seal(block: &mut [u8; BLOCK_BYTES]) {
    block[CHECKSUM].fill(0);
    let checksum = crc32c::crc32c(block);
    block[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
}

const CHECKSUM: std::ops::Range<usize> = 60..64;

fn seeds() -> Vec<Vec<u8>> {
    let record = Record {
        ino: 9,
        generation: 1,
        lsn: 40,
        offset: 4096,
        bytes: 5000,
        time: Time { secs: 1, nanos: 2 },
        kind: RecordKind::Data,
        clears_setid: false,
        skew: 0,
        first_block: 0,
        aux: 0,
    };
    let truncate = Record { kind: RecordKind::Truncate, lsn: 41, bytes: 0, ..record };
    let moved = Record { kind: RecordKind::Move, lsn: 42, aux: 7, skew: 100, bytes: 3000, first_block: 2, ..record };
    let header = Header {
        segment: SegmentId(3),
        block: 12,
        payload_blocks: 3,
        lowest_lsn: 40,
        durable_to: 10,
        core: 1,
        previous: 77,
        filesystem: 5,
    };
    let mut block = [0; BLOCK_BYTES];
    header.encode(&[record, truncate, moved], &[1, 2, 3], &mut block);
    let mut small = [0; BLOCK_BYTES];
    Header { payload_blocks: 0, lowest_lsn: 41, ..header }.encode(&[truncate], &[], &mut small);
    let mut seal = [0; BLOCK_BYTES];
    Header { payload_blocks: 0, lowest_lsn: 0, durable_to: header.block, ..header }.encode(&[], &[], &mut seal);
    let seal = [&[1], &seal[..64]].concat();
    vec![[&[0], &block[..]].concat(), [&[1], &block[..2100]].concat(), [&[1], &small[..128]].concat(), seal]
}
