//! The log's promises, each against the simulated disk. The seed is in every failure message.

mod seal;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, join_all, select};

use super::*;
use crate::block::Piece;
use crate::extent::Extent;
use crate::replay::{ReplayError, ReplayScope, ReplayedFrame, replay};
use crate::sim::{Rng, SimDisk, SimWorld};
use crate::table::{BlockCache, Directory, ReadError, Slots};

const IDENTITY: u64 = 0xba5a_17ba_5a17_0001;
const SEGMENT_BYTES: u64 = SEGMENT_BYTES_MIN;
const BUDGET_BYTES: usize = 24 * 1024 * 1024;
const CUTS: u64 = 1000;

/// Gives out segments one after the other, as long as there are any.
struct Source {
    world: SimWorld,
    slots: Arc<Slots>,
    data_left: Cell<u64>,
    reserve_left: Cell<u64>,
    granted: RefCell<Vec<SegmentGrant>>,
}

impl Source {
    fn grants(&self) -> Vec<SegmentGrant> {
        self.granted.borrow().clone()
    }
}

impl SegmentSource for Rc<Source> {
    fn open(&self, urgency: Urgency) -> LocalFuture<Result<SegmentGrant, Refused>> {
        let source = self.clone();
        Box::pin(async move {
            source.world.sleep(Duration::from_micros(1 + source.world.below(2000))).await;
            let left = if urgency == Urgency::Data { &source.data_left } else { &source.reserve_left };
            if left.get() == 0 {
                return Err(Refused::NoSpace);
            }
            left.set(left.get() - 1);
            let slot = source.granted.borrow().len() as u32;
            let grant = SegmentGrant { id: SegmentId(u64::from(slot) + 100), slot, fresh: true };
            source.slots.insert(grant.id, grant.slot);
            source.granted.borrow_mut().push(grant);
            Ok(grant)
        })
    }
}

/// One core with one filesystem.
struct Core {
    seed: u64,
    world: SimWorld,
    disk: SimDisk,
    source: Rc<Source>,
    volume: Volume,
    log: Rc<Log>,
    next_lsn: Cell<u64>,
}

impl Core {
    fn new(seed: u64) -> Rc<Core> {
        let world = SimWorld::new(seed);
        let disk = SimDisk::new(&world, seed + 1);
        let slots = Slots::new();
        let source = Rc::new(Source {
            world: world.clone(),
            slots: slots.clone(),
            data_left: Cell::new(u64::MAX),
            reserve_left: Cell::new(u64::MAX),
            granted: RefCell::default(),
        });
        let volume = volume(&world, &disk, slots);
        let config = LogConfig { core: 3, segment_bytes: SEGMENT_BYTES, unwritten_bytes_max: 4 * 1024 * 1024 };
        let log = Rc::new(Log::new(config, volume.clone(), world.world(), Rc::new(source.clone())));
        Rc::new(Core { seed, world, disk, source, volume, log, next_lsn: Cell::new(1) })
    }

    /// Reserves, waiting for room as a verb does, and commits in the same breath.
    async fn append(&self, kind: RecordKind, payload_bytes: usize, urgency: Urgency) -> Result<Appended, Refused> {
        loop {
            let lsn = self.next_lsn.get();
            let payload = payload(lsn, payload_bytes);
            match self.log.reserve(&payload, urgency) {
                Ok(reservation) => {
                    self.next_lsn.set(lsn + 1);
                    let place = reservation.place();
                    let position = reservation.commit(fields(kind, lsn), Stable::Later);
                    return Ok(Appended { lsn, place, position, bytes: payload_bytes });
                }
                Err(Refused::Later) => self.log.room(payload_bytes, urgency).await?,
                Err(refused) => return Err(refused),
            }
        }
    }
}

/// What a test knows of a record.
#[derive(Clone, Copy, Debug)]
struct Appended {
    lsn: u64,
    place: Place,
    position: Position,
    bytes: usize,
}

fn volume(world: &SimWorld, disk: &SimDisk, slots: Arc<Slots>) -> Volume {
    let cache = BlockCache::new(Directory::new(), world.world(), BUDGET_BYTES);
    Volume::new(cache, disk.disk(), slots, 7, IDENTITY)
}

