//! Seals: damage to the last frame is known once the log has been quiet for a moment, or has left the segment.

use super::*;
use futures_util::FutureExt;

/// Long enough for a seal to be written.
const REST: Duration = SEAL_PAUSE.saturating_add(Duration::from_millis(10));

async fn stable(core: &Core, bytes: usize) -> Appended {
    let record = core.append(RecordKind::Data, bytes, Urgency::Data).await.unwrap();
    core.log.flush_to(record.position).await.unwrap();
    record
}

/// For each frame of a segment how many records it has: none is a seal.
async fn counts(core: &Core, grant: &SegmentGrant) -> Vec<usize> {
    frames(&core.disk, grant).await.unwrap().iter().map(|frame| frame.records.len()).collect()
}

/// What replay says when a byte in the payload of the last frame with records is damaged.
async fn damaged(core: &Core, grant: &SegmentGrant) -> Result<usize, ReplayError> {
    let all = frames(&core.disk, grant).await.unwrap();
    let last = all.iter().rfind(|frame| !frame.records.is_empty()).unwrap();
    let byte = u64::from(last.header.block + 1) * BLOCK_BYTES as u64 + 17;
    core.disk.damage(grant.slot, byte);
    let result = frames(&core.disk, grant).await;
    core.disk.damage(grant.slot, byte);
    result.map(|frames| frames.len())
}

#[test]
fn damage_in_the_last_frame_is_known_after_a_moment_of_quiet() {
    let core = Core::new(20);
    core.world.run_until(async {
        stable(&core, 5000).await;
        stable(&core, 5000).await;
        let grant = core.source.grants()[0];
        assert_eq!(damaged(&core, &grant).await.unwrap(), 1, "until then it is a write that was cut off");
        core.world.sleep(REST).await;
        assert_eq!(counts(&core, &grant).await, [1, 1, 0]);
        let error = damaged(&core, &grant).await.unwrap_err();
        assert!(matches!(error, ReplayError::Corrupt { block: 3, .. }), "{error}");
        // Its write went elsewhere, over the very frame that it seals.
        let (bytes, seal) = core.disk.peek(grant.slot, 6);
        let (_, last) = core.disk.peek(grant.slot, 3);
        core.disk.poke(grant.slot, bytes, 3, &seal);
        core.disk.poke(grant.slot, bytes, 6, &[0; BLOCK_BYTES]);
        let error = frames(&core.disk, &grant).await.unwrap_err();
        assert!(matches!(error, ReplayError::Corrupt { block: 3, .. }), "{error}");
        core.disk.poke(grant.slot, bytes, 3, &last);
        core.disk.poke(grant.slot, bytes, 6, &seal);
        // Damage to the seal itself takes nothing away.
        core.disk.damage(grant.slot, 6 * BLOCK_BYTES as u64 + 40);
        assert_eq!(counts(&core, &grant).await, [1, 1]);
    });
}

#[test]
fn an_idle_log_is_sealed_once_and_then_left_alone() {
    let core = Core::new(21);
    core.world.run_until(async {
        core.world.sleep(REST).await;
        assert_eq!(core.disk.writes(), 0, "there is nothing to seal");
        stable(&core, 5000).await;
        let grant = core.source.grants()[0];
        core.world.sleep(Duration::from_secs(60)).await;
        assert_eq!(counts(&core, &grant).await, [1, 0]);
        assert_eq!(core.log.counters().frames, 2);
    });
}

#[test]
fn what_comes_after_a_seal_is_behind_it_and_as_durable_as_ever() {
    let core = Core::new(22);
    core.world.run_until(async {
        let mut records = Vec::new();
        // The second round has a seal at the end of a chunk, the third one a reservation that is dropped.
        for round in 0..20 {
            if round == 2 {
                drop(core.log.reserve(&[1; 100_000], Urgency::Data).unwrap());
            }
            records.push(stable(&core, 13 * BLOCK_BYTES + round).await);
            core.world.sleep(REST).await;
        }
        let grant = core.source.grants()[0];
        assert_eq!(counts(&core, &grant).await, [1, 0].repeat(20));
        assert_eq!(core.disk.flushes(), 0, "a write that follows a seal needs none because of it");
        let fresh = volume(&core.world, &core.disk, core.source.slots.clone());
        for record in records {
            assert!(read_back(&fresh, record.place, record.bytes).await.unwrap() == payload(record.lsn, record.bytes));
            assert!(
                read_back(&core.volume, record.place, record.bytes).await.unwrap() == payload(record.lsn, record.bytes)
            );
        }
    });
}

#[test]
fn what_is_not_durable_is_not_sealed() {
    let core = Core::new(23);
    core.world.run_until(async {
        let record = core.append(RecordKind::Data, 5000, Urgency::Data).await.unwrap();
        core.world.sleep(Duration::from_secs(1)).await;
        let grant = core.source.grants()[0];
        assert_eq!(counts(&core, &grant).await, [1]);
        core.log.flush_to(record.position).await.unwrap();
        core.world.sleep(REST).await;
        assert_eq!(counts(&core, &grant).await, [1, 0]);
    });
}

