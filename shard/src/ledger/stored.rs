//! The rows of one commit of LMDB: a snapshot, and the way from the root of each table to its rows.
//!
//! Callers: [`super::recent`] (looks), the keeper (a new one with each checkpoint), the start. LMDB writes its tree,
//! and Basalt reads it: each page on the way is checked first ([`super::pages`]), so that what is found is what
//! was written, what is not found is not there, and damage ends in an error and not in LMDB's hands.
//!
//! A checkpoint tells what every page that it has made has to be ([`Stored::after`]): it compares the tree before with
//! the one after, level by level. A page is in both as it was or in one alone, since LMDB copies what it changes and the
//! way to it. Those in the older tree alone are what the new ones were made from, so they have to be right too: the
//! checkpoint fails where one is not. [`Stored::digest`] says in a number what all pages of a tree have to be; it
//! is kept in the root, and a start that reads all of them knows whether they are ([`Stored::read`]).

#![expect(clippy::disallowed_types, reason = "what holds a snapshot may not be shared; nobody takes the lock")]

use super::env::Tables;
use super::journal::From as JournalFrom;
use super::pages::{Page, Pages, Seen, Unsound, Value};
use super::record::{self, Table};
use super::root::{Root, Tree, TreeRoot, digest_of};
use heed::{RoTxn, WithoutTls};
use parking_lot::Mutex;
use std::io;
use std::num::Wrapping;
use std::sync::Arc;

/// The rows of one commit of LMDB.
pub(super) struct Stored {
    pages: Arc<Pages>,
    tables: TreeRoots,
    tree: Tree,
    digest: u64,
    /// While it is there LMDB writes over nothing. None where no LMDB is.
    _pin: Option<Mutex<RoTxn<'static, WithoutTls>>>,
}

/// Where each table begins.
pub(super) type TreeRoots = [TreeRoot; Table::ALL.len()];
/// Key and value.
pub(super) type Row<'a> = (&'a [u8], &'a [u8]);

impl Stored {
    /// LMDB's newest tree, whose pages are not looked at before they are used; the digest is as it was kept.
    pub(super) fn unread(tables: &Tables, digest: u64) -> Result<Stored, StoredError> {
        let pin = tables.snapshot()?;
        let pages = Arc::clone(tables.pages());
        pages.measure()?;
        let tree = Tree::of_transaction(pages.file(), pin.id() as u64)?;
        let tables = table_roots(&pages, &tree)?;
        Ok(Stored { pages, tables, tree, digest, _pin: Some(Mutex::new(pin)) })
    }

