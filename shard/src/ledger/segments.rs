//! Which segments there are, which slots are free, how many live bytes each segment holds.
//!
//! Caller: the ledger, which owns the only instance. The table `segments` is small (16 Ki rows per
//! TiB), so all of it is kept here; rows that changed are written once per batch. Live bytes are
//! exact: for each of the ledger's extents that lie in a segment the blocks that it touches, those of
//! removed files included until they are swept. Whole blocks, because a move needs as many.

use super::command::{ReplayFrom, SegmentInfo, Urgency};
use super::record::meta::Meta;
use crate::status::Status;
use cache::extent::{Extent, Place, SegmentId};
use std::collections::{BTreeMap, BTreeSet};

/// All segments of a filesystem.
#[derive(Debug, Default)]
pub(super) struct Segments {
    all: BTreeMap<SegmentId, SegmentInfo>,
    touched: BTreeSet<SegmentId>,
    free_slots: BTreeSet<u32>,
    live_bytes: u64,
    news: Vec<News>,
}

/// What cores must learn of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It is in use and lies in this slot.
    Opened {
        /// The segment.
        id: SegmentId,
        /// Its slot.
        slot: u32,
    },
    /// It is no longer in use; its slot may be used again.
    Freed(SegmentId),
}

/// What there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotRoom {
    /// Slots that [`Urgency::Data`] must leave.
    pub(super) reserve: u32,
    /// New slot files that data may have.
    pub(super) fresh_for_data: u32,
    /// New slot files that truncation, recovery and cleaning may have.
    pub(super) fresh_for_reserve: u32,
}

/// What is to be done with a row of the table.
pub(super) enum Row {
    Put(SegmentInfo),
    Delete(SegmentId),
}

impl Segments {
    /// From the rows of the table; slots below `slots_made` that no segment holds are free.
    pub(super) fn new(rows: impl IntoIterator<Item = SegmentInfo>, slots_made: u32) -> Segments {
        let all: BTreeMap<_, _> = rows.into_iter().map(|info| (info.id, info)).collect();
        let used: BTreeSet<u32> = all.values().map(|info| info.slot).collect();
        let free_slots = (0..slots_made).filter(|slot| !used.contains(slot)).collect();
        let live_bytes = all.values().fold(0, |sum: u64, info| sum.saturating_add(info.live_bytes));
        let news = all.values().map(|info| News::Opened { id: info.id, slot: info.slot }).collect();
        Segments { all, touched: BTreeSet::new(), free_slots, live_bytes, news }
    }

    /// Bytes of extents that lie in the log.
    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Segments in use.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Slots that were given out before and hold no segment now.
    pub(super) fn free_slots(&self) -> usize {
        self.free_slots.len()
    }

    /// Gives out a segment, and whether its slot is given out for the first time.
    pub(super) fn open(
        &mut self,
        meta: &mut Meta,
        core: u16,
        urgency: Urgency,
        room: SlotRoom,
    ) -> Result<(SegmentInfo, bool), Status> {
        let free = self.free_slots.len() as u64;
        let (fresh, left_alone) = match urgency {
            Urgency::Data => (room.fresh_for_data, u64::from(room.reserve)),
            Urgency::Reserve => (room.fresh_for_reserve, 0),
        };
        if free + u64::from(fresh) <= left_alone {
            return Err(Status::NoSpace);
        }
        let (slot, is_fresh) = match self.free_slots.pop_first() {
            Some(slot) => (slot, false),
            None => {
                let slot = meta.slots_made;
                meta.slots_made = slot.checked_add(1).ok_or(Status::NoSpace)?;
                (slot, true)
            }
        };
        let id = SegmentId(meta.next_segment);
        meta.next_segment += 1;
        let info = SegmentInfo { id, slot, core, replay_from: Some(0), live_bytes: 0 };
        self.all.insert(id, info);
        self.touched.insert(id);
        self.news.push(News::Opened { id, slot });
        Ok((info, is_fresh))
    }

    /// Whether the bytes of `extent` lie in a segment that is known, or nowhere.
    pub(super) fn holds(&self, extent: &Extent) -> bool {
        match extent.place {
            Place::Hole => true,
            Place::Log { segment, .. } => self.all.contains_key(&segment),
        }
    }

    /// An extent was put into the ledger.
    pub(super) fn add(&mut self, extent: &Extent) {
        self.count_extent(extent, u64::saturating_add);
    }

    /// An extent was taken out of the ledger.
    pub(super) fn take(&mut self, extent: &Extent) {
        self.count_extent(extent, u64::saturating_sub);
    }

