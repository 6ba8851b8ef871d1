//! The real ring on real files in a temporary folder.

use std::cell::RefCell;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use futures_util::future::{join_all, select};

use super::*;
use crate::block::{Arena, CHUNK_BLOCKS};
use crate::extent::{Extent, SegmentId};
use crate::frame::RecordKind;
use crate::log::{Log, LogConfig, RecordFields, Refused, SEGMENT_BYTES_MIN, SegmentGrant, SegmentSource, Urgency};
use crate::replay::{ReplayScope, scan};
use crate::table::{BlockCache, Directory, Slots, Volume};
use crate::world::{Time, World};

/// Runs a test inside a core's runtime.
fn on_a_core<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().enable_timer().build().unwrap();
    runtime.block_on(test)
}

/// A world for tests that need the real disk.
struct RealWorld {
    start: Instant,
}

impl World for RealWorld {
    fn now(&self) -> Time {
        Time::default()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> LocalFuture<()> {
        Box::pin(monoio::time::sleep(duration))
    }

    fn spawn(&self, task: LocalFuture<()>) {
        monoio::spawn(task);
    }

    fn random(&self) -> u64 {
        4
    }
}

struct Source {
    slots: std::sync::Arc<Slots>,
    granted: RefCell<u32>,
}

impl SegmentSource for Source {
    fn open(&self, _urgency: Urgency) -> LocalFuture<Result<SegmentGrant, Refused>> {
        let slot = self.granted.replace_with(|slot| *slot + 1);
        let grant = SegmentGrant { id: SegmentId(u64::from(slot) + 1), slot, fresh: true };
        self.slots.insert(grant.id, slot);
        Box::pin(async move { Ok(grant) })
    }
}

fn piece(arena: &Arena, fill: u8, blocks: usize) -> Piece {
    let mut head = arena.take().unwrap().head();
    for index in 0..blocks {
        head.write(index, &[fill; BLOCK_BYTES]);
    }
    head.publish(0, blocks);
    Piece::new(head.chunk().clone(), 0, blocks * BLOCK_BYTES)
}

#[test]
fn what_is_written_is_read_and_lies_in_the_named_file() {
    let folder = tempfile::tempdir().unwrap();
    let arena = Arena::new(64 * CHUNK_BYTES);
    on_a_core(async {
        let disk = RingDisk::new(Ring::new(8).unwrap(), folder.path());
        disk.create(5, 1 << 20).await.unwrap();
        let pieces = vec![piece(&arena, 1, 16), piece(&arena, 2, 3), Piece::zeros(BLOCK_BYTES), piece(&arena, 3, 16)];
        disk.write(5, 8192, pieces, Stable::Later).await.unwrap();
        disk.flush(5).await.unwrap();
        let mut wanted = vec![0; 8192];
        wanted.extend([1; CHUNK_BYTES]);
        wanted.extend([2; 3 * BLOCK_BYTES]);
        wanted.extend([0; BLOCK_BYTES]);
        wanted.extend([3; CHUNK_BYTES]);
        let chunk = disk.read(5, CHUNK_BYTES as u64, arena.take().unwrap()).await.unwrap();
        assert!(chunk.bytes() == &wanted[CHUNK_BYTES..2 * CHUNK_BYTES]);
        let file = File::open(folder.path().join("seg.00000005")).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 1 << 20);
        let mut bytes = vec![9; wanted.len()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes == wanted);
    });
}

#[test]
fn the_page_cache_is_passed_by_where_the_file_system_allows_it() {
    let folder = tempfile::tempdir().unwrap();
    on_a_core(async {
        let disk = RingDisk::new(Ring::new(8).unwrap(), folder.path());
        disk.create(0, 1 << 20).await.unwrap();
        let path = folder.path().join(slot_name(0));
        let allowed = rustix::fs::open(&path, OFlags::RDWR | OFlags::DIRECT, Mode::empty()).is_ok();
        let file = disk.shared.open(0, OFlags::empty()).unwrap();
        assert_eq!(rustix::fs::fcntl_getfl(&file.fd).unwrap().contains(OFlags::DIRECT), allowed);
    });
}