fn fields(kind: RecordKind, lsn: u64) -> RecordFields {
    let time = Time { secs: 5, nanos: 6 };
    RecordFields { ino: lsn % 7, generation: 1, lsn, offset: 4096 * lsn, time, kind, clears_setid: false, aux: 0 }
}

fn payload(lsn: u64, bytes: usize) -> Vec<u8> {
    let mut payload = vec![lsn as u8; bytes];
    for (index, page) in payload.chunks_mut(512).enumerate() {
        page[0] = index as u8;
        page[page.len() - 1] = (lsn >> 8) as u8;
    }
    payload
}

async fn read_back(volume: &Volume, place: Place, bytes: usize) -> Result<Vec<u8>, ReadError> {
    let extent = Extent { bytes: bytes as u64, place, version: 0, lsn: 0 };
    let pieces = volume.fetch(vec![extent]).await?;
    Ok(joined(&pieces))
}

fn joined(pieces: &[Piece]) -> Vec<u8> {
    pieces.iter().map(Piece::as_slice).collect::<Vec<_>>().concat()
}

fn scope(grant: &SegmentGrant) -> ReplayScope {
    ReplayScope {
        filesystem: IDENTITY,
        segment: grant.id,
        slot: grant.slot,
        from_block: 0,
        segment_bytes: SEGMENT_BYTES,
    }
}

async fn frames(disk: &SimDisk, grant: &SegmentGrant) -> Result<Vec<ReplayedFrame>, ReplayError> {
    let mut frames = Vec::new();
    replay(disk.disk(), scope(grant), |frame| frames.push(frame.clone())).await?;
    Ok(frames)
}

/// Payload sizes as clients send them: mostly small, some at the limits of blocks, chunks, frames.
fn some_bytes(rng: &mut Rng) -> usize {
    match rng.below(10) {
        0 => 1 + rng.below(1 << 20) as usize,
        1 => 65536,
        2 => 4097,
        _ => 1 + rng.below(5000) as usize,
    }
}

/// Several clients write, some of them stably, until the power goes.
async fn client(
    core: Rc<Core>,
    number: u64,
    pause: Duration,
    appended: Rc<RefCell<Vec<Appended>>>,
    acknowledged: Rc<Cell<Position>>,
) {
    let mut rng = Rng::new(core.seed * 31 + number);
    loop {
        let truncates = rng.one_in(8);
        let bytes = if truncates { 0 } else { some_bytes(&mut rng) };
        let kind = if truncates { RecordKind::Truncate } else { RecordKind::Data };
        let record = core.append(kind, bytes, Urgency::Data).await.unwrap();
        appended.borrow_mut().push(record);
        if rng.one_in(2) {
            core.log.flush_to(record.position).await.unwrap();
            acknowledged.set(acknowledged.get().max(record.position));
        } else if rng.one_in(4) {
            core.world.sleep(Duration::from_micros(rng.below(pause.as_micros() as u64))).await;
        }
        core.world.yield_now().await;
    }
}

