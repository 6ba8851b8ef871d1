//! Rows that the journal has and LMDB has not yet: an ordered map in memory for each table, above
//! LMDB's tree.
//!
//! Callers: the batch (puts and looks, [`Look`]), the reader of each core (looks), the keeper, which
//! freezes a layer and lets a checkpoint carry it over into LMDB. A row keeps the values that it had in
//! the numbers of their commits, so that a core goes on seeing one commit while the next is made. At
//! most two layers: one that grows, and one that a checkpoint is carrying over. [`Recent`] hands both
//! out together with a generation: LMDB's tree and the layers that belong above it are taken up as a pair
//! ([`super::reader`]).
//!
//! Memory: what the rows of one checkpoint take, twice ([`super::keeper`] says when one begins).

#![expect(clippy::disallowed_types, reason = "a row that is being changed is looked at by other cores")]

use super::pages::{Seen, Unsound};
use super::record::Table;
use super::stored::{Row as StoredRow, Stored};
use crossbeam_skiplist::SkipMap;
use crossbeam_skiplist::map::Entry;
use parking_lot::Mutex;
use std::cmp::Ordering as Order;
use std::iter::Peekable;
use std::ops::{Bound, Deref, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The rows of some commits.
#[derive(Default)]
pub(super) struct Layer {
    tables: [SkipMap<Arc<[u8]>, Row>; Table::ALL.len()],
    bytes: AtomicU64,
}

/// What a key was given, newest last.
struct Row(Mutex<Vec<Version>>);

struct Version {
    /// Of the commit.
    number: u64,
    /// `None` where the key was deleted.
    value: Option<Arc<[u8]>>,
}

/// LMDB's tree, and the layers above it.
#[derive(Clone)]
pub(super) struct View {
    /// The tree that has whatever the layers leave out.
    pub(super) stored: Arc<Stored>,
    /// Takes what is committed.
    pub(super) growing: Arc<Layer>,
    /// Is being carried over.
    pub(super) frozen: Option<Arc<Layer>>,
}

/// The view that is in force; none before the ledger is open.
#[derive(Default)]
pub(super) struct Recent {
    generation: AtomicU64,
    view: Mutex<Option<View>>,
}

impl Recent {
    /// Changes with every view. A commit that goes into a new view has a number that nobody has seen
    /// before.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The view in force.
    pub(super) fn view(&self) -> Option<View> {
        self.view.lock().clone()
    }

    /// Puts another one in force.
    pub(super) fn set(&self, view: View) {
        // Given back when the lock is free again.
        let _before = self.view.lock().replace(view);
        self.generation.fetch_add(1, Ordering::Release);
    }
}

impl Layer {
    /// Memory that its rows take, about.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The key has this value from the commit `number` on, which is newer than all before.
    pub(super) fn put(&self, table: Table, key: &[u8], value: Option<&[u8]>, number: u64) {
        let version = Version { number, value: value.map(Arc::from) };
        self.bytes.fetch_add((VERSION_BYTES + value.map_or(0, <[u8]>::len)) as u64, Ordering::Relaxed);
        let rows = self.rows(table);
        if let Some(entry) = rows.get(key) {
            return entry.value().set(version);
        }
        self.bytes.fetch_add((ROW_BYTES + key.len()) as u64, Ordering::Relaxed);
        rows.insert(Arc::from(key), Row(Mutex::new(vec![version])));
    }

    /// Takes a key out of the layer as if it had never been there. Answers whether it was. Only for tables that
    /// nobody but the writer looks at.
    pub(super) fn forget(&self, table: Table, key: &[u8]) -> bool {
        self.rows(table).remove(key).is_some()
    }

    /// All keys of a table in their order, each with its newest value.
    pub(super) fn newest(&self, table: Table) -> impl Iterator<Item = Known> + '_ {
        self.rows(table).iter().filter_map(|entry| known(&entry, u64::MAX))
    }

    fn rows(&self, table: Table) -> &SkipMap<Arc<[u8]>, Row> {
        &self.tables[table as usize]
    }

    fn get(&self, table: Table, key: &[u8], number: u64) -> Option<Option<Arc<[u8]>>> {
        let rows = self.rows(table);
        if rows.is_empty() {
            return None;
        }
        rows.get(key)?.value().at(number)
    }

    /// The last key before `key` that this layer knows something of.
    fn before(&self, table: Table, key: &[u8], number: u64) -> Option<Known> {
        let mut entry = self.rows(table).upper_bound(Bound::Excluded(key))?;
        loop {
            if let Some(known) = known(&entry, number) {
                return Some(known);
            }
            entry = entry.prev()?;
        }
    }

    fn range(&self, table: Table, between: Between, number: u64) -> impl Iterator<Item = Known> + '_ {
        self.rows(table).range(between).filter_map(move |entry| known(&entry, number))
    }
}