    /// A tree whose pages are in memory.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn of_image(pages: Arc<Pages>, tables: TreeRoots, tree: Tree) -> Stored {
        Stored { pages, tables, tree, digest: 0, _pin: None }
    }

    /// The memory that its pages are in, where nobody else looks at them.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn into_image(self) -> Option<memmap2::Mmap> {
        Arc::into_inner(self.pages).map(Pages::into_image)
    }

    /// Where its tables are.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn roots(&self) -> (TreeRoots, Tree) {
        (self.tables, self.tree)
    }

    /// LMDB's newest tree, all of it looked at.
    pub(super) fn read(tables: &Tables) -> Result<Stored, StoredError> {
        let mut stored = Stored::unread(tables, 0)?;
        stored.digest = stored.compare(&[TreeRoot::EMPTY; Table::ALL.len()])?;
        Ok(stored)
    }

    /// LMDB's newest tree, which was made out of the one `before`.
    pub(super) fn after(before: &Stored, tables: &Tables) -> Result<Stored, StoredError> {
        let mut stored = Stored::unread(tables, 0)?;
        // A transaction that changes nothing makes none.
        let is_next = stored.number() > before.number();
        if !is_next && (stored.number(), stored.tables) != (before.number(), before.tables) {
            return Err(Unsound { page: 0, reason: "LMDB began with an older tree" }.into());
        }
        stored.digest = before.digest.wrapping_add(stored.compare(&before.tables)?);
        Ok(stored)
    }

    /// Number of LMDB's transaction.
    pub(super) fn number(&self) -> u64 {
        self.tree.number()
    }

    /// What a root keeps of it.
    pub(super) fn root(&self, from: JournalFrom) -> Root {
        Root { from, tree: self.tree, digest: self.digest }
    }

    /// What all pages have to be, in a number.
    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    /// Pages of all tables.
    pub(super) fn page_count(&self) -> u64 {
        self.tables.iter().map(|tree| tree.pages).sum()
    }

    /// The value of a key.
    pub(super) fn get(&self, seen: &Seen, table: Table, key: &[u8]) -> Result<Option<&[u8]>, Unsound> {
        let root = self.top_of(table);
        let Some((mut page, mut trust)) = self.top(seen, table)? else { return Ok(None) };
        for height in (1..root.depth).rev() {
            (page, trust) = self.page(seen, table, page.child(page.way(key)?)?, height)?;
        }
        let index = page.place(key)?;
        if index < page.count() {
            let (found, value) = page.row(index)?;
            if found == key {
                return self.value(seen, value).map(Some);
            }
        }
        // One of them may be the one, under a damaged key.
        match trust {
            Trust::Whole => Ok(None),
            Trust::Rows => Err(self.pages.report(page.unsound("rows of it are damaged"))),
        }
    }

    /// The last row before `key`.
    pub(super) fn before(&self, seen: &Seen, table: Table, key: &[u8]) -> Result<Option<Row<'_>>, Unsound> {
        match self.top(seen, table)? {
            Some((page, _)) => self.before_in(seen, table, page, Some(key)),
            None => Ok(None),
        }
    }

    /// The rows from `first` to `last`, both included, in the order of their keys.
    pub(super) fn range<'a>(
        &'a self,
        seen: &'a Seen,
        table: Table,
        first: &[u8],
        last: &[u8],
    ) -> Result<Range<'a>, Unsound> {
        let mut range = Range { stored: self, seen, table, path: Vec::new(), last: last.into(), met: None };
        let root = self.top_of(table);
        let (mut number, mut height) = (root.page, root.depth);
        while height > 0 {
            let page = self.rows_page(seen, table, number, height)?;
            height -= 1;
            if height == 0 {
                range.path.push((page, page.place(first)?));
            } else {
                let way = page.way(first)?;
                number = page.child(way)?;
                range.path.push((page, way + 1));
            }
        }
        Ok(range)
    }

    fn top_of(&self, table: Table) -> TreeRoot {
        self.tables[table as usize]
    }

    fn top(&self, seen: &Seen, table: Table) -> Result<Option<(Page<'_>, Trust)>, Unsound> {
        let root = self.top_of(table);
        if root.depth == 0 { Ok(None) } else { self.page(seen, table, root.page, root.depth).map(Some) }
    }

    /// A page, checked.
    fn page(&self, seen: &Seen, table: Table, number: u64, height: u16) -> Result<(Page<'_>, Trust), Unsound> {
        let checked = self.pages.raw(number, height).and_then(|page| {
            if seen.has(number) {
                return Ok((page, Trust::Whole));
            }
            match self.pages.sum(number) {
                Some(sum) if sum == page.sum() => {}
                Some(_) => return Err(page.unsound("it is not what was written")),
                // The first look at it since the start.
                None if self.is_whole(table, &page)? => self.pages.set_sum(number, page.sum()),
                None => return Ok((page, Trust::Rows)),
            }
            seen.put(number);
            Ok((page, Trust::Whole))
        });
        checked.map_err(|unsound| self.pages.report(unsound))
    }

    fn value<'a>(&'a self, seen: &Seen, value: Value<'a>) -> Result<&'a [u8], Unsound> {
        let (first, bytes) = match value {
            Value::Here(value) => return Ok(value),
            Value::Run { first, bytes } => (first, bytes),
        };
        let checked = self.pages.raw_run(first, bytes).and_then(|(value, sum)| match self.pages.sum(first) {
            _ if seen.has(first) => Ok(value),
            Some(known) if known != sum => Err(Unsound { page: first, reason: "it is not what was written" }),
            _ => {
                self.pages.set_sum(first, sum);
                seen.put(first);
                Ok(value)
            }
        });
        checked.map_err(|unsound| self.pages.report(unsound))
    }

    /// Whether a page that nobody knows yet may be what was written: its keys are in their order, and each row has its
    /// checksum.
    fn is_whole(&self, table: Table, page: &Page<'_>) -> Result<bool, Unsound> {
        let mut before: Option<&[u8]> = None;
        for index in 0..page.count() {
            let key = match page.height() {
                1 => {
                    let (key, value) = page.row(index)?;
                    let value = match value {
                        Value::Here(value) => value,
                        Value::Run { first, bytes } => self.pages.raw_run(first, bytes)?.0,
                    };
                    if !record::is_whole(table, key, value) {
                        return Ok(false);
                    }
                    key
                }
                // The first way's key is not looked at.
                _ if index == 0 => continue,
                _ => page.node(index)?.key,
            };
            if before.is_some_and(|before| before >= key) {
                return Err(page.unsound("its keys are out of order"));
            }
            before = Some(key);
        }
        Ok(true)
    }

    /// The last row below `page`, before `key` where there is one.
    fn before_in<'a>(
        &'a self,
        seen: &Seen,
        table: Table,
        page: Page<'a>,
        key: Option<&[u8]>,
    ) -> Result<Option<Row<'a>>, Unsound> {
        if page.height() == 1 {
            let end = key.map_or(Ok(page.count()), |key| page.place(key))?;
            let Some(index) = end.checked_sub(1) else { return Ok(None) };
            let (key, value) = page.row(index)?;
            return Ok(Some((key, self.value(seen, value)?)));
        }
        let below = |index: usize| self.rows_page(seen, table, page.child(index)?, page.height() - 1);
        let way = key.map_or(Ok(page.count().saturating_sub(1)), |key| page.way(key))?;
        match (self.before_in(seen, table, below(way)?, key)?, way.checked_sub(1)) {
            // All of what is below the one before comes before the key.
            (None, Some(way)) => self.before_in(seen, table, below(way)?, None),
            (found, _) => Ok(found),
        }
    }

    /// A page whose rows are told one after the other: none may be missing among them.
    fn rows_page(&self, seen: &Seen, table: Table, number: u64, height: u16) -> Result<Page<'_>, Unsound> {
        match self.page(seen, table, number, height)? {
            (page, Trust::Whole) => Ok(page),
            (page, Trust::Rows) => Err(self.pages.report(page.unsound("rows of it are damaged"))),
        }
    }

    /// Takes the sums of all pages that are not in the tree `before`, checks those that are in it alone, and answers by
    /// how much the digest is another one.
    pub(super) fn compare(&self, before: &TreeRoots) -> Result<u64, Unsound> {
        let compare = |(before, after)| self.compare_table(before, after);
        let changes: Wrapping<u64> = before.iter().zip(&self.tables).map(compare).sum::<Result<_, _>>()?;
        Ok(changes.0)
    }

    fn compare_table(&self, before: &TreeRoot, after: &TreeRoot) -> Result<Wrapping<u64>, Unsound> {
        let mut change = Wrapping(0);
        let (mut gone, mut made) = (Level::new(), Level::new());
        for height in (1..=before.depth.max(after.depth)).rev() {
            gone.extend((height == before.depth).then_some((before.page, 0)));
            made.extend((height == after.depth).then_some((after.page, 0)));
            drop_common(&mut gone, &mut made)?;
            let (mut gone_below, mut made_below) = (Level::new(), Level::new());
            for (number, _) in gone {
                let page = self.pages.raw(number, height)?;
                let sum = page.sum();
                if self.pages.sum(number).is_some_and(|known| known != sum) {
                    return Err(page.unsound("it is not what was written"));
                }
                change -= digest_of(number, sum);
                below(&page, &mut gone_below)?;
            }
            for (number, _) in made {
                let page = self.pages.raw(number, height)?;
                let sum = page.sum();
                self.pages.set_sum(number, sum);
                change += digest_of(number, sum);
                below(&page, &mut made_below)?;
            }
            (gone, made) = (gone_below, made_below);
        }
        // What is left are values with pages of their own. Nothing was made from those that are gone.
        drop_common(&mut gone, &mut made)?;
        for (first, bytes) in gone {
            let sum = self.pages.sum(first).map_or_else(|| Ok(self.pages.raw_run(first, bytes)?.1), Ok)?;
            change -= digest_of(first, sum);
        }
        for (first, bytes) in made {
            let (_, sum) = self.pages.raw_run(first, bytes)?;
            self.pages.set_sum(first, sum);
            change += digest_of(first, sum);
        }
        Ok(change)
    }
}