/// The numbers of segments that were in use and of seals that were found.
fn power_cut(seed: u64) -> (usize, usize) {
    let core = Core::new(seed);
    let appended = Rc::new(RefCell::new(Vec::new()));
    let acknowledged = Rc::new(Cell::new(Position::default()));
    // With few clients and long pauses the log is quiet now and then.
    let (clients, pause, cut_us) =
        if seed.is_multiple_of(4) { (2, 4 * SEAL_PAUSE, 300_000) } else { (6, SEAL_PAUSE / 60, 15_000) };
    let cut = Duration::from_micros(core.world.below(cut_us));
    let clients = (0..clients)
        .map(|number| Box::pin(client(core.clone(), number, pause, appended.clone(), acknowledged.clone())));
    let sleep = core.world.sleep(cut);
    core.world.run_until(select(join_all(clients), sleep));
    core.world.power_off();

    let world = SimWorld::new(seed + 2);
    let disk = core.disk.crash(&world);
    let volume = volume(&world, &disk, core.source.slots.clone());
    let appended = appended.borrow();
    let mut seals = 0;
    world.run_until(async {
        let mut found = BTreeMap::new();
        for grant in core.source.grants().iter() {
            let in_segment: Vec<u64> = match frames(&disk, grant).await {
                Err(ReplayError::Io(error)) if error.kind() == io::ErrorKind::NotFound => continue,
                result => {
                    let frames = result.unwrap_or_else(|error| panic!("{error}, seed {seed}"));
                    seals += frames.iter().filter(|frame| frame.records.is_empty()).count();
                    let records = |frame: ReplayedFrame| {
                        frame.records.clone().into_iter().map(move |record| (record.lsn, frame.extent(&record)))
                    };
                    let records: Vec<_> = frames.into_iter().flat_map(records).collect();
                    found.extend(records.iter().copied());
                    records.into_iter().map(|(lsn, _)| lsn).collect()
                }
            };
            let written = appended.iter().filter(|record| lies_in(record.place, grant.id)).map(|record| record.lsn);
            let survivors =
                in_segment.iter().copied().filter(|lsn| appended.iter().any(|r| r.lsn == *lsn && r.bytes > 0));
            let written: Vec<u64> = written.collect();
            let survivors: Vec<u64> = survivors.collect();
            assert!(written.starts_with(&survivors), "what survives is a prefix, seed {seed}");
        }
        for record in appended.iter() {
            let survived = found.contains_key(&record.lsn);
            assert!(survived || record.position > acknowledged.get(), "{record:?} was acknowledged, seed {seed}");
            if let Some(Some(extent)) = found.get(&record.lsn) {
                assert_eq!(extent.place, record.place, "seed {seed}");
                let bytes = read_back(&volume, extent.place, record.bytes).await.unwrap();
                assert!(bytes == payload(record.lsn, record.bytes), "{record:?} changed, seed {seed}");
            }
        }
    });
    world.power_off();
    (core.source.grants().len(), seals)
}

fn lies_in(place: Place, id: SegmentId) -> bool {
    matches!(place, Place::Log { segment, .. } if segment == id)
}

#[test]
fn nothing_acknowledged_is_lost_in_a_thousand_power_cuts() {
    let (mut segments, mut seals) = (0, 0);
    for (used, found) in (0..CUTS).map(power_cut) {
        segments += used;
        seals += found;
    }
    assert!(seals > CUTS as usize, "{seals}: the log is quiet now and then");
    assert!(segments > 2 * CUTS as usize, "{segments}: a run goes through more than one segment, as a rule");
}

#[test]
fn what_was_just_written_is_read_from_memory() {
    let core = Core::new(1);
    core.world.run_until(async {
        let record = core.append(RecordKind::Data, 100_000, Urgency::Data).await.unwrap();
        let extent = Extent { bytes: 100_000, place: record.place, version: 1, lsn: 1 };
        let mut pieces = Vec::new();
        assert!(core.volume.read(&extent, &mut pieces));
        let bytes = joined(&pieces);
        assert!(bytes == payload(1, 100_000));
        assert_eq!(core.disk.writes(), 0, "the frame has not even left");
    });
}

#[test]
fn small_frames_of_one_chunk_stay_in_memory_beside_each_other() {
    let core = Core::new(1);
    core.world.run_until(async {
        let mut records = Vec::new();
        for index in 0..40 {
            let record = core.append(RecordKind::Data, 1 + index * 100, Urgency::Data).await.unwrap();
            core.log.flush_to(record.position).await.unwrap();
            records.push(record);
        }
        for record in records {
            let extent = Extent { bytes: record.bytes as u64, place: record.place, version: 1, lsn: 1 };
            let mut pieces = Vec::new();
            assert!(core.volume.read(&extent, &mut pieces), "{record:?}");
            let bytes = joined(&pieces);
            assert!(bytes == payload(record.lsn, record.bytes));
        }
        assert_eq!(core.disk.reads(), 0);
    });
}

#[test]
fn the_open_frame_is_read_together_with_what_comes_from_disk() {
    let core = Core::new(1);
    core.world.run_until(async {
        let old = core.append(RecordKind::Data, 100_000, Urgency::Data).await.unwrap();
        core.log.flush_to(old.position).await.unwrap();
        let extent = |record: Appended| Extent { bytes: 100_000, place: record.place, version: 0, lsn: 0 };
        // Leaves the cache on the first way round: the log holds no more than the end of it.
        let held: Vec<_> = std::iter::from_fn(|| core.volume.cache().allocate()).collect();
        assert!(!core.volume.read(&extent(old), &mut Vec::new()));
        drop(held);
        let new = core.append(RecordKind::Data, 100_000, Urgency::Data).await.unwrap();
        let pieces = core.volume.fetch(vec![extent(old), extent(new)]).await.unwrap();
        let bytes = joined(&pieces);
        assert!(bytes == [payload(old.lsn, 100_000), payload(new.lsn, 100_000)].concat());
    });
}

