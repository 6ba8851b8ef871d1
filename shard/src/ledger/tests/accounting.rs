//! Extents tile each file and segments count their live bytes exactly, after whatever happened.

use super::rig::*;
use crate::inode::{FileId, LogAttr};
use crate::ledger::check::Inspector;
use crate::ledger::command::{Done, Fold, Job, ReplayFrom, SegmentInfo, Urgency};
use crate::ledger::sweep::EXTENTS_MAX;
use cache::extent::{BLOCK_BYTES, Extent, ExtentMap, Place, SegmentId};
use cache::world::Time;
use std::collections::BTreeMap;

/// Where each byte of a file is.
type Bytes = Vec<Option<(SegmentId, u64)>>;

struct Shadow {
    id: FileId,
    at: String,
    bytes: Bytes,
    lsn: u64,
    live: ExtentMap,
    cut: Option<u64>,
}

struct Game {
    rig: Rig,
    dice: Dice,
    files: Vec<Shadow>,
    segments: Vec<SegmentInfo>,
    next_block: u32,
    names: u32,
}

fn location(place: Place, index: u64) -> Option<(SegmentId, u64)> {
    match place {
        Place::Hole => None,
        Place::Log { segment, block, skew, .. } => {
            Some((segment, u64::from(block) * BLOCK_BYTES as u64 + u64::from(skew) + index))
        }
    }
}

impl Game {
    fn new(seed: u64) -> Game {
        let mut game = Game {
            rig: Rig::new(),
            dice: Dice(seed),
            files: Vec::new(),
            segments: Vec::new(),
            next_block: 1,
            names: 0,
        };
        game.open_segment();
        game
    }

    fn open_segment(&mut self) {
        let job = Job::OpenSegment { core: 0, urgency: Urgency::Data };
        let Done::Segment { info, .. } = self.rig.job(job) else { panic!("there is room") };
        self.segments.push(info);
        self.next_block = 1;
    }

    fn make(&mut self) {
        let root = self.rig.root();
        self.names += 1;
        let at = format!("f{}", self.names);
        let id = self.rig.file(root, &at, 0o644).id();
        self.files.push(Shadow { id, at, bytes: Vec::new(), lsn: 0, live: ExtentMap::new(), cut: None });
    }

    fn pick(&mut self) -> usize {
        self.dice.roll(self.files.len() as u64) as usize
    }

    /// As the log's view of a file changes: by a write, which may leave a hole.
    fn write(&mut self) {
        let file = self.pick();
        let (offset, bytes) = (self.dice.roll(60_000), 1 + self.dice.roll(20_000));
        let place = Place::Log {
            segment: self.segments.last().unwrap().id,
            frame: self.next_block - 1,
            block: self.next_block,
            skew: self.dice.roll(4) as u16,
        };
        self.next_block += 6;
        let lsn = self.rig.shared.lsn();
        let shadow = &mut self.files[file];
        shadow.grow(offset, lsn);
        shadow.live.insert(offset, Extent { bytes, place, version: lsn, lsn });
        let end = (offset + bytes) as usize;
        let size = shadow.bytes.len().max(end);
        shadow.bytes.resize(size, None);
        for index in 0..bytes {
            shadow.bytes[(offset + index) as usize] = location(place, index);
        }
        shadow.lsn = lsn;
    }

    fn truncate(&mut self) {
        let file = self.pick();
        let size = self.dice.roll(80_000);
        let lsn = self.rig.shared.lsn();
        let shadow = &mut self.files[file];
        if size < shadow.bytes.len() as u64 {
            shadow.live.cut(size);
            shadow.cut = Some(shadow.cut.map_or(size, |cut| cut.min(size)));
            shadow.bytes.truncate(size as usize);
        } else {
            shadow.grow(size, lsn);
        }
        shadow.lsn = lsn;
    }

    fn fold(&mut self) {
        let file = self.pick();
        let fold = self.files[file].fold();
        let twice = self.dice.roll(3) == 0;
        if self.files[file].lsn == 0 {
            return;
        }
        assert!(matches!(self.rig.fold(fold.clone()), Done::Folded), "{fold:?}");
        if twice {
            assert!(matches!(self.rig.fold(fold), Done::Folded));
        }
        let shadow = &mut self.files[file];
        shadow.live = ExtentMap::new();
        shadow.cut = None;
    }

