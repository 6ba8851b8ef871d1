//! Replay of a segment that somebody has damaged. Whatever happened to it: only frames that were written come back,
//! in order and without a gap, and never more than the log said.
//!
//! Input: a script. Each step is a kind and four numbers of one byte; it writes a frame or a seal, or changes, copies, cuts or
//! zeroes what is there, or lets an earlier tenant of the slot shine through.

use super::Target;
use cache::extent::{BLOCK_BYTES, SegmentId};
use cache::frame::{Header, Record, RecordKind};
use cache::replay::{ReplayError, ReplayScope, scan};
use cache::world::Time;
use std::cell::OnceCell;
use std::fs::File;
use std::os::unix::fs::FileExt;

pub(super) const REPLAY: Target = Target {
    name: "replay",
    about: "replay of a damaged segment: what comes back was written, in order",
    input_max: 160,
    // The input is a script; what is decoded is the segment that it makes.
    working_bytes: 2 * IMAGE_BYTES,
    words: &[&[1, 0, 0, 0, 0], &[0, 2, 1, 0, 0]],
    seeds,
    run,
};

const BLOCKS: usize = 48;
const IMAGE_BYTES: usize = BLOCKS * BLOCK_BYTES;
const SCOPE: ReplayScope =
    ReplayScope { filesystem: 6, segment: SegmentId(11), slot: 0, from_block: 0, segment_bytes: IMAGE_BYTES as u64 };

/// A segment under construction.
struct Segment {
    image: Vec<u8>,
    next_block: usize,
    previous: u32,
    /// The headers that were written, by block, with the LSN of their record; a seal has none.
    written: Vec<(Header, Option<u64>)>,
}

fn run(input: &[u8]) {
    let mut segment = Segment { image: vec![0; IMAGE_BYTES], next_block: 0, previous: 0, written: Vec::new() };
    let (steps, _) = input.as_chunks::<5>();
    steps.iter().for_each(|step| segment.step(*step));
    let from = input.last().map_or(0, |last| usize::from(*last) % 4);
    let from_block = segment.written.get(from).map_or(0, |(header, _)| header.block);
    let scope = ReplayScope { from_block, ..SCOPE };
    let mut seen = Vec::new();
    let end = with_file(&segment.image, |file| {
        scan(file, scope, |frame| {
            seen.push((frame.header, frame.records.iter().map(|record| record.lsn).collect::<Vec<_>>()))
        })
    });
    let mut next_block = from_block;
    for (header, lsns) in &seen {
        assert_eq!(header.block, next_block, "a frame out of its order");
        next_block += 1 + header.payload_blocks;
        let is_written = segment.written.iter().any(|(written, lsn)| written == header && lsns == lsn.as_slice());
        assert!(is_written, "a frame that nobody wrote: {header:?}");
    }
    assert!(next_block as usize <= BLOCKS);
    match end {
        Ok(end) => assert_eq!((end.frames as usize, end.end_block), (seen.len(), next_block)),
        Err(ReplayError::Corrupt { block, .. }) => assert_eq!(block, next_block),
        Err(ReplayError::Io(error)) => panic!("{error}"),
    }
}

impl Segment {
    fn step(&mut self, [kind, a, b, c, d]: [u8; 5]) {
        let at = (usize::from(a) << 8 | usize::from(b)) * 3 % IMAGE_BYTES;
        let block = usize::from(a) % BLOCKS;
        match kind % 8 {
            2 if d % 2 == 1 => self.seal(),
            0..=2 => self.frame(usize::from(a) % 6, u32::from(b), SCOPE.segment, SCOPE.filesystem, c),
            3 => self.image[at] ^= c | 1,
            4 => self.image[block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES].fill(d),
            5 => {
                let to = usize::from(c) % BLOCKS;
                self.image.copy_within(block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES, to * BLOCK_BYTES);
            }
            // A tear at a sector.
            6 => self.image[at & !511..].iter_mut().take(512 * (1 + usize::from(c) % 16)).for_each(|byte| *byte = 0),
            // An earlier tenant of the slot, or another filesystem.
            _ => {
                let (next, previous) = (self.next_block, self.previous);
                self.next_block = block;
                let (name, filesystem) = if c % 2 == 0 { (SegmentId(10), 6) } else { (SCOPE.segment, 7) };
                self.frame(usize::from(b) % 6, 0, name, filesystem, d);
                (self.next_block, self.previous) = (next, previous);
            }
        }
    }

