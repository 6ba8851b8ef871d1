//! The cache against a simulated disk that holds one segment of known bytes.

use futures_util::future::join_all;

use super::*;
use crate::disk::Stable;
use crate::frame::{Header, Record, RecordKind};
use crate::sim::{Rng, SimDisk, SimWorld};
use crate::world::Time;

const SEGMENT: SegmentId = SegmentId(9);
const SLOT: u32 = 4;
const IDENTITY: u64 = 0x1d;
const FRAMES: u32 = 10;
const FRAME_PAYLOAD: u32 = 99;

/// What lies in a payload block.
fn block_bytes(block: u32) -> Vec<u8> {
    (0..BLOCK_BYTES).map(|index| (block as usize * 7 + index / 64) as u8).collect()
}

fn header_block(frame: u32) -> [u8; BLOCK_BYTES] {
    let block = frame * (1 + FRAME_PAYLOAD);
    let header = Header {
        segment: SEGMENT,
        block,
        payload_blocks: FRAME_PAYLOAD,
        lowest_lsn: 5,
        durable_to: 0,
        core: 0,
        previous: 0,
        filesystem: IDENTITY,
    };
    let record = Record {
        ino: 1,
        generation: 1,
        lsn: 5,
        offset: 0,
        bytes: u64::from(FRAME_PAYLOAD) * BLOCK_BYTES as u64,
        time: Time::default(),
        kind: RecordKind::Data,
        clears_setid: false,
        skew: 0,
        first_block: 0,
        aux: 0,
    };
    let checksums: Vec<u32> = (1..=FRAME_PAYLOAD).map(|index| crc32c::crc32c(&block_bytes(block + index))).collect();
    let mut bytes = [0; BLOCK_BYTES];
    header.encode(&[record], &checksums, &mut bytes);
    bytes
}

/// A disk with ten frames of 99 payload blocks.
async fn written(world: &SimWorld) -> SimDisk {
    let disk = SimDisk::new(world, 1);
    disk.create(SLOT, 4 << 20).await.unwrap();
    let arena = Arena::new(CHUNK_BYTES);
    for chunk in 0..(FRAMES * (1 + FRAME_PAYLOAD)).div_ceil(CHUNK_BLOCKS as u32) {
        let mut head = arena.take().unwrap().head();
        for index in 0..CHUNK_BLOCKS {
            let block = chunk * CHUNK_BLOCKS as u32 + index as u32;
            match block % (1 + FRAME_PAYLOAD) {
                0 => head.write(index, &header_block(block / (1 + FRAME_PAYLOAD))),
                _ => head.write(index, &block_bytes(block)),
            };
        }
        head.publish(0, CHUNK_BLOCKS);
        let piece = Piece::new(head.chunk().clone(), 0, CHUNK_BYTES);
        disk.write(SLOT, u64::from(chunk) * CHUNK_BYTES as u64, vec![piece], Stable::Now).await.unwrap();
    }
    disk
}

fn slots() -> Arc<Slots> {
    let slots = Slots::new();
    slots.insert(SEGMENT, SLOT);
    slots
}

fn volume(world: &SimWorld, disk: &SimDisk, directory: Arc<Directory>, chunks: usize) -> Volume {
    let cache = BlockCache::new(directory, world.world(), chunks * CHUNK_BYTES);
    Volume::new(cache, disk.disk(), slots(), 0, IDENTITY)
}

fn extent(frame: u32, first: u64, bytes: u64) -> Extent {
    let block = frame * (1 + FRAME_PAYLOAD);
    let place = Place::Log { segment: SEGMENT, frame: block, block: block + 1, skew: 0 }.advanced(first);
    Extent { bytes, place, version: 5, lsn: 0 }
}

fn wanted(extent: &Extent) -> Vec<u8> {
    let Place::Log { block, skew, .. } = extent.place else { return vec![0; extent.bytes as usize] };
    let (skew, bytes) = (usize::from(skew), extent.bytes as usize);
    let whole: Vec<u8> =
        (0..(skew + bytes).div_ceil(BLOCK_BYTES)).flat_map(|i| block_bytes(block + i as u32)).collect();
    whole[skew..skew + bytes].to_vec()
}

fn joined(pieces: &[Piece]) -> Vec<u8> {
    pieces.iter().map(Piece::as_slice).collect::<Vec<_>>().concat()
}

fn some_extent(rng: &mut Rng) -> Extent {
    let payload = u64::from(FRAME_PAYLOAD) * BLOCK_BYTES as u64;
    let first = rng.below(payload);
    let bytes = 1 + rng.below((payload - first).min(200_000));
    extent(rng.below(u64::from(FRAMES)) as u32, first, bytes)
}