/// Rows of a range. After an error there are no more.
pub(super) struct Range<'a> {
    stored: &'a Stored,
    seen: &'a Seen,
    table: Table,
    /// Pages from the root down to the rows, each with the node that comes next.
    path: Vec<(Page<'a>, usize)>,
    last: Box<[u8]>,
    /// The key of the newest row.
    met: Option<&'a [u8]>,
}

impl<'a> Range<'a> {
    fn step(&mut self) -> Result<Option<Row<'a>>, Unsound> {
        let stored = self.stored;
        while let Some((page, next)) = self.path.last_mut() {
            let index = *next;
            if index >= page.count() {
                self.path.pop();
                continue;
            }
            *next += 1;
            if page.height() == 1 {
                let (key, value) = page.row(index)?;
                if *key > *self.last {
                    return Ok(None);
                }
                // Damaged pages that many ways lead to could be walked for ever.
                if self.met.replace(key).is_some_and(|met| met >= key) {
                    return Err(stored.pages.report(page.unsound("its keys are not behind those of the page before")));
                }
                return Ok(Some((key, stored.value(self.seen, value)?)));
            }
            let below = stored.rows_page(self.seen, self.table, page.child(index)?, page.height() - 1)?;
            self.path.push((below, 0));
        }
        Ok(None)
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = Result<Row<'a>, Unsound>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.step().transpose();
        if !matches!(row, Some(Ok(_))) {
            self.path.clear();
        }
        row
    }
}