#[test]
fn a_reservation_that_is_dropped_leaves_nothing() {
    let core = Core::new(2);
    core.world.run_until(async {
        core.log.room(5000, Urgency::Data).await.unwrap();
        let first = core.log.reserve(&[1; 5000], Urgency::Data).unwrap();
        let place = first.place();
        drop(first);
        let second = core.log.reserve(&[2; 3000], Urgency::Data).unwrap();
        assert_eq!(second.place(), place, "the blocks are used again");
        let position = second.commit(fields(RecordKind::Data, 1), Stable::Later);
        core.log.flush_to(position).await.unwrap();
        let frames = frames(&core.disk, &core.source.grants()[0]).await.unwrap();
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0].header.payload_blocks, 1);
        assert_eq!(frames[0].records.len(), 1);
    });
}

/// Also where who waits comes only after the turn in which the frame was written.
#[test]
fn a_record_that_is_to_be_stable_needs_no_flush() {
    for (stable, flushes) in [(Stable::Now, 0), (Stable::Later, 1)] {
        let core = Core::new(2);
        core.world.run_until(async {
            core.log.room(4096, Urgency::Data).await.unwrap();
            let before = core.disk.flushes();
            let position =
                core.log.reserve(&[1; 4096], Urgency::Data).unwrap().commit(fields(RecordKind::Data, 1), stable);
            core.world.sleep(Duration::from_millis(1)).await;
            core.log.flush_to(position).await.unwrap();
            assert_eq!(core.disk.flushes() - before, flushes, "{stable:?}");
            assert_eq!(core.log.durable(), position);
        });
    }
}

#[test]
fn waiters_of_a_turn_share_one_frame() {
    let core = Core::new(3);
    core.world.run_until(async {
        core.log.room(4096, Urgency::Data).await.unwrap();
        let stable = |core: Rc<Core>| async move {
            let record = core.append(RecordKind::Data, 4096, Urgency::Data).await.unwrap();
            core.log.flush_to(record.position).await.unwrap();
        };
        join_all((0..16).map(|_| stable(core.clone()))).await;
    });
    let counters = core.log.counters();
    assert_eq!(counters.records, 16);
    assert_eq!(counters.frames, 1);
    assert_eq!(counters.flush_waiters, 16);
    assert_eq!(counters.payload_bytes, 16 * 4096);
}