/// What an entry says at that commit.
fn known(entry: &Entry<'_, Arc<[u8]>, Row>, number: u64) -> Option<Known> {
    let value = entry.value().at(number)?;
    Some((Arc::clone(entry.key()), value))
}

impl Row {
    fn set(&self, version: Version) {
        let mut versions = self.0.lock();
        match versions.last_mut() {
            // Changed again in the same batch: nobody has seen the first.
            Some(last) if last.number == version.number => *last = version,
            _ => versions.push(version),
        }
    }

    /// What the key had at that commit; `None` where it was not known yet.
    fn at(&self, number: u64) -> Option<Option<Arc<[u8]>>> {
        let versions = self.0.lock();
        let version = versions.iter().rev().find(|version| version.number <= number)?;
        Some(version.value.clone())
    }
}

/// LMDB's tree and the layers above it, as they are at one commit.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) view: &'a View,
    /// Pages that need not be checked again.
    pub(super) seen: &'a Seen,
    /// The commit; what is newer is not seen.
    pub(super) number: u64,
}

/// Bytes of a row, wherever they lie.
#[derive(Debug)]
pub(super) enum Bytes<'a> {
    Stored(&'a [u8]),
    Recent(Arc<[u8]>),
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Stored(bytes) => bytes,
            Bytes::Recent(bytes) => bytes,
        }
    }
}

/// Key and value of a row.
pub(super) type Pair<'a> = (Bytes<'a>, Bytes<'a>);

/// What a layer says of a key: its value, or that it was deleted.
type Known = (Arc<[u8]>, Option<Arc<[u8]>>);

impl<'a> Look<'a> {
    /// The value of a key.
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes<'a>>, Unsound> {
        match self.recent(table, key) {
            Some(value) => Ok(value.map(Bytes::Recent)),
            None => self.stored(table, key),
        }
    }

    /// What LMDB's tree has under a key.
    pub(super) fn stored(&self, table: Table, key: &[u8]) -> Result<Option<Bytes<'a>>, Unsound> {
        Ok(self.view.stored.get(self.seen, table, key)?.map(Bytes::Stored))
    }

    /// What the layers say of a key.
    #[inline]
    pub(super) fn recent(&self, table: Table, key: &[u8]) -> Option<Option<Arc<[u8]>>> {
        self.layers().find_map(|layer| layer.get(table, key, self.number))
    }

    /// The rows between two keys, both included, in the order of their keys.
    pub(super) fn range(
        &self,
        table: Table,
        first: &[u8],
        last: &[u8],
    ) -> Result<impl Iterator<Item = Result<Pair<'a>, Unsound>> + use<'a>, Unsound> {
        let number = self.number;
        let layer = |layer: &'a Layer| {
            let is_empty = layer.rows(table).is_empty();
            (!is_empty).then(|| layer.range(table, Between::new(first, last), number).peekable())
        };
        let stored = self.view.stored.range(self.seen, table, first, last)?.peekable();
        let growing = layer(&self.view.growing);
        let frozen = self.view.frozen.as_deref().and_then(layer);
        let has_layers = growing.is_some() || frozen.is_some();
        Ok(Merge { stored, layers: has_layers.then(|| Layers { growing, frozen }.peekable()) })
    }

    /// The last row before a key.
    pub(super) fn before(&self, table: Table, key: &[u8]) -> Result<Option<Pair<'a>>, Unsound> {
        let mut bound: Bytes<'_> = Bytes::Stored(key);
        loop {
            let stored = self.view.stored.before(self.seen, table, &bound)?;
            let last = |last: Option<Known>, layer: &Layer| {
                let other = layer.before(table, &bound, self.number);
                // Of two that know the same key the first is the newer one.
                match (last, other) {
                    (Some(last), Some(other)) => Some(if other.0 > last.0 { other } else { last }),
                    (last, other) => last.or(other),
                }
            };
            match (self.layers().fold(None, last), stored) {
                (Some((key, value)), stored) if stored.is_none_or(|(below, _)| below <= &*key) => match value {
                    Some(value) => return Ok(Some((Bytes::Recent(key), Bytes::Recent(value)))),
                    None => bound = Bytes::Recent(key),
                },
                (_, stored) => {
                    return Ok(stored.map(|(key, value)| (Bytes::Stored(key), Bytes::Stored(value))));
                }
            }
        }
    }

    /// Newest first.
    fn layers(&self) -> impl Iterator<Item = &'a Layer> + use<'a> {
        [Some(&self.view.growing), self.view.frozen.as_ref()].into_iter().flatten().map(Arc::as_ref)
    }
}

