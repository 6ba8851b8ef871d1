//! What the log says of a regular file and the ledger does not know yet: attributes and extents of
//! the records since the last fold. Pure; lives in an entry of the lock table.
//!
//! Callers: WRITE, SETATTR of a size, READ, the checkpoint, the cleaner, recovery. All of them
//! apply records in the order of their log sequence numbers, so replay after a crash ends in the
//! same state. The ledger's extents show through wherever no live extent lies, below
//! [`Live::ledger_below`].

use crate::inode::{Inode, LogAttr};
use cache::extent::{Extent, ExtentMap, Place};
use cache::world::Time;

/// Who made a record, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Log sequence number of the record.
    pub lsn: u64,
    /// The core's clock.
    pub now: Time,
    /// Core whose log holds the record.
    pub core: u16,
    /// The record is durable when that core's log is durable up to here.
    pub position: u64,
    /// Made by someone other than the superuser: set-id bits go.
    pub clears_setid: bool,
}

/// A truncation that hides what the ledger has at and after `size`, until a fold covers `lsn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    size: u64,
    lsn: u64,
}

/// The log's view of one file.
#[derive(Clone, Debug)]
pub struct Live {
    attr: LogAttr,
    extents: ExtentMap,
    /// Both fields grow from one to the next; more than one only while folds are under way.
    cuts: Vec<Cut>,
    /// The newest log sequence number that a fold under way covers.
    captured: u64,
    /// The newest record.
    lsn: u64,
    /// Bytes written and not folded, for the `used` attribute.
    fresh_bytes: u64,
    /// Each core's last record.
    last: Vec<(u16, u64)>,
}

/// What a fold takes.
#[derive(Clone, Debug)]
pub struct Captured {
    /// The newest record covered.
    pub lsn: u64,
    /// The shortest length since the last fold.
    pub cut: Option<u64>,
    /// Live extents by file offset.
    pub extents: Vec<(u64, Extent)>,
    /// Attributes as of `lsn`.
    pub attr: LogAttr,
    /// What must be durable first: each core's last position.
    pub last: Vec<(u16, u64)>,
}

impl Live {
    /// The view of a file of which the log has no record yet.
    pub fn new(inode: &Inode) -> Live {
        Live {
            attr: LogAttr { size: inode.size, mtime: inode.mtime, ctime: inode.ctime, change: 0, clears_setid: false },
            extents: ExtentMap::default(),
            cuts: Vec::new(),
            captured: 0,
            lsn: 0,
            fresh_bytes: 0,
            last: Vec::new(),
        }
    }

    /// Attributes as of the newest record.
    pub fn attr(&self) -> &LogAttr {
        &self.attr
    }

    /// The live extents.
    pub fn extents(&self) -> &ExtentMap {
        &self.extents
    }

    /// The newest record.
    pub fn lsn(&self) -> u64 {
        self.lsn
    }

    /// Each core's last record of this file.
    pub fn last(&self) -> &[(u16, u64)] {
        &self.last
    }

    /// Where the ledger's extents stop counting.
    pub fn ledger_below(&self) -> u64 {
        self.cuts.first().map_or(u64::MAX, |cut| cut.size)
    }

    /// `inode`, which is the ledger's, as the log sees it.
    pub fn join(&self, mut inode: Inode) -> Inode {
        inode.overlay(&self.attr);
        let room = inode.size.saturating_add(USED_UNIT - 1) / USED_UNIT * USED_UNIT;
        inode.used = inode.used.saturating_add(self.fresh_bytes).min(room);
        inode
    }

    /// A write of `bytes` at `offset`; they lie at `place`. A gap beyond the end becomes a hole.
    /// `inode` is the ledger's record.
    pub fn write(&mut self, inode: &Inode, offset: u64, bytes: u64, place: Place, stamp: Stamp) {
        if offset > self.attr.size {
            self.hole(offset, stamp.lsn);
        }
        self.extents.insert(offset, Extent { bytes, place, version: stamp.lsn, lsn: stamp.lsn });
        self.fresh_bytes += bytes;
        self.attr.size = self.attr.size.max(offset + bytes);
        self.stamp(inode, stamp);
    }

    /// A change of the length.
    pub fn truncate(&mut self, inode: &Inode, size: u64, stamp: Stamp) {
        if size < self.attr.size {
            self.extents.cut(size);
            self.push_cut(Cut { size, lsn: stamp.lsn });
            self.attr.size = size;
        } else if size > self.attr.size {
            self.hole(size, stamp.lsn);
            self.attr.size = size;
        }
        self.stamp(inode, stamp);
    }

    /// The cleaner moved bytes that the ledger has at `offset`. The caller has checked that nothing
    /// live covers them. Attributes stay.
    pub fn moved(&mut self, offset: u64, extent: Extent, stamp: Stamp) {
        self.extents.insert(offset, extent);
        self.note(stamp);
    }

    /// Whether the ledger's bytes of `[offset, offset + bytes)` show through whole.
    pub fn shows_ledger(&self, offset: u64, bytes: u64) -> bool {
        let end = offset + bytes;
        end <= self.ledger_below().min(self.attr.size) && self.extents.range(offset, end).next().is_none()
    }

    /// Takes what is to be folded. Records that come later go into the next fold.
    pub fn capture(&mut self) -> Captured {
        self.captured = self.lsn;
        Captured {
            lsn: self.lsn,
            cut: self.cuts.first().map(|cut| cut.size),
            extents: self.extents.range(0, u64::MAX).collect(),
            attr: self.attr,
            last: self.last.clone(),
        }
    }

    /// The ledger has everything up to `lsn`. Answers whether nothing is left here.
    pub fn folded(&mut self, lsn: u64) -> bool {
        self.extents.remove_up_to(lsn);
        self.cuts.retain(|cut| cut.lsn > lsn);
        self.fresh_bytes = self
            .extents
            .range(0, u64::MAX)
            .filter(|(_, extent)| extent.place != Place::Hole)
            .map(|(_, extent)| extent.bytes)
            .sum();
        if self.lsn > lsn {
            return false;
        }
        assert!(self.extents.is_empty(), "an extent is newer than its file's last record");
        true
    }

    fn hole(&mut self, end: u64, lsn: u64) {
        let bytes = end - self.attr.size;
        self.extents.insert(self.attr.size, Extent { bytes, place: Place::Hole, version: lsn, lsn });
    }

    /// Cuts that no fold can tell apart become one.
    fn push_cut(&mut self, mut cut: Cut) {
        while let Some(last) = self.cuts.last() {
            if last.size < cut.size && last.lsn <= self.captured {
                break;
            }
            cut.size = cut.size.min(last.size);
            self.cuts.pop();
        }
        self.cuts.push(cut);
    }

    fn stamp(&mut self, inode: &Inode, stamp: Stamp) {
        // A clearing that a later chmod undid must not come back with this record.
        let cleared = self.attr.clears_setid && self.attr.change > inode.change;
        self.attr.clears_setid = cleared || stamp.clears_setid;
        self.attr.mtime = stamp.now;
        self.attr.ctime = stamp.now;
        self.attr.change = stamp.lsn;
        self.note(stamp);
    }

    fn note(&mut self, stamp: Stamp) {
        assert!(stamp.lsn > self.lsn, "records of a file came out of order");
        self.lsn = stamp.lsn;
        match self.last.iter_mut().find(|(core, _)| *core == stamp.core) {
            Some((_, position)) => *position = (*position).max(stamp.position),
            None => self.last.push((stamp.core, stamp.position)),
        }
    }
}

/// `used` is counted in these.
const USED_UNIT: u64 = 4096;

#[cfg(test)]
mod tests;