    fn count_extent(&mut self, extent: &Extent, change: fn(u64, u64) -> u64) {
        let Place::Log { segment, .. } = extent.place else { return };
        if let Some(info) = self.all.get_mut(&segment) {
            info.live_bytes = change(info.live_bytes, extent.log_bytes());
            self.live_bytes = change(self.live_bytes, extent.log_bytes());
            self.touched.insert(segment);
        }
    }

    /// All of the core's log before `from` is folded.
    pub(super) fn replay_from(&mut self, from: ReplayFrom) {
        let mine = |info: &&mut SegmentInfo| info.core == from.core && info.replay_from.is_some();
        for info in self.all.range_mut(..=from.segment).map(|(_, info)| info).filter(mine) {
            info.replay_from = (info.id == from.segment).then(|| info.replay_from.unwrap_or(0).max(from.block));
            self.touched.insert(info.id);
        }
    }

    /// What happened to segments since the last time, in its order.
    pub(super) fn news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Ends a batch: frees what is neither read nor replayed any more, and says what to write.
    pub(super) fn settle(&mut self) -> Vec<Row> {
        let mut rows = Vec::with_capacity(self.touched.len());
        for id in std::mem::take(&mut self.touched) {
            let Some(info) = self.all.get(&id).copied() else { continue };
            if info.live_bytes == 0 && info.replay_from.is_none() {
                self.all.remove(&id);
                self.free_slots.insert(info.slot);
                self.news.push(News::Freed(id));
                rows.push(Row::Delete(id));
            } else {
                rows.push(Row::Put(info));
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        Meta { filesystem: 1, next_ino: 2, lsn_limit: 16, next_segment: 1, slots_made: 0, reply_slots: 4, replies: 0 }
    }

    fn extent(segment: SegmentId, bytes: u64) -> Extent {
        let place = Place::Log { segment, frame: 0, block: 1, skew: 0 };
        Extent { bytes, place, version: 1, lsn: 0 }
    }

    const ROOM: SlotRoom = SlotRoom { reserve: 1, fresh_for_data: 2, fresh_for_reserve: 2 };

    #[test]
    fn a_slot_is_used_again_when_nothing_lives_in_it_and_nothing_replays_it() {
        let (mut segments, mut meta) = (Segments::default(), meta());
        let (first, fresh) = segments.open(&mut meta, 3, Urgency::Data, ROOM).unwrap();
        assert!(fresh);
        segments.add(&extent(first.id, 10));
        let (second, _) = segments.open(&mut meta, 3, Urgency::Data, ROOM).unwrap();
        segments.replay_from(ReplayFrom { core: 3, segment: second.id, block: 5 });
        assert!(!segments.settle().iter().any(|row| matches!(row, Row::Delete(_))), "10 bytes live");
        segments.take(&extent(first.id, 10));
        assert!(matches!(segments.settle()[..], [Row::Delete(id)] if id == first.id));
        let (third, fresh) = segments.open(&mut meta, 3, Urgency::Data, ROOM).unwrap();
        assert_eq!((third.slot, fresh), (first.slot, false));
        assert_ne!(third.id, first.id, "a segment's name is never given out again");
    }

    #[test]
    fn data_leaves_the_reserve_alone() {
        let (mut segments, mut meta) = (Segments::default(), meta());
        let room = SlotRoom { fresh_for_data: 1, fresh_for_reserve: 1, ..ROOM };
        assert_eq!(segments.open(&mut meta, 0, Urgency::Data, room), Err(Status::NoSpace));
        assert!(segments.open(&mut meta, 0, Urgency::Reserve, room).is_ok());
        let room = SlotRoom { fresh_for_data: 0, fresh_for_reserve: 0, ..ROOM };
        assert_eq!(segments.open(&mut meta, 0, Urgency::Reserve, room), Err(Status::NoSpace));
    }

    #[test]
    fn the_start_of_the_replay_never_goes_back() {
        let (mut segments, mut meta) = (Segments::default(), meta());
        let (info, _) = segments.open(&mut meta, 0, Urgency::Data, ROOM).unwrap();
        segments.replay_from(ReplayFrom { core: 0, segment: info.id, block: 9 });
        segments.replay_from(ReplayFrom { core: 0, segment: info.id, block: 4 });
        segments.replay_from(ReplayFrom { core: 1, segment: info.id, block: 20 });
        assert!(matches!(segments.settle()[..], [Row::Put(SegmentInfo { replay_from: Some(9), .. })]));
    }
}
