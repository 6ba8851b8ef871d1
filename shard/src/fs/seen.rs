//! Attributes that this core has seen, with the version of the lock table's stripe that they were seen at: while a
//! stripe's version stays, nothing in it has changed, and what was seen is as of now. So that what many cores look at
//! and nobody changes is read by all of them without a lock, and without taking a line of memory from each other.
//!
//! Callers: [`super::column::Fs::attr`], LOOKUP. Lives on the core. Direct-mapped: an inode has one place.

use crate::inode::{Ino, Inode};
use crate::table::{AsOf, LockTable};

/// A core's memory of attributes; holds none until the first is kept.
#[derive(Default)]
pub(super) struct Seen {
    places: Vec<Option<AsOf>>,
}

impl Seen {
    /// The inode as of now, when this core saw it and it has not changed since.
    pub(super) fn find(&self, table: &LockTable, ino: Ino) -> Option<Inode> {
        let seen = self.places.get(place(ino))?.as_ref()?;
        let is_now = seen.inode.ino == ino && seen.version == table.version(ino);
        is_now.then_some(seen.inode)
    }

    /// Keeps what was just seen.
    pub(super) fn keep(&mut self, seen: &AsOf) {
        if self.places.is_empty() {
            self.places.resize(PLACES, None);
        }
        self.places[place(seen.inode.ino)] = Some(*seen);
    }
}

/// Inode numbers that follow each other have places of their own.
fn place(ino: Ino) -> usize {
    ino.0 as usize % PLACES
}

/// Inodes that a core remembers: some 180 bytes each.
const PLACES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::command::Publish;
    use crate::table::tests::inode;

    fn published(table: &LockTable, commit: u64, ino: u64, change: u64) {
        table.publish(commit, &[Publish::Inode(inode(ino, change))]);
    }

    #[test]
    fn what_was_seen_is_found_until_it_changes() {
        let table = LockTable::new(1 << 16);
        let mut seen = Seen::default();
        assert_eq!(seen.find(&table, Ino(1)), None);
        published(&table, 1, 1, 10);
        seen.keep(&table.as_of_now(Ino(1)).unwrap());
        assert_eq!(seen.find(&table, Ino(1)).map(|inode| inode.change), Some(10));
        published(&table, 2, 1, 11);
        assert_eq!(seen.find(&table, Ino(1)), None);
        seen.keep(&table.as_of_now(Ino(1)).unwrap());
        table.publish(3, &[Publish::Gone(Ino(1))]);
        assert_eq!(seen.find(&table, Ino(1)), None, "it is gone");
    }

    #[test]
    fn inodes_of_one_place_are_not_taken_for_each_other() {
        let table = LockTable::new(1 << 16);
        let (one, other) = (1, 1 + PLACES as u64);
        published(&table, 1, one, 10);
        published(&table, 2, other, 20);
        let mut seen = Seen::default();
        seen.keep(&table.as_of_now(Ino(one)).unwrap());
        assert_eq!(seen.find(&table, Ino(other)), None);
        seen.keep(&table.as_of_now(Ino(other)).unwrap());
        assert_eq!(seen.find(&table, Ino(one)), None);
        assert_eq!(seen.find(&table, Ino(other)).map(|inode| inode.change), Some(20));
    }
}
