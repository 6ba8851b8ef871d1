//! Damage in the log's slot files, before a start and while it runs, and on the way from the disk into the cache.

use super::image::{Copied, Ended, Image};
use super::oracle::{Judged, Oracle, Question};
use super::{Damage, Outcome, Tally, campaign};
use crate::inode::Ino;
use crate::ledger::check::Inspector;
use crate::ledger::env::Limits;
use cache::extent::{BLOCK_BYTES, Place};
use cache::sim::{Rng, SimDisk};
use std::collections::{BTreeMap, BTreeSet};

/// An image with its questions.
struct Subject {
    place: &'static str,
    image: Image,
    oracle: Oracle,
    /// Files by the blocks (slot, number) that they need.
    files: BTreeMap<(u32, u64), BTreeSet<Ino>>,
}

impl Subject {
    fn new(place: &'static str, ended: Ended) -> Subject {
        let image = Image::make(ended);
        let (oracle, files) = (Oracle::of(&image), files_by_block(&image));
        Subject { place, image, oracle, files }
    }

    /// Whether only files that need these blocks met errors.
    fn spares_others(&self, blocks: &[(u32, u64)], judged: &[Judged]) -> bool {
        let hurt: BTreeSet<Ino> = blocks.iter().filter_map(|at| self.files.get(at)).flatten().copied().collect();
        self.oracle.asked.iter().zip(judged).all(|((question, _), judged)| match (judged, question) {
            (Judged::Error, Question::Read(id, _)) => hurt.contains(&id.ino),
            (Judged::Error, _) => false,
            _ => true,
        })
    }
}

fn files_by_block(image: &Image) -> BTreeMap<(u32, u64), BTreeSet<Ino>> {
    let copied = image.copy();
    let rig = copied.open().unwrap();
    let directory = rig.shared.directory.join(crate::fs::filesystem::LEDGER_DIRECTORY);
    drop(rig);
    let inspector = Inspector::open(&directory, Limits { map_bytes: 256 << 20, readers_max: 8 }).unwrap();
    let slots: BTreeMap<_, _> =
        inspector.segments().map(|info| info.unwrap()).map(|info| (info.id, info.slot)).collect();
    let mut files: BTreeMap<_, BTreeSet<Ino>> = BTreeMap::new();
    for row in inspector.extents().map(|row| row.unwrap()) {
        let Place::Log { segment, frame, block, skew, .. } = row.extent.place else { continue };
        let blocks = (u64::from(skew) + row.extent.bytes).div_ceil(BLOCK_BYTES as u64);
        let payload = u64::from(block)..u64::from(block) + blocks;
        for at in payload.chain([u64::from(frame)]) {
            files.entry((slots[&segment], at)).or_default().insert(row.ino);
        }
    }
    files
}

/// Damages the disk: the blocks that have other content now.
fn damage(disk: &SimDisk, earlier: &SimDisk, damage: Damage, rng: &mut Rng) -> Vec<(u32, u64)> {
    let written = disk.written();
    let mut any = || written[rng.below(written.len() as u64) as usize];
    let (one, other) = (any(), any());
    let before = [disk.peek(one.0, one.1), disk.peek(other.0, other.1)];
    if damage == Damage::Misdirected {
        let [(one_bytes, content), (other_bytes, _)] = before;
        disk.poke(other.0, other_bytes, other.1, &content);
        disk.poke(one.0, one_bytes, one.1, &earlier.peek(one.0, one.1).1);
    } else {
        let (bytes, mut content) = before[0];
        damage.apply(&mut content, rng);
        disk.poke(one.0, bytes, one.1, &content);
    }
    let changed = [one, other].into_iter().zip(before);
    changed.filter(|(at, before)| disk.peek(at.0, at.1) != *before).map(|(at, _)| at).collect()
}

/// When the damage happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Before,
    Running,
}

fn corrupt(subject: &Subject, when: When, seed: u64, tally: &mut Tally) {
    let mut rng = Rng::new(seed);
    let kind = Damage::any(&mut rng);
    let copied: Copied = subject.image.copy();
    let mut blocks = Vec::new();
    let is_replayed = when == When::Before && subject.place != FOLDED;
    if when == When::Before {
        blocks = damage(&copied.disk, &subject.image.earlier, kind, &mut rng);
    }
    let outcome = match copied.open() {
        Err(_) => Outcome::Refused,
        Ok(rig) => {
            if when == When::Running {
                blocks = damage(&rig.disk, &subject.image.earlier, kind, &mut rng);
            }
            let judged = subject.oracle.ask(&rig);
            if subject.place == FOLDED {
                assert!(subject.spares_others(&blocks, &judged), "seed {seed}: {kind:?} of {blocks:?} spread");
            }
            outcome(&judged)
        }
    };
    assert!(outcome != Outcome::Refused || is_replayed, "seed {seed}: not opened");
    assert_ne!(outcome, Outcome::Wrong, "BASALT_CORRUPTION_FIRST={seed}: {kind:?} of {blocks:?}, {when:?}");
    tally.count(&format!("log {}, {when:?}", subject.place), kind, outcome);
}

pub(super) fn outcome(judged: &[Judged]) -> Outcome {
    if judged.contains(&Judged::Wrong) {
        Outcome::Wrong
    } else if judged.contains(&Judged::Error) {
        Outcome::Error
    } else {
        Outcome::Harmless
    }
}

const FOLDED: &str = "folded";

#[test]
fn no_damage_of_the_log_is_read_as_data() {
    let subjects = [Subject::new(FOLDED, Ended::Stopped), Subject::new("to replay", Ended::Killed)];
    let mut tally = Tally::default();
    for seed in campaign(120) {
        let subject = &subjects[seed as usize % 2];
        let when = if seed / 2 % 2 == 0 { When::Before } else { When::Running };
        corrupt(subject, when, seed, &mut tally);
    }
    eprint!("{tally}");
    assert!(tally.total(Outcome::Error) > 0, "no damage was met at all");
}

/// A read gives other bytes once: that is an error at most, and the next read is right.
#[test]
fn no_damage_on_the_way_into_the_cache_is_read_as_data() {
    let subject = Subject::new(FOLDED, Ended::Stopped);
    let reads = {
        let rig = subject.image.copy().open().unwrap();
        let before = rig.disk.reads();
        assert_eq!(outcome(&subject.oracle.ask(&rig)), Outcome::Harmless);
        rig.disk.reads() - before
    };
    let mut tally = Tally::default();
    for seed in campaign(60) {
        let mut rng = Rng::new(seed);
        let kind = Damage::any(&mut rng);
        let rig = subject.image.copy().open().unwrap();
        let nth = 1 + rng.below(reads);
        rig.disk.distort_nth_read(nth, move |chunk| match kind {
            Damage::Misdirected => {
                let mut any = || rng.below((chunk.len() / BLOCK_BYTES) as u64) as usize * BLOCK_BYTES;
                let (one, other) = (any(), any());
                chunk.copy_within(one..one + BLOCK_BYTES, other);
            }
            _ => kind.apply(chunk, &mut rng),
        });
        let outcome = outcome(&subject.oracle.ask(&rig));
        assert_ne!(outcome, Outcome::Wrong, "BASALT_CORRUPTION_FIRST={seed}: {kind:?} in read {nth}");
        let again = super::log::outcome(&subject.oracle.ask(&rig));
        assert_eq!(again, Outcome::Harmless, "seed {seed}: the cache kept what was damaged on its way");
        tally.count("cache", kind, outcome);
    }
    eprint!("{tally}");
    assert!(tally.total(Outcome::Error) > 0, "no damage was met at all");
}