    fn remove(&mut self) {
        let file = self.pick();
        let root = self.rig.root();
        let shadow = self.files.swap_remove(file);
        self.rig.ok(remove(root, &shadow.at));
        assert!(matches!(self.rig.fold(shadow.fold()), Done::Folded), "of a file that is gone");
    }

    /// Everything is folded, so the replay may begin at the newest segment.
    fn advance(&mut self) {
        for file in 0..self.files.len() {
            if self.files[file].lsn > 0 {
                let fold = self.files[file].fold();
                assert!(matches!(self.rig.fold(fold), Done::Folded));
                self.files[file].live = ExtentMap::new();
                self.files[file].cut = None;
            }
        }
        self.open_segment();
        let segment = self.segments.last().unwrap().id;
        let from = Some(ReplayFrom { core: 0, segment, block: 0 });
        assert!(matches!(self.rig.job(Job::Fold { files: Vec::new(), from }), Done::Folded));
    }

    fn turn(&mut self) {
        match self.dice.roll(40) {
            _ if self.files.len() < 3 => self.make(),
            0..=2 => self.make(),
            3..=18 => self.write(),
            19..=22 => self.truncate(),
            23..=34 => self.fold(),
            35 => self.remove(),
            36 => self.advance(),
            37 => {
                self.rig.job(Job::Sweep);
            }
            38 => self.open_segment(),
            _ => {
                let rig = std::mem::replace(&mut self.rig, Rig::new());
                self.rig = rig.crash();
            }
        }
    }

    fn check(&mut self, what: &str) {
        self.rig.ledger.settle().unwrap();
        let inspector = Inspector::of(self.rig.ledger.store()).unwrap();
        let mut counted: BTreeMap<SegmentId, u64> = BTreeMap::new();
        for row in inspector.extents() {
            let row = row.unwrap();
            if let Place::Log { segment, .. } = row.extent.place {
                *counted.entry(segment).or_default() += row.extent.log_bytes();
            }
        }
        let mut slots = Vec::new();
        let mut live_bytes = 0;
        for info in inspector.segments() {
            let info = info.unwrap();
            assert_eq!(info.live_bytes, counted.remove(&info.id).unwrap_or(0), "{what}: {info:?}");
            assert!(info.live_bytes > 0 || info.replay_from.is_some(), "{what}: {info:?} is of no use");
            assert_eq!(self.rig.shared.slots.slot(info.id), Some(info.slot), "{what}");
            live_bytes += info.live_bytes;
            slots.push(info.slot);
        }
        assert!(counted.is_empty(), "{what}: extents in unknown segments {counted:?}");
        assert_eq!(self.rig.shared.live_bytes.load(std::sync::atomic::Ordering::Relaxed), live_bytes);
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), inspector.segments().count(), "{what}: a slot is used twice");
        for shadow in self.files.iter().filter(|shadow| shadow.is_folded()) {
            self.check_file(shadow, what);
        }
    }

    fn check_file(&self, shadow: &Shadow, what: &str) {
        let inode = self.rig.reader.object(shadow.id).unwrap();
        assert_eq!(inode.size, shadow.bytes.len() as u64, "{what}");
        let mut at = 0;
        let mut used = 0;
        for row in self.rig.reader.extents(shadow.id.ino, 0, u64::MAX).unwrap() {
            let (offset, extent) = row.unwrap();
            assert_eq!(offset, at, "{what}: extents tile the file");
            for index in 0..extent.bytes {
                let expected = shadow.bytes[(offset + index) as usize];
                assert_eq!(location(extent.place, index), expected, "{what}: byte {}", offset + index);
            }
            at += extent.bytes;
            used += if extent.place == Place::Hole { 0 } else { extent.bytes };
        }
        assert_eq!(at, inode.size, "{what}");
        assert_eq!(used, inode.used, "{what}");
    }
}

impl Shadow {
    fn is_folded(&self) -> bool {
        self.live.is_empty() && self.cut.is_none()
    }

    fn grow(&mut self, size: u64, lsn: u64) {
        let old = self.bytes.len() as u64;
        if size > old {
            let hole = Extent { bytes: size - old, place: Place::Hole, version: lsn, lsn };
            self.live.insert(old, hole);
            self.bytes.resize(size as usize, None);
        }
    }