    /// Says that all before was durable.
    fn seal(&mut self) {
        let block = self.next_block;
        if block == 0 || block >= BLOCKS {
            return;
        }
        let header = Header {
            segment: SCOPE.segment,
            block: block as u32,
            payload_blocks: 0,
            lowest_lsn: 0,
            durable_to: block as u32,
            core: 0,
            previous: self.previous,
            filesystem: SCOPE.filesystem,
        };
        let mut bytes = [0; BLOCK_BYTES];
        self.previous = header.encode(&[], &[], &mut bytes);
        self.image[block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES].copy_from_slice(&bytes);
        self.next_block += 1;
        self.written.push((header, None));
    }

    /// Writes a frame of one record where the segment ends.
    fn frame(&mut self, payload_blocks: usize, durable: u32, segment: SegmentId, filesystem: u64, fill: u8) {
        let block = self.next_block;
        if block + payload_blocks >= BLOCKS {
            return;
        }
        let lsn = 16 + self.written.len() as u64;
        let header = Header {
            segment,
            block: block as u32,
            payload_blocks: payload_blocks as u32,
            lowest_lsn: lsn,
            durable_to: durable.min(block as u32),
            core: 0,
            previous: self.previous,
            filesystem,
        };
        let record = Record {
            ino: 1,
            generation: 1,
            lsn,
            offset: 0,
            bytes: (payload_blocks * BLOCK_BYTES) as u64,
            time: Time::default(),
            kind: if payload_blocks == 0 { RecordKind::Truncate } else { RecordKind::Data },
            clears_setid: false,
            skew: 0,
            first_block: 0,
            aux: 0,
        };
        let start = block * BLOCK_BYTES;
        let payload = &mut self.image[start + BLOCK_BYTES..start + (1 + payload_blocks) * BLOCK_BYTES];
        payload.fill(fill);
        let checksums = vec![crc32c::crc32c(&[fill; BLOCK_BYTES]); payload_blocks];
        let mut bytes = [0; BLOCK_BYTES];
        self.previous = header.encode(&[record], &checksums, &mut bytes);
        self.image[start..start + BLOCK_BYTES].copy_from_slice(&bytes);
        self.next_block += 1 + payload_blocks;
        if (segment, filesystem) == (SCOPE.segment, SCOPE.filesystem) {
            self.written.push((header, Some(lsn)));
        }
    }
}

/// Puts the image into a file in memory, the same for all executions of a thread.
fn with_file<T>(image: &[u8], work: impl FnOnce(&File) -> T) -> T {
    thread_local! {
        static FILE: OnceCell<File> = const { OnceCell::new() };
    }
    FILE.with(|file| {
        let file = file.get_or_init(|| {
            let file = rustix::fs::memfd_create("segment", rustix::fs::MemfdFlags::CLOEXEC);
            File::from(file.expect("a file in memory can be made"))
        });
        file.write_all_at(image, 0).expect("a file in memory takes it");
        work(file)
    })
}

fn seeds() -> Vec<Vec<u8>> {
    let frames = [[0, 2, 0, 1, 0], [0, 0, 3, 2, 0], [0, 5, 3, 3, 0], [0, 1, 9, 4, 0]];
    let with = |steps: &[[u8; 5]]| [frames.as_flattened(), steps.as_flattened()].concat();
    vec![
        with(&[]),
        with(&[[3, 10, 0, 1, 0]]),
        with(&[[2, 0, 0, 0, 1], [3, 64, 0, 1, 0]]),
        with(&[[2, 0, 0, 0, 1], [0, 1, 9, 4, 0], [5, 12, 0, 3, 0]]),
        with(&[[4, 4, 0, 0, 0]]),
        with(&[[5, 0, 0, 20, 0], [7, 30, 2, 0, 5], [6, 0, 9, 3, 0]]),
    ]
}