/// How far a page is known.
#[derive(Clone, Copy)]
enum Trust {
    /// It is what was written: what is not in it is not there.
    Whole,
    /// It was never known, and some of its rows are damaged. The others say so themselves.
    Rows,
}

/// Pages at one height of a tree, and at last values with pages of their own and their lengths.
type Level = Vec<(u64, usize)>;

/// Where a page leads.
fn below(page: &Page<'_>, into: &mut Level) -> Result<(), Unsound> {
    for index in 0..page.count() {
        match page.height() {
            1 => {
                if let (_, Value::Run { first, bytes }) = page.row(index)? {
                    into.push((first, bytes));
                }
            }
            _ => into.push((page.child(index)?, 0)),
        }
    }
    Ok(())
}

/// Drops what both have. Two ways to one page would be without end.
fn drop_common(gone: &mut Level, made: &mut Level) -> Result<(), Unsound> {
    for level in [&mut *gone, &mut *made] {
        level.sort_unstable();
        if let Some(pair) = level.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(Unsound { page: pair[0].0, reason: "two ways lead to it" });
        }
    }
    let before = std::mem::take(gone);
    let is_in = |level: &Level, page: u64| level.binary_search_by_key(&page, |(number, _)| *number).is_ok();
    gone.extend(before.iter().filter(|(page, _)| !is_in(made, *page)));
    made.retain(|(page, _)| !is_in(&before, *page));
    Ok(())
}

/// Where the tables are, by the record of each in LMDB's tree of tables, which is one page.
pub(super) fn table_roots(pages: &Pages, tree: &Tree) -> Result<TreeRoots, Unsound> {
    let main = tree.main();
    let page = pages.raw(main.page, 1)?;
    if main.depth != 1 {
        return Err(page.unsound("the tables are not listed in it"));
    }
    let mut roots = [TreeRoot::EMPTY; Table::ALL.len()];
    for table in Table::ALL {
        let record = page.table(table.name().as_bytes())?;
        roots[table as usize] = TreeRoot::of(record).ok_or(page.unsound("the record of a table is damaged"))?;
    }
    Ok(roots)
}

/// Why there is no tree to look at.
#[derive(Debug)]
pub(super) enum StoredError {
    Lmdb(heed::Error),
    Io(io::Error),
    Unsound(Unsound),
}

impl From<StoredError> for io::Error {
    fn from(error: StoredError) -> io::Error {
        match error {
            StoredError::Lmdb(error) => io::Error::other(format!("LMDB: {error}")),
            StoredError::Io(error) => error,
            StoredError::Unsound(unsound) => io::Error::new(io::ErrorKind::InvalidData, unsound),
        }
    }
}

impl From<heed::Error> for StoredError {
    fn from(error: heed::Error) -> StoredError {
        StoredError::Lmdb(error)
    }
}

impl From<io::Error> for StoredError {
    fn from(error: io::Error) -> StoredError {
        StoredError::Io(error)
    }
}

impl From<Unsound> for StoredError {
    fn from(unsound: Unsound) -> StoredError {
        StoredError::Unsound(unsound)
    }
}