/// Appends, unstably, until the log has left its segment; the segment.
async fn fill(core: &Core) -> SegmentGrant {
    let before = core.log.counters().segments;
    loop {
        core.append(RecordKind::Data, 300_000, Urgency::Data).await.unwrap();
        if core.log.counters().segments > before.max(1) {
            let grants = core.source.grants();
            let (now, _) = core.log.replay_point().unwrap();
            let at = grants.iter().position(|grant| grant.id == now).unwrap();
            return grants[at - 1];
        }
    }
}

#[test]
fn a_segment_that_is_left_is_sealed_at_once_when_it_is_durable() {
    let core = Core::new(24);
    core.world.run_until(async {
        let grant = fill(&core).await;
        core.world.sleep(Duration::from_millis(100)).await;
        assert!(counts(&core, &grant).await.iter().all(|&records| records > 0), "nobody wanted it durable");
        core.log.flush_to(core.log.position()).await.unwrap();
        let now = core.log.replay_point().unwrap().0;
        core.log.settled_before(now).await.unwrap();
        let found = counts(&core, &grant).await;
        assert_eq!(found.iter().filter(|&&records| records == 0).count(), 1);
        assert_eq!(found.last(), Some(&0));
        assert!(matches!(damaged(&core, &grant).await, Err(ReplayError::Corrupt { .. })));
    });
}

/// Frames may take all blocks of a segment but one.
#[test]
fn the_last_block_of_a_segment_is_kept_for_its_seal() {
    let core = Core::new(25);
    core.world.run_until(async {
        core.log.room(BLOCK_BYTES, Urgency::Data).await.unwrap();
        while core.log.counters().segments == 1 {
            let bytes = core.log.fits(PAYLOAD_MAX);
            core.append(RecordKind::Data, bytes, Urgency::Data).await.unwrap();
        }
        core.log.flush_to(core.log.position()).await.unwrap();
        core.log.settled_before(core.log.replay_point().unwrap().0).await.unwrap();
        let grant = core.source.grants()[0];
        let all = frames(&core.disk, &grant).await.unwrap();
        let seal = all.last().unwrap();
        assert!(seal.records.is_empty());
        assert_eq!(u64::from(seal.header.block + 1) * BLOCK_BYTES as u64, SEGMENT_BYTES, "it was filled to its end");
    });
}

/// Who gives up segments relies on it: no write comes to a slot that somebody else may have by then.
#[test]
fn nothing_is_written_to_a_segment_that_is_settled() {
    let mut waited = 0;
    for seed in 0..200 {
        let core = Core::new(seed);
        core.world.run_until(async {
            let grant = match seed % 2 {
                0 => fill(&core).await,
                // Here it is left while the seal of a quiet moment is under way.
                _ => {
                    stable(&core, 5000).await;
                    core.append(RecordKind::Data, PAYLOAD_MAX, Urgency::Data).await.unwrap();
                    core.append(RecordKind::Data, SEGMENT_BYTES as usize / 4, Urgency::Data).await.unwrap();
                    core.log.flush_to(core.log.position()).await.unwrap();
                    let frames = core.log.counters().frames;
                    while core.log.inner.state.borrow().frames.is_empty() {
                        core.world.sleep(Duration::from_micros(1)).await;
                    }
                    assert_eq!(core.log.counters().frames, frames, "it is under way, seed {seed}");
                    core.append(RecordKind::Data, PAYLOAD_MAX, Urgency::Data).await.unwrap();
                    core.source.grants()[0]
                }
            };
            core.log.flush_to(core.log.position()).await.unwrap();
            let (now, _) = core.log.replay_point().unwrap();
            assert!(now > grant.id, "seed {seed}");
            let mut settled = Box::pin(core.log.settled_before(now));
            if settled.as_mut().now_or_never().is_none() {
                waited += 1;
                settled.await.unwrap();
            }
            let is_of_it = |&(slot, _): &(u32, u64)| slot == grant.slot;
            let blocks: Vec<_> = core.disk.written().into_iter().filter(is_of_it).collect();
            let before: Vec<_> = blocks.iter().map(|&(slot, block)| core.disk.peek(slot, block)).collect();
            core.world.sleep(Duration::from_secs(1)).await;
            let later: Vec<_> = core.disk.written().into_iter().filter(is_of_it).collect();
            assert_eq!(later, blocks, "seed {seed}");
            assert!(blocks.iter().map(|&(slot, block)| core.disk.peek(slot, block)).eq(before), "seed {seed}");
            assert_eq!(counts(&core, &grant).await.last(), Some(&0), "seed {seed}");
        });
    }
    assert!(waited > 50, "{waited}: most seals are under way when everything else is durable");
}

#[test]
fn a_seal_that_cannot_be_written_poisons_the_log() {
    for seed in 0..20 {
        let core = Core::new(seed);
        core.world.run_until(async {
            let record = stable(&core, 5000).await;
            core.disk.fail_nth_write(1);
            core.world.sleep(REST).await;
            assert!(core.log.is_poisoned());
            assert_eq!(core.log.flush_to(record.position).await, Err(Poisoned));
            assert_eq!(core.log.settled_before(SegmentId(u64::MAX)).await, Err(Poisoned));
        });
    }
}