    fn fold(&self) -> Fold {
        let time = Time { secs: 5_000, nanos: 0 };
        let size = self.bytes.len() as u64;
        Fold {
            id: self.id,
            lsn: self.lsn,
            cut: self.cut,
            extents: self.live.iter().collect(),
            attr: LogAttr { size, mtime: time, ctime: time, change: self.lsn, clears_setid: false },
        }
    }
}

#[test]
fn live_bytes_are_what_a_recount_finds() {
    for seed in 1..=6 {
        let mut game = Game::new(seed * 0x1234_5677);
        for turn in 0..400 {
            game.turn();
            game.check(&format!("seed {seed}, turn {turn}"));
        }
        while !game.files.is_empty() {
            game.remove();
        }
        game.advance();
        assert!(matches!(game.rig.job(Job::Sweep), Done::Swept { more: false }));
        game.check(&format!("seed {seed}, at the end"));
        assert_eq!(game.rig.reader.segments().unwrap().len(), 1, "all space came back");
    }
}

#[test]
fn a_sweep_stops_after_some_extents_and_goes_on_after_a_crash() {
    let mut rig = Rig::new();
    let root = rig.root();
    let job = Job::OpenSegment { core: 0, urgency: Urgency::Data };
    let Done::Segment { info, .. } = rig.job(job) else { panic!("there is room") };
    let count = EXTENTS_MAX as u64 * 2;
    let lsn = rig.shared.lsn();
    let extent = |index: u64| {
        let block = 1 + index as u32 * 2;
        let place = Place::Log { segment: info.id, frame: block - 1, block, skew: 0 };
        (index * 10, Extent { bytes: 10, place, version: lsn, lsn })
    };
    let id = rig.file(root, "f", 0o644).id();
    let size = count * 10;
    let time = Time::default();
    let attr = LogAttr { size, mtime: time, ctime: time, change: lsn, clears_setid: false };
    rig.fold(Fold { id, lsn, cut: None, extents: (0..count).map(extent).collect(), attr });
    rig.ok(remove(root, "f"));
    let live = |rig: &mut Rig| rig.reader.segments().unwrap().iter().map(|info| info.live_bytes).sum::<u64>();
    let stored = count * BLOCK_BYTES as u64;
    assert_eq!(live(&mut rig), stored, "nothing is free before the sweep");
    assert!(matches!(rig.job(Job::Sweep), Done::Swept { more: true }));
    assert_eq!(live(&mut rig), stored / 2);
    let mut rig = rig.crash();
    assert!(matches!(rig.job(Job::Sweep), Done::Swept { more: true }));
    assert!(matches!(rig.job(Job::Sweep), Done::Swept { more: false }));
    assert_eq!(live(&mut rig), 0);
    rig.ledger.settle().unwrap();
    assert_eq!(Inspector::of(rig.ledger.store()).unwrap().orphans().count(), 0);
}

#[test]
fn a_fold_that_a_later_one_overtook_changes_nothing() {
    let mut rig = Rig::new();
    let root = rig.root();
    let job = Job::OpenSegment { core: 0, urgency: Urgency::Data };
    let Done::Segment { info, .. } = rig.job(job) else { panic!("there is room") };
    let id = rig.file(root, "f", 0o644).id();
    let (older, later) = (rig.shared.lsn(), rig.shared.lsn());
    let fold = |lsn: u64, block: u32| {
        let place = Place::Log { segment: info.id, frame: block - 1, block, skew: 0 };
        let attr =
            LogAttr { size: 10, mtime: Time::default(), ctime: Time::default(), change: lsn, clears_setid: false };
        Fold { id, lsn, cut: None, extents: vec![(0, Extent { bytes: 10, place, version: lsn, lsn })], attr }
    };
    for (lsn, block) in [(later, 3), (older, 1), (later, 5)] {
        assert!(matches!(rig.fold(fold(lsn, block)), Done::Folded));
        rig.reader.refresh().unwrap();
        let places: Vec<_> = rig.reader.extents(id.ino, 0, 10).unwrap().map(|row| row.unwrap().1.place).collect();
        assert_eq!(places, [fold(later, 3).extents[0].1.place]);
        assert_eq!(rig.reader.inode(id.ino).unwrap().unwrap().folded_lsn, later);
    }
}