#[test]
fn a_slot_in_memory_works_the_same() {
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else { return };
    let arena = Arena::new(64 * CHUNK_BYTES);
    on_a_core(async {
        let disk = RingDisk::new(Ring::new(8).unwrap(), folder.path());
        disk.create(0, 1 << 20).await.unwrap();
        disk.write(0, 0, vec![piece(&arena, 7, 16)], Stable::Now).await.unwrap();
        let chunk = disk.read(0, 0, arena.take().unwrap()).await.unwrap();
        assert!(chunk.bytes() == [7; CHUNK_BYTES]);
    });
}

#[test]
fn behind_the_end_of_the_file_are_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let arena = Arena::new(64 * CHUNK_BYTES);
    std::fs::write(folder.path().join(slot_name(0)), vec![1; 3 * BLOCK_BYTES]).unwrap();
    on_a_core(async {
        let disk = RingDisk::new(Ring::new(8).unwrap(), folder.path());
        for (offset, ones) in [(0, 3 * BLOCK_BYTES), (1 << 30, 0)] {
            let mut blank = arena.take().unwrap();
            blank.bytes_mut().fill(9);
            let chunk = disk.read(0, offset, blank).await.unwrap();
            assert!(chunk.bytes()[..ones].iter().all(|&byte| byte == 1));
            assert!(chunk.bytes()[ones..].iter().all(|&byte| byte == 0));
        }
    });
}

#[test]
fn zeroing_leaves_the_rest_alone() {
    let folder = tempfile::tempdir().unwrap();
    let arena = Arena::new(64 * CHUNK_BYTES);
    std::fs::write(folder.path().join(slot_name(0)), vec![1; 4 << 20]).unwrap();
    on_a_core(async {
        let disk = RingDisk::new(Ring::new(8).unwrap(), folder.path());
        let range = BLOCK_BYTES as u64..(3 << 20) + BLOCK_BYTES as u64;
        disk.zero(0, range.clone()).await.unwrap();
        for chunk in 0..(4 << 20) / CHUNK_BYTES as u64 {
            let blank = disk.read(0, chunk * CHUNK_BYTES as u64, arena.take().unwrap()).await.unwrap();
            for (index, block) in blank.bytes().chunks(BLOCK_BYTES).enumerate() {
                let at = (chunk * CHUNK_BLOCKS as u64 + index as u64) * BLOCK_BYTES as u64;
                assert_eq!(block[0], u8::from(!range.contains(&at)), "at {at}");
            }
        }
    });
}

#[test]
fn a_slot_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let arena = Arena::new(64 * CHUNK_BYTES);
    on_a_core(async {
        let disk = RingDisk::new(Ring::new(8).unwrap(), folder.path());
        let kind = |result: io::Result<()>| result.unwrap_err().kind();
        assert_eq!(kind(disk.flush(1).await), io::ErrorKind::NotFound);
        assert_eq!(kind(disk.read(1, 0, arena.take().unwrap()).await.map(drop)), io::ErrorKind::NotFound);
        let pieces = vec![piece(&arena, 1, 1)];
        assert_eq!(kind(disk.write(1, 0, pieces, Stable::Later).await), io::ErrorKind::NotFound);
    });
    assert_eq!(arena.chunks_made(), 1, "the memory came back each time");
}

#[test]
fn more_operations_than_the_ring_is_deep_all_finish() {
    let folder = tempfile::tempdir().unwrap();
    let arena = Arena::new(512 * CHUNK_BYTES);
    on_a_core(async {
        let disk = RingDisk::new(Ring::new(4).unwrap(), folder.path());
        disk.create(0, 32 << 20).await.unwrap();
        let write =
            |index: u64| disk.write(0, index * CHUNK_BYTES as u64, vec![piece(&arena, index as u8, 16)], Stable::Later);
        for result in join_all((0..200).map(write)).await {
            result.unwrap();
        }
        let read = |index: u64| disk.read(0, index * CHUNK_BYTES as u64, arena.take().unwrap());
        for (index, chunk) in join_all((0..200).map(read)).await.into_iter().enumerate() {
            assert_eq!(chunk.unwrap().bytes()[77], index as u8);
        }
    });
}