#[test]
fn what_is_fetched_is_what_was_written_and_is_in_memory_then() {
    let world = SimWorld::new(1);
    world.run_until(async {
        let disk = written(&world).await;
        let volume = volume(&world, &disk, Directory::new(), 100);
        let mut rng = Rng::new(3);
        for _ in 0..200 {
            let hole = Extent { bytes: 100_000, place: Place::Hole, version: 1, lsn: 0 };
            let extents = vec![some_extent(&mut rng), hole, some_extent(&mut rng)];
            let bytes: Vec<u8> = extents.iter().flat_map(wanted).collect();
            assert!(joined(&volume.fetch(extents.clone()).await.unwrap()) == bytes);
            let mut pieces = vec![Piece::zeros(1)];
            assert!(extents.iter().all(|extent| volume.read(extent, &mut pieces)));
            assert!(joined(&pieces[1..]) == bytes);
        }
        assert!(disk.reads() <= 63, "each chunk is read once");
    });
}

#[test]
fn a_miss_leaves_the_list_as_it_was() {
    let world = SimWorld::new(1);
    world.run_until(async {
        let disk = written(&world).await;
        let volume = volume(&world, &disk, Directory::new(), 100);
        volume.fetch(vec![extent(0, 0, 65536)]).await.unwrap();
        let mut pieces = vec![Piece::zeros(7)];
        assert!(!volume.read(&extent(0, 0, 300_000), &mut pieces), "the first chunk is there, the rest is not");
        assert_eq!(pieces.len(), 1);
        assert_eq!(volume.cache().counters().misses, 1);
    });
}

#[test]
fn readers_of_one_chunk_share_its_fill() {
    let world = SimWorld::new(2);
    world.run_until(async {
        let disk = written(&world).await;
        let volume = volume(&world, &disk, Directory::new(), 100);
        let reads = (0..50).map(|index| {
            let volume = volume.clone();
            async move { volume.fetch(vec![extent(1, index * 100, 100)]).await.unwrap() }
        });
        join_all(reads).await;
        assert_eq!(disk.reads(), 1, "one chunk holds the header and the blocks");
    });
}

#[test]
fn another_core_finds_what_this_one_read() {
    let world = SimWorld::new(3);
    world.run_until(async {
        let disk = written(&world).await;
        let directory = Directory::new();
        let here = volume(&world, &disk, directory.clone(), 100);
        let there = volume(&world, &disk, directory, 100);
        here.fetch(vec![extent(2, 5000, 50_000)]).await.unwrap();
        let mut pieces = Vec::new();
        assert!(there.read(&extent(2, 5000, 50_000), &mut pieces));
        assert_eq!(there.cache().arena().chunks_made(), 0);
    });
}

#[test]
fn pieces_in_use_keep_their_bytes_while_a_small_cache_turns_over() {
    for seed in 0..20 {
        let world = SimWorld::new(seed);
        world.run_until(async {
            let disk = written(&world).await;
            let volume = volume(&world, &disk, Directory::new(), 24);
            let reader = |number: u64| {
                let (volume, world) = (volume.clone(), world.clone());
                async move {
                    let mut rng = Rng::new(seed * 100 + number);
                    for _ in 0..30 {
                        let extent = some_extent(&mut rng);
                        let pieces = match volume.fetch(vec![extent]).await {
                            Err(ReadError::NoMemory) => continue,
                            pieces => pieces.unwrap(),
                        };
                        world.sleep(Duration::from_micros(rng.below(2000))).await;
                        assert!(joined(&pieces) == wanted(&extent), "seed {seed}");
                        assert!(volume.cache().arena().chunks_made() <= 24, "seed {seed}");
                    }
                }
            };
            join_all((0..4).map(reader)).await;
            assert!(volume.cache().counters().evictions > 100, "seed {seed}");
        });
    }
}

#[test]
fn memory_that_is_all_in_use_is_an_answer_and_not_a_wait_for_ever() {
    let world = SimWorld::new(5);
    world.run_until(async {
        let disk = written(&world).await;
        let volume = volume(&world, &disk, Directory::new(), 3);
        let held = volume.fetch(vec![extent(0, 0, 3 * 65536 - 4096)]).await.unwrap();
        assert_eq!(volume.fetch(vec![extent(5, 0, 1)]).await.unwrap_err(), ReadError::NoMemory);
        drop(held);
        volume.fetch(vec![extent(5, 0, 1)]).await.unwrap();
    });
}

#[test]
fn what_is_used_again_stays_longer() {
    let world = SimWorld::new(6);
    world.run_until(async {
        let disk = written(&world).await;
        let volume = volume(&world, &disk, Directory::new(), 20);
        let hot = extent(0, 0, 4096);
        volume.fetch(vec![hot]).await.unwrap();
        for chunk in 0..60 {
            let cold = extent(1 + chunk / 7, u64::from(chunk % 7 % 6) * 65536, 1000);
            volume.fetch(vec![cold]).await.unwrap();
            assert!(volume.read(&hot, &mut Vec::new()), "after {chunk}");
        }
        assert!(volume.cache().counters().evictions > 20);
    });
}