#[test]
fn unstable_writes_flush_nothing_until_somebody_waits() {
    let core = Core::new(4);
    core.world.run_until(async {
        let mut last = Position::default();
        for _ in 0..50 {
            last = core.append(RecordKind::Data, 8192, Urgency::Data).await.unwrap().position;
            core.world.sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(core.disk.flushes(), 0);
        assert!(core.log.durable() < last);
        core.log.flush_to(last).await.unwrap();
        assert_eq!(core.log.durable(), last);
        assert_eq!(core.disk.flushes(), 1, "one flush for all of them");
    });
}

#[test]
fn a_failed_flush_poisons_the_log_for_ever() {
    for seed in 0..100 {
        let core = Core::new(seed);
        core.world.run_until(async {
            let first = core.append(RecordKind::Data, 4096, Urgency::Data).await.unwrap();
            core.log.flush_to(first.position).await.unwrap();
            core.disk.fail_nth_flush(1);
            let stable = |core: Rc<Core>| async move {
                let record = core.append(RecordKind::Data, 4096, Urgency::Data).await.unwrap();
                core.log.flush_to(record.position).await
            };
            let results = join_all((0..5).map(|_| stable(core.clone()))).await;
            assert_eq!(results, [Err(Poisoned); 5], "seed {seed}");
            assert!(core.log.is_poisoned());
            let late = core.append(RecordKind::Data, 1, Urgency::Reserve).await;
            assert_eq!(late.unwrap_err(), Refused::Poisoned);
            assert_eq!(core.log.room(1, Urgency::Data).await, Err(Refused::Poisoned));
            assert_eq!(core.log.flush_to(core.log.position()).await, Err(Poisoned));
        });
    }
}

/// Here the write is over before anybody wants it durable, so that a flush of its own has to cover it.
#[test]
fn a_failed_flush_of_what_was_written_before_is_an_error_too() {
    for seed in 0..100 {
        let core = Core::new(seed);
        core.world.run_until(async {
            let record = core.append(RecordKind::Data, 4096, Urgency::Data).await.unwrap();
            core.world.sleep(Duration::from_millis(100)).await;
            let flushes = core.disk.flushes();
            core.disk.fail_nth_flush(1);
            assert_eq!(core.log.flush_to(record.position).await, Err(Poisoned), "seed {seed}");
            assert!(core.log.durable() < record.position, "seed {seed}");
            assert!(core.disk.flushes() > flushes, "seed {seed}: it was a flush that failed");
        });
    }
}

#[test]
fn a_failed_write_poisons_whoever_waits_for_a_flush_or_for_room() {
    for seed in 0..100 {
        let core = Core::new(seed);
        core.world.run_until(async {
            core.disk.fail_nth_write(1 + seed % 3);
            let waits = core.world.below(2) == 0;
            let result = loop {
                match core.append(RecordKind::Data, 500_000, Urgency::Data).await {
                    Ok(record) if waits => {
                        if let Err(Poisoned) = core.log.flush_to(record.position).await {
                            break Err(Refused::Poisoned);
                        }
                    }
                    Ok(_) => {}
                    Err(refused) => break Err::<(), _>(refused),
                }
            };
            assert_eq!(result, Err(Refused::Poisoned), "seed {seed}");
        });
    }
}

#[test]
fn data_is_refused_when_segments_run_out_and_truncation_is_not() {
    let core = Core::new(5);
    core.source.data_left.set(2);
    core.source.reserve_left.set(1);
    core.world.run_until(async {
        let mut taken = 0;
        let refused = loop {
            match core.append(RecordKind::Data, 1 << 20, Urgency::Data).await {
                Ok(_) => taken += 1,
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused, Refused::NoSpace);
        assert_eq!(taken, 6, "three to a segment");
        let cut = core.append(RecordKind::Truncate, 0, Urgency::Reserve).await.unwrap();
        core.log.flush_to(cut.position).await.unwrap();
        for _ in 0..400 {
            let cut = core.append(RecordKind::Truncate, 0, Urgency::Reserve).await.unwrap();
            core.log.flush_to(cut.position).await.unwrap();
        }
        assert_eq!(core.source.reserve_left.get(), 0);
        let still = core.append(RecordKind::Data, 4096, Urgency::Data).await.unwrap_err();
        assert_eq!(still, Refused::NoSpace, "data does not get into the reserve");
        core.source.data_left.set(1);
        core.append(RecordKind::Data, 4096, Urgency::Data).await.unwrap();
    });
}

#[test]
fn a_full_disk_is_no_space_and_ends_when_space_comes() {
    let core = Core::new(6);
    core.disk.set_capacity(SEGMENT_BYTES + SEGMENT_BYTES / 2);
    core.world.run_until(async {
        let refused = loop {
            if let Err(refused) = core.append(RecordKind::Data, 1 << 20, Urgency::Data).await {
                break refused;
            }
        };
        assert_eq!(refused, Refused::NoSpace);
        core.disk.set_capacity(4 * SEGMENT_BYTES);
        let record = core.append(RecordKind::Data, 1 << 20, Urgency::Data).await.unwrap();
        core.log.flush_to(record.position).await.unwrap();
        assert_eq!(core.source.grants().len(), 2, "the segment that could not be made is used");
    });
}

#[test]
fn short_waits_are_told_before_anything_is_copied_and_long_ones_are_not() {
    let core = Core::new(3);
    core.source.data_left.set(3);
    core.world.run_until(async {
        core.log.must_wait(PAYLOAD_MAX).expect("the first segment is on its way").await;
        assert!(core.log.must_wait(PAYLOAD_MAX).is_none());
        let (mut bytes, mut waits) = (0, 0);
        loop {
            let part = core.log.fits(PAYLOAD_MAX);
            while let Some(wait) = core.log.must_wait(part) {
                waits += 1;
                wait.await;
            }
            match core.log.reserve(&payload(bytes, part), Urgency::Data) {
                Ok(reservation) => {
                    reservation.commit(fields(RecordKind::Data, bytes + 1), Stable::Later);
                }
                Err(refused) => break assert_eq!(refused, Refused::Later),
            }
            bytes += part as u64;
        }
        assert!(bytes > SEGMENT_BYTES * 5 / 2, "what was short was waited for");
        assert!(waits > 1, "the disk was never behind");
        assert_eq!(core.log.room(PAYLOAD_MAX, Urgency::Data).await, Err(Refused::NoSpace));
    });
}

#[test]
fn bytes_not_yet_written_are_bounded() {
    let core = Core::new(7);
    core.world.run_until(async {
        core.log.room(1 << 20, Urgency::Data).await.unwrap();
        let mut taken = 0;
        while let Ok(reservation) = core.log.reserve(&payload(1, 1 << 20), Urgency::Data) {
            reservation.commit(fields(RecordKind::Data, 1), Stable::Later);
            taken += 1;
        }
        assert_eq!(taken, 3, "4 MiB less the headers");
        core.log.room(1 << 20, Urgency::Data).await.unwrap();
    });
}

#[test]
fn replay_points_leave_out_what_was_committed_before() {
    let core = Core::new(8);
    core.world.run_until(async {
        assert_eq!(core.log.replay_point(), None);
        let before = core.append(RecordKind::Data, 5000, Urgency::Data).await.unwrap();
        let (segment, block) = core.log.replay_point().unwrap();
        let after = core.append(RecordKind::Data, 5000, Urgency::Data).await.unwrap();
        assert!(after.position > before.position);
        core.log.flush_to(after.position).await.unwrap();
        let grant = core.source.grants()[0];
        assert_eq!(segment, grant.id);
        let mut lsns = Vec::new();
        let scope = ReplayScope { from_block: block, ..scope(&grant) };
        let note = |frame: &ReplayedFrame| lsns.extend(frame.records.iter().map(|record| record.lsn));
        replay(core.disk.disk(), scope, note).await.unwrap();
        assert_eq!(lsns, [after.lsn]);
    });
}

#[test]
fn damage_in_a_durable_frame_is_corruption_and_at_the_tail_it_is_the_end() {
    let core = Core::new(9);
    core.world.run_until(async {
        let mut records = Vec::new();
        for _ in 0..4 {
            let record = core.append(RecordKind::Data, 5000, Urgency::Data).await.unwrap();
            core.log.flush_to(record.position).await.unwrap();
            records.push(record);
        }
        let grant = core.source.grants()[0];
        // Three blocks a frame: the last frame's payload, then a payload in the middle.
        core.disk.damage(grant.slot, 3 * 3 * 4096 + 4096);
        assert_eq!(frames(&core.disk, &grant).await.unwrap().len(), 3);
        core.disk.damage(grant.slot, 3 * 4096 + 4096 + 17);
        let error = frames(&core.disk, &grant).await.unwrap_err();
        assert!(matches!(error, ReplayError::Corrupt { slot: 0, block: 3, .. }), "{error}");
        assert_eq!(error.to_string(), "seg.00000000, block 3: a durable frame of segment 100 is damaged");

        let fresh = volume(&core.world, &core.disk, core.source.slots.clone());
        assert_eq!(read_back(&fresh, records[0].place, 5000).await.unwrap(), payload(1, 5000));
        let corrupt = read_back(&fresh, records[1].place, 5000).await.unwrap_err();
        assert_eq!(corrupt, ReadError::Corrupt { segment: grant.id, block: 4 });
        core.disk.damage(grant.slot, 3 * 4096 + 4096 + 17);
        assert_eq!(
            read_back(&fresh, records[1].place, 5000).await.unwrap(),
            payload(2, 5000),
            "the disk is asked again"
        );
    });
}

#[test]
fn a_log_that_is_dropped_ends_its_tasks() {
    let core = Core::new(10);
    core.world.run_until(async {
        let record = core.append(RecordKind::Data, 5000, Urgency::Data).await.unwrap();
        core.log.flush_to(record.position).await.unwrap();
    });
    let weak = Rc::downgrade(&core.log.inner);
    let world = core.world.clone();
    drop(core);
    let done = world.run_until(select(Box::pin(world.sleep(Duration::from_secs(1))), std::future::pending::<()>()));
    assert!(matches!(done, Either::Left(_)));
    assert!(weak.upgrade().is_none());
}