#[test]
fn a_dropped_read_gives_its_memory_back_when_the_kernel_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let arena = Arena::new(8 * CHUNK_BYTES);
    on_a_core(async {
        let disk = RingDisk::new(Ring::new(64).unwrap(), folder.path());
        disk.create(0, 32 << 20).await.unwrap();
        for _ in 0..100 {
            let blank = loop {
                if let Some(blank) = arena.take() {
                    break blank;
                }
                // All are with the kernel: another operation's end brings the others' too.
                disk.flush(0).await.unwrap();
            };
            let read = disk.read(0, 0, blank);
            select(read, Box::pin(async {})).await;
        }
    });
    let mut back = Vec::new();
    back.extend(std::iter::from_fn(|| arena.take()));
    assert_eq!(back.len(), 8, "the ring waited for the kernel before it went away");
}

#[test]
fn open_files_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    on_a_core(async {
        let disk = RingDisk::new(Ring::new(8).unwrap(), folder.path());
        for slot in 0..FILES_OPEN_MAX as u32 + 40 {
            disk.create(slot, BLOCK_BYTES as u64).await.unwrap();
        }
        assert_eq!(disk.shared.files.borrow().len(), FILES_OPEN_MAX);
        disk.flush(0).await.unwrap();
        disk.close(0);
        assert_eq!(disk.shared.files.borrow().len(), FILES_OPEN_MAX - 1);
    });
}

#[test]
fn a_log_on_a_real_disk_is_read_back_by_the_offline_scan() {
    let folder = tempfile::tempdir().unwrap();
    let (segments, records) = on_a_core(write_real_log(folder.path()));
    let mut found = 0;
    for slot in 0..segments {
        let Ok(file) = File::open(folder.path().join(slot_name(slot))) else { continue };
        let segment = SegmentId(u64::from(slot) + 1);
        let scope = ReplayScope { filesystem: 8, segment, slot, from_block: 0, segment_bytes: SEGMENT_BYTES_MIN };
        scan(&file, scope, |frame| found += frame.records.len()).unwrap();
    }
    assert_eq!(found, records);
}

/// Stable writes by several tasks, then all of it read back from disk; how many segments and
/// records it took.
async fn write_real_log(folder: &Path) -> (u32, usize) {
    let world: Rc<dyn World> = Rc::new(RealWorld { start: Instant::now() });
    let disk: Rc<dyn Disk> = Rc::new(RingDisk::new(Ring::new(64).unwrap(), folder));
    let slots = Slots::new();
    let volume = || {
        let cache = BlockCache::new(Directory::new(), world.clone(), 32 << 20);
        Volume::new(cache, disk.clone(), slots.clone(), 0, 8)
    };
    let source = Rc::new(Source { slots: slots.clone(), granted: RefCell::new(0) });
    let config = LogConfig { core: 0, segment_bytes: SEGMENT_BYTES_MIN, unwritten_bytes_max: 8 << 20 };
    let log = Rc::new(Log::new(config, volume(), world.clone(), source.clone()));
    let writer = |number: u8| {
        let log = log.clone();
        async move {
            let mut written = Vec::new();
            for round in 0..20u8 {
                let payload = vec![number ^ round; 1000 + 9000 * usize::from(number)];
                let place = append(&log, &payload, u64::from(number) * 100 + u64::from(round)).await;
                written.push((place, payload));
            }
            written
        }
    };
    let written = join_all((0..16).map(writer)).await;
    assert!(log.durable() >= log.position());
    // A directory of its own: nothing of this comes from the log's memory.
    let cold = volume();
    let mut records = 0;
    for (place, payload) in written.into_iter().flatten() {
        let extent = Extent { bytes: payload.len() as u64, place, version: 0, lsn: 0 };
        let pieces = cold.fetch(vec![extent]).await.unwrap();
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.as_slice().to_vec()).collect();
        assert!(bytes == payload);
        records += 1;
    }
    (source.granted.take(), records)
}

async fn append(log: &Log, payload: &[u8], lsn: u64) -> crate::extent::Place {
    let fields = RecordFields {
        ino: 1,
        generation: 1,
        lsn,
        offset: 0,
        time: Time::default(),
        kind: RecordKind::Data,
        clears_setid: false,
        aux: 0,
    };
    loop {
        let reserved = log.reserve(payload, Urgency::Data).map(|r| (r.place(), r.commit(fields, Stable::Later)));
        match reserved {
            Ok((place, position)) => {
                log.flush_to(position).await.unwrap();
                return place;
            }
            Err(_) => log.room(payload.len(), Urgency::Data).await.unwrap(),
        }
    }
}
