//! Replay of slot files made by hand, through the offline scan.

use std::os::unix::fs::FileExt;

use super::*;
use crate::world::Time;

const SCOPE: ReplayScope = ReplayScope {
    filesystem: 6,
    segment: SegmentId(11),
    slot: 0,
    from_block: 0,
    segment_bytes: 64 * BLOCK_BYTES as u64,
};

/// A slot file under construction.
struct Slot {
    file: File,
    next_block: u32,
    previous: u32,
    lsn: u64,
}

impl Slot {
    fn new() -> Slot {
        Slot { file: tempfile::tempfile().unwrap(), next_block: 0, previous: 0, lsn: 1 }
    }

    /// Writes a frame of one record, its header as `change` leaves it; the block of the header.
    fn frame(&mut self, payload_blocks: u32, change: impl FnOnce(&mut Header)) -> u32 {
        let block = self.next_block;
        let payload = vec![self.lsn as u8; BLOCK_BYTES];
        let mut header = Header {
            segment: SCOPE.segment,
            block,
            payload_blocks,
            lowest_lsn: self.lsn,
            durable_to: 0,
            core: 0,
            previous: self.previous,
            filesystem: SCOPE.filesystem,
        };
        change(&mut header);
        let record = Record {
            ino: 1,
            generation: 1,
            lsn: self.lsn,
            offset: 0,
            bytes: u64::from(payload_blocks) * BLOCK_BYTES as u64,
            time: Time::default(),
            kind: if payload_blocks == 0 { RecordKind::Truncate } else { RecordKind::Data },
            clears_setid: false,
            skew: 0,
            first_block: 0,
            aux: 0,
        };
        let mut bytes = [0; BLOCK_BYTES];
        let checksums = vec![crc32c::crc32c(&payload); payload_blocks as usize];
        self.previous = header.encode(&[record], &checksums, &mut bytes);
        self.put(block, &bytes);
        (1..=payload_blocks).for_each(|index| self.put(block + index, &payload));
        self.next_block += 1 + payload_blocks;
        self.lsn += 1;
        block
    }

    fn put(&self, block: u32, bytes: &[u8]) {
        self.file.write_all_at(bytes, u64::from(block) * BLOCK_BYTES as u64).unwrap();
    }

    fn scan_from(&self, from_block: u32) -> (Vec<u64>, Result<ReplayEnd, ReplayError>) {
        let mut lsns = Vec::new();
        let scope = ReplayScope { from_block, ..SCOPE };
        let end = scan(&self.file, scope, |frame| lsns.extend(frame.records.iter().map(|record| record.lsn)));
        (lsns, end)
    }

    fn lsns(&self) -> Vec<u64> {
        self.scan_from(0).0
    }
}

#[test]
fn frames_come_back_in_order_up_to_the_last() {
    let mut slot = Slot::new();
    for blocks in [3, 0, 20, 1] {
        slot.frame(blocks, |_| {});
    }
    let (lsns, end) = slot.scan_from(0);
    assert_eq!(lsns, [1, 2, 3, 4]);
    assert_eq!(end.unwrap(), ReplayEnd { frames: 4, end_block: 28 });
}

#[test]
fn a_segment_filled_to_its_last_block_ends_there() {
    let mut slot = Slot::new();
    slot.frame(63, |_| {});
    assert_eq!(slot.scan_from(0).1.unwrap(), ReplayEnd { frames: 1, end_block: 64 });
    assert_eq!(slot.scan_from(64).1.unwrap(), ReplayEnd { frames: 0, end_block: 64 });
    assert_eq!(slot.scan_from(u32::MAX).1.unwrap().frames, 0);
}

#[test]
fn replay_begins_in_the_middle() {
    let mut slot = Slot::new();
    slot.frame(3, |_| {});
    let second = slot.frame(2, |_| {});
    slot.frame(1, |_| {});
    let (lsns, end) = slot.scan_from(second);
    assert_eq!(lsns, [2, 3]);
    assert_eq!(end.unwrap().end_block, 9);
}

#[test]
fn a_frame_that_does_not_follow_the_one_before_is_the_end() {
    let mut slot = Slot::new();
    slot.frame(1, |_| {});
    slot.frame(1, |header| header.previous ^= 1);
    assert_eq!(slot.lsns(), [1]);
    let mut slot = Slot::new();
    slot.frame(1, |header| header.previous = 5);
    assert_eq!(slot.lsns(), [] as [u64; 0], "nothing comes before the first");
}

#[test]
fn a_forged_frame_where_the_replay_begins_is_not_taken() {
    let mut slot = Slot::new();
    slot.frame(3, |_| {});
    slot.frame(2, |_| {});
    let forged = slot.frame(1, |header| header.previous = 77);
    let (lsns, end) = slot.scan_from(forged);
    assert_eq!(lsns, [] as [u64; 0]);
    assert_eq!(end.unwrap().end_block, forged);
}

#[test]
fn damage_before_the_beginning_does_not_stop_the_replay() {
    let mut slot = Slot::new();
    slot.frame(3, |_| {});
    let second = slot.frame(2, |_| {});
    slot.put(0, &[0xee; 100]);
    assert_eq!(slot.scan_from(second).0, [2]);
}

#[test]
fn a_frame_that_belongs_elsewhere_is_the_end() {
    let changes: [fn(&mut Header); 3] =
        [|header| header.segment.0 += 1, |header| header.filesystem += 1, |header| header.block += 1];
    for change in changes {
        let mut slot = Slot::new();
        slot.frame(1, |_| {});
        slot.frame(1, change);
        slot.frame(1, |_| {});
        assert_eq!(slot.lsns(), [1]);
    }
}

#[test]
fn a_frame_that_reaches_over_the_end_of_the_segment_is_the_end() {
    let mut slot = Slot::new();
    slot.frame(60, |_| {});
    slot.frame(3, |_| {});
    assert_eq!(slot.lsns(), [1]);
}

#[test]
fn a_torn_tail_is_the_end_and_a_torn_durable_frame_is_corruption() {
    for durable in [false, true] {
        let mut slot = Slot::new();
        slot.frame(1, |_| {});
        let torn = slot.frame(2, |_| {});
        slot.frame(1, |header| header.durable_to = if durable { header.block } else { torn });
        slot.put(torn + 2, &[0xee; 512]);
        let (lsns, end) = slot.scan_from(0);
        assert_eq!(lsns, [1]);
        match end {
            Ok(end) => assert!(!durable && end.end_block == torn),
            Err(ReplayError::Corrupt { block, .. }) => assert!(durable && block == torn),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn any_file_at_all_is_replayed_without_a_panic() {
    for seed in 0..200 {
        let mut rng = crate::sim::Rng::new(seed);
        let mut slot = Slot::new();
        for _ in 0..6 {
            slot.frame(rng.below(9) as u32, |_| {});
        }
        for _ in 0..1 + rng.below(5) {
            let at = rng.below(u64::from(slot.next_block) * BLOCK_BYTES as u64);
            slot.file.write_all_at(&[rng.bits() as u8], at).unwrap();
        }
        slot.file.set_len(rng.below(64 * BLOCK_BYTES as u64)).unwrap();
        let lsns = slot.lsns();
        assert!(lsns.iter().copied().eq(1..=lsns.len() as u64), "a prefix, seed {seed}");
        slot.scan_from(rng.below(70) as u32).1.unwrap();
    }
}