/// What both layers say of the keys of a range, in their order.
struct Layers<L: Iterator> {
    growing: Option<Peekable<L>>,
    frozen: Option<Peekable<L>>,
}

impl<L: Iterator<Item = Known>> Iterator for Layers<L> {
    type Item = Known;

    fn next(&mut self) -> Option<Known> {
        let (Some(growing), Some(frozen)) = (&mut self.growing, &mut self.frozen) else {
            return self.growing.as_mut().or(self.frozen.as_mut())?.next();
        };
        match (growing.peek(), frozen.peek()) {
            (Some((newer, _)), Some((older, _))) => match newer.cmp(older) {
                Order::Less => growing.next(),
                Order::Greater => frozen.next(),
                Order::Equal => {
                    frozen.next();
                    growing.next()
                }
            },
            (Some(_), None) => growing.next(),
            (None, _) => frozen.next(),
        }
    }
}

/// The rows of a range, from the tree and from the layers.
struct Merge<S: Iterator, L: Iterator> {
    stored: Peekable<S>,
    layers: Option<Peekable<L>>,
}

impl<'a, S, L> Iterator for Merge<S, L>
where
    S: Iterator<Item = Result<StoredRow<'a>, Unsound>>,
    L: Iterator<Item = Known>,
{
    type Item = Result<Pair<'a>, Unsound>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let stored =
            |row: Result<StoredRow<'a>, Unsound>| row.map(|(key, value)| (Bytes::Stored(key), Bytes::Stored(value)));
        let Some(layers) = &mut self.layers else { return self.stored.next().map(stored) };
        loop {
            let order = match (self.stored.peek(), layers.peek()) {
                (_, None) | (Some(Err(_)), _) => Order::Less,
                (None, _) => Order::Greater,
                (Some(Ok((stored, _))), Some((recent, _))) => (*stored).cmp(recent),
            };
            if order == Order::Less {
                return self.stored.next().map(stored);
            }
            if order == Order::Equal {
                self.stored.next();
            }
            if let (key, Some(value)) = layers.next()? {
                return Some(Ok((Bytes::Recent(key), Bytes::Recent(value))));
            }
        }
    }
}

/// A range of keys, both ends included.
struct Between {
    first: Box<[u8]>,
    last: Box<[u8]>,
}

impl Between {
    fn new(first: &[u8], last: &[u8]) -> Between {
        Between { first: first.into(), last: last.into() }
    }
}

impl RangeBounds<[u8]> for Between {
    fn start_bound(&self) -> Bound<&[u8]> {
        Bound::Included(&self.first)
    }

    fn end_bound(&self) -> Bound<&[u8]> {
        Bound::Included(&self.last)
    }
}