#[test]
fn a_failed_read_fails_everyone_who_waits_and_only_them() {
    let world = SimWorld::new(7);
    world.run_until(async {
        let disk = written(&world).await;
        let volume = volume(&world, &disk, Directory::new(), 20);
        disk.fail_nth_read(1);
        let wanted = vec![extent(0, 0, 100)];
        let results = join_all((0..3).map(|_| volume.fetch(wanted.clone()))).await;
        assert!(results.iter().all(|result| matches!(result, Err(ReadError::Io(_)))));
        volume.fetch(wanted).await.unwrap();
    });
}

#[test]
fn places_that_cannot_be_are_corrupt_and_never_a_panic() {
    let world = SimWorld::new(8);
    world.run_until(async {
        let disk = written(&world).await;
        let volume = volume(&world, &disk, Directory::new(), 100);
        let mut rng = Rng::new(8);
        let numbers = [0, 1, 99, 100, 101, 199, 513, 1000, 1023, 1024, u32::MAX / 2, u32::MAX - 1, u32::MAX];
        let number = |rng: &mut Rng| numbers[rng.below(numbers.len() as u64) as usize];
        for _ in 0..3000 {
            let skew = [0, 1, 4095, 4096, u16::MAX][rng.below(5) as usize];
            let bytes = [1, 4096, 1 << 20, 2 << 20, u64::MAX][rng.below(5) as usize];
            let (frame, block) = (number(&mut rng), number(&mut rng));
            let extent =
                Extent { bytes, place: Place::Log { segment: SEGMENT, frame, block, skew }, version: 1, lsn: 1 };
            volume.read(&extent, &mut Vec::new());
            match volume.fetch(vec![extent]).await {
                Ok(pieces) => assert!(joined(&pieces) == wanted(&extent), "{extent:?}"),
                Err(error) => assert!(matches!(error, ReadError::Corrupt { .. }), "{extent:?}: {error:?}"),
            }
        }
        let gone = Place::Log { segment: SegmentId(77), frame: 0, block: 1, skew: 0 };
        let error = volume.fetch(vec![Extent { bytes: 1, place: gone, version: 1, lsn: 1 }]).await.unwrap_err();
        assert_eq!(error, ReadError::Corrupt { segment: SegmentId(77), block: 1 });
    });
}

#[test]
fn a_frame_of_another_filesystem_or_segment_is_corrupt() {
    let world = SimWorld::new(9);
    world.run_until(async {
        let disk = written(&world).await;
        let cache = || BlockCache::new(Directory::new(), world.world(), 100 * CHUNK_BYTES);
        let stranger = Volume::new(cache(), disk.disk(), slots(), 0, IDENTITY + 1);
        assert!(matches!(stranger.fetch(vec![extent(0, 0, 1)]).await, Err(ReadError::Corrupt { .. })));
        let reused = slots();
        reused.insert(SegmentId(10), SLOT);
        let place = Place::Log { segment: SegmentId(10), frame: 0, block: 1, skew: 0 };
        let volume = Volume::new(cache(), disk.disk(), reused, 0, IDENTITY);
        let result = volume.fetch(vec![Extent { bytes: 1, place, version: 1, lsn: 1 }]).await;
        assert!(matches!(result, Err(ReadError::Corrupt { .. })));
    });
}

#[test]
fn read_ahead_makes_the_read_a_hit() {
    let world = SimWorld::new(10);
    world.run_until(async {
        let disk = written(&world).await;
        let volume = volume(&world, &disk, Directory::new(), 100);
        volume.prefetch(vec![extent(3, 0, 200_000)]);
        world.sleep(Duration::from_millis(50)).await;
        assert!(volume.read(&extent(3, 0, 200_000), &mut Vec::new()));
    });
}

#[test]
fn cores_share_and_evict_at_the_same_time() {
    let directory = Directory::new();
    let threads: Vec<_> = (0..4u64)
        .map(|number| {
            let directory = directory.clone();
            std::thread::spawn(move || share_and_evict(directory, number))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// One core that puts chunks in, evicts its own and looks at everybody's.
fn share_and_evict(directory: Arc<Directory>, number: u64) {
    let world = SimWorld::new(number);
    let cache = BlockCache::new(directory.clone(), world.world(), 32 * CHUNK_BYTES);
    let mut rng = Rng::new(number);
    let mut held = std::collections::VecDeque::new();
    for _ in 0..20_000 {
        let key = ChunkKey { filesystem: 0, segment: SegmentId(1), index: rng.below(200) as u32 };
        let chunk = directory.chunk(key).unwrap_or_else(|| {
            let mut blank = cache.allocate().expect("few are held");
            blank.bytes_mut()[..8].fill(key.index as u8);
            cache.adopt_filled(key, blank.whole())
        });
        assert_eq!(chunk.block(0).unwrap()[..8], [key.index as u8; 8]);
        held.push_back((key, chunk));
        if held.len() > 6 {
            let (key, chunk) = held.pop_front().unwrap();
            assert_eq!(chunk.block(0).unwrap()[..8], [key.index as u8; 8], "nobody wrote to what is held");
        }
    }
    assert!(cache.arena().chunks_made() <= 32);
}
