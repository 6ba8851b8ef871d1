//! The pages of a small ledger in memory, to be damaged, and to be asked for rows all the same.
//!
//! Caller: fuzzing (`pages`). LMDB makes the pages, once: two commits, of which the older one's pages are all there
//! beside the newer one's. Then nobody needs LMDB, or a file: a [`Subject`] is a copy of the pages, and goes the way
//! that a look goes.

use super::env::{Access, Limits, Tables};
use super::pages::{Pages, Seen, Unsound};
use super::record::{self, Table};
use super::root::{PAGE_BYTES, Tree, TreeRoot};
use super::store::Gauges;
use super::stored::{Stored, TreeRoots, table_roots};
/// A copy of the pages.
pub use memmap2::MmapMut as Image;
use memmap2::MmapOptions;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Key and value.
pub type Row<'a> = (&'a [u8], &'a [u8]);
/// Rows of each table, in the order of [`Table::ALL`].
pub type Rows = [BTreeMap<Vec<u8>, Vec<u8>>; Table::ALL.len()];

/// A ledger's pages as they were written.
pub struct Specimen {
    pages: Vec<u8>,
    sums: Vec<(u64, u32)>,
    older: Commit,
    newer: Commit,
    /// By how much the newer commit's digest is another one.
    digest_change: u64,
    file: File,
    gauges: Arc<Gauges>,
}

struct Commit {
    roots: TreeRoots,
    tree: Tree,
}

/// A copy of the pages, and what has to be known to look at it.
pub struct Subject<'a> {
    specimen: &'a Specimen,
    stored: Stored,
    seen: Seen,
}

/// From where it is known where the tables begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From when they were written: the ledger runs.
    Known,
    /// From the pages, as a start does it.
    Found,
    /// Every table begins here.
    Claimed { page: u64, depth: u16 },
}

/// What is known of what the pages have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sums {
    /// What was written.
    Written,
    /// What is found: a start has read them all.
    Read,
    /// Nothing: the first looks at a large ledger.
    Unknown,
    /// What they are, however they are: damage that its sum does not show.
    Forged,
}

impl Specimen {
    /// Two commits in `directory`, which is not needed any more afterwards.
    pub fn make(directory: &Path, older: &Rows, newer: &Rows) -> io::Result<Specimen> {
        let gauges = Arc::new(Gauges::default());
        let limits = Limits { map_bytes: MAP_BYTES, readers_max: 4 };
        let tables = Tables::open(directory, limits, Access::Write, Arc::clone(&gauges)).map_err(io::Error::other)?;
        commit(&tables, &Rows::default(), older).map_err(io::Error::other)?;
        let before = Stored::read(&tables)?;
        commit(&tables, older, newer).map_err(io::Error::other)?;
        let after = Stored::after(&before, &tables)?;
        let pages = std::fs::read(directory.join(super::keeper::DATA_FILE))?;
        let known = |number| Some((number, tables.pages().sum(number)?));
        Ok(Specimen {
            sums: (0..(pages.len() / PAGE_BYTES) as u64).filter_map(known).collect(),
            pages,
            digest_change: after.digest().wrapping_sub(before.digest()),
            older: before.roots().into(),
            newer: after.roots().into(),
            file: tables.pages().file().try_clone()?,
            gauges,
        })
    }

    /// The pages.
    pub fn pages(&self) -> &[u8] {
        &self.pages
    }

    /// Memory for a copy of the pages.
    pub fn blank(&self) -> io::Result<Image> {
        MmapOptions::new().len(self.pages.len()).populate().map_anon()
    }

    /// What `image` holds, which has as many pages.
    pub fn subject(&self, image: Image, origin: Origin, sums: Sums) -> io::Result<Result<Subject<'_>, Unsound>> {
        assert_eq!(image.len(), self.pages.len());
        let pages = Pages::of_image(self.file.try_clone()?, image.make_read_only()?, Arc::clone(&self.gauges));
        let roots = match origin {
            Origin::Known => Ok(self.newer.roots),
            Origin::Found => table_roots(&pages, &self.newer.tree),
            Origin::Claimed { page, depth } => Ok([TreeRoot { page, depth, pages: 0 }; Table::ALL.len()]),
        };
        let subject = |roots| {
            match sums {
                Sums::Written => self.sums.iter().for_each(|(number, sum)| pages.set_sum(*number, *sum)),
                Sums::Forged => pages.believe(),
                Sums::Read | Sums::Unknown => {}
            }
            let stored = Stored::of_image(Arc::new(pages), roots, self.newer.tree);
            if sums == Sums::Read {
                stored.compare(&[TreeRoot::EMPTY; Table::ALL.len()])?;
            }
            Ok(Subject { specimen: self, stored, seen: Seen::default() })
        };
        Ok(roots.and_then(subject))
    }
}

impl Subject<'_> {
    /// Whether a table has no page, and so no row.
    pub fn is_empty(&self, table: Table) -> bool {
        self.stored.roots().0[table as usize].depth == 0
    }

    /// The value of a key.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<&[u8]>, Unsound> {
        self.stored.get(&self.seen, table, key)
    }

    /// The last row before `key`.
    pub fn before(&self, table: Table, key: &[u8]) -> Result<Option<Row<'_>>, Unsound> {
        self.stored.before(&self.seen, table, key)
    }

    /// The rows from `first` to `last`, both included.
    pub fn range(
        &self,
        table: Table,
        first: &[u8],
        last: &[u8],
    ) -> Result<impl Iterator<Item = Result<Row<'_>, Unsound>>, Unsound> {
        self.stored.range(&self.seen, table, first, last)
    }

    /// Takes the newer commit for what a checkpoint has just made of the older one. Whether all pages that it made and
    /// that are gone are those that were written.
    pub fn carry(&self) -> Result<bool, Unsound> {
        let change = self.stored.compare(&self.specimen.older.roots)?;
        Ok(change == self.specimen.digest_change)
    }

    /// The memory of the copy, to be used again.
    pub fn into_image(self) -> io::Result<Image> {
        self.stored.into_image().expect("nobody else has the pages").make_mut()
    }

    /// Another turn of a core.
    pub fn turn(&self) {
        self.seen.clear();
    }
}

impl From<(TreeRoots, Tree)> for Commit {
    fn from((roots, tree): (TreeRoots, Tree)) -> Commit {
        Commit { roots, tree }
    }
}

/// A value as the ledger writes it.
pub fn sealed(key: &[u8], content: &[u8]) -> Vec<u8> {
    record::sealed(key, content)
}

/// Whether a row has its checksum.
pub fn is_whole(table: Table, key: &[u8], value: &[u8]) -> bool {
    record::is_whole(table, key, value)
}

fn commit(tables: &Tables, before: &Rows, after: &Rows) -> heed::Result<()> {
    let mut txn = tables.env().write_txn()?;
    for table in Table::ALL {
        let (before, after) = (&before[table as usize], &after[table as usize]);
        for key in before.keys().filter(|key| !after.contains_key(*key)) {
            tables.rows(table).delete(&mut txn, key)?;
        }
        for (key, value) in after.iter().filter(|(key, value)| before.get(*key) != Some(value)) {
            tables.rows(table).put(&mut txn, key, value)?;
        }
    }
    txn.commit()
}

const MAP_BYTES: u64 = 16 << 20;