/// Memory of a row besides its key, and of a value besides its bytes: nodes, counts of users, lengths.
const ROW_BYTES: usize = 120;
const VERSION_BYTES: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::env::{Access, Limits, Tables};
    use cache::sim::Rng;
    use std::collections::BTreeMap;

    type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

    struct World {
        tables: Tables,
        view: View,
        number: u64,
        /// The rows at each commit.
        history: Vec<Rows>,
        _dir: tempfile::TempDir,
    }

    impl World {
        fn new() -> World {
            let dir = tempfile::tempdir().unwrap();
            let limits = Limits { map_bytes: 1 << 24, readers_max: 8 };
            let tables = Tables::open(dir.path(), limits, Access::Write, Arc::default()).unwrap();
            let stored = Arc::new(Stored::read(&tables).unwrap());
            let view = View { stored, growing: Arc::default(), frozen: None };
            World { tables, view, number: 0, history: vec![Rows::new()], _dir: dir }
        }

        /// A commit of some keys out of few, so that they meet again.
        fn commit(&mut self, rng: &mut Rng) {
            self.number += 1;
            let mut rows = self.history.last().unwrap().clone();
            for _ in 0..1 + rng.below(6) {
                let key = key(rng);
                let value = (!rng.one_in(3)).then(|| rng.bits().to_le_bytes().to_vec());
                self.view.growing.put(TABLE, &key, value.as_deref(), self.number);
                match value {
                    Some(value) => _ = rows.insert(key, value),
                    None => _ = rows.remove(&key),
                }
            }
            self.history.push(rows);
        }

        /// The frozen layer goes into the tree, and the growing one is frozen.
        fn turn(&mut self) {
            let mut txn = self.tables.env().write_txn().unwrap();
            let stored = self.tables.rows(TABLE);
            for (key, value) in self.view.frozen.take().iter().flat_map(|layer| layer.newest(TABLE)) {
                match value {
                    Some(value) => stored.put(&mut txn, &key, &value).unwrap(),
                    None => _ = stored.delete(&mut txn, &key).unwrap(),
                }
            }
            txn.commit().unwrap();
            let stored = Stored::after(&self.view.stored, &self.tables).unwrap();
            assert_eq!(stored.digest(), Stored::read(&self.tables).unwrap().digest());
            self.view.stored = Arc::new(stored);
            self.view.frozen = Some(std::mem::take(&mut self.view.growing));
        }
    }

    fn key(rng: &mut Rng) -> Vec<u8> {
        // Some are the beginnings of others.
        vec![b'k'; 1 + rng.below(3) as usize].into_iter().chain([rng.below(12) as u8]).collect()
    }

    #[test]
    fn a_look_sees_the_rows_of_its_commit_wherever_they_lie() {
        let mut rng = Rng::new(7);
        for _ in 0..40 {
            let mut world = World::new();
            let mut held: Option<(View, u64)> = None;
            for _ in 0..60 {
                world.commit(&mut rng);
                if rng.one_in(7) {
                    world.turn();
                }
                if held.is_none() || rng.one_in(9) {
                    held = Some((world.view.clone(), world.number));
                }
                let (view, number) = held.as_ref().unwrap();
                let seen = Seen::default();
                let look = Look { view, seen: &seen, number: *number };
                compare(&look, &world.history[*number as usize], &mut rng);
                let newest = Look { view: &world.view, seen: &seen, number: u64::MAX };
                compare(&newest, world.history.last().unwrap(), &mut rng);
            }
        }
    }

    fn compare(look: &Look<'_>, rows: &Rows, rng: &mut Rng) {
        let (one, other) = (key(rng), key(rng));
        assert_eq!(look.get(TABLE, &one).unwrap().as_deref(), rows.get(&one).map(Vec::as_slice));
        let found = look.before(TABLE, &one).unwrap().map(|(key, value)| (key.to_vec(), value.to_vec()));
        let wanted = rows.range(..one.clone()).next_back();
        assert_eq!(found, wanted.map(|(key, value)| (key.clone(), value.clone())));
        let (first, last) = if one <= other { (one, other) } else { (other, one) };
        let found = look.range(TABLE, &first, &last).unwrap().map(Result::unwrap);
        let found: Vec<_> = found.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        let wanted = rows.range(first..=last).map(|(key, value)| (key.clone(), value.clone()));
        assert_eq!(found, wanted.collect::<Vec<_>>());
    }

    const TABLE: Table = Table::Names;
}
