//! Opens LMDB: the environment, its tables, its limits. The only file of the ledger with unsafe code.
//!
//! Callers: [`super::store`]. A commit of LMDB flushes nothing: that it is durable is the business of the
//! keeper ([`super::keeper`]), whose checkpoints make them. Read transactions do not use thread-local
//! storage, so that a core may hold one across turns.
//!
//! LMDB trusts its own pages. So it is asked for snapshots and to write; what is read goes by
//! [`super::stored`], which checks each page. A damaged page that LMDB meets while it writes may be found by it
//! (an error) or may end the process (a bad pointer into the map). Nothing of ours can catch the latter.

use super::keeper::DATA_FILE;
use super::pages::Pages;
use super::record::Table;
use super::root::PAGE_BYTES;
use super::store::Gauges;
use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, RoTxn, WithoutTls};
use memmap2::{Advice, Mmap, MmapOptions};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// A table of bytes to bytes; keys and values are made by `record`.
pub type Rows = Database<Bytes, Bytes>;

/// Limits of an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Address space of the map; the file grows as it is used. A multiple of 4096.
    pub map_bytes: u64,
    /// Read transactions at the same time.
    pub readers_max: u32,
}

/// How an environment is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// By its only writer; made where it is missing.
    Write,
    /// By a tool: nothing is changed, not even the format.
    Inspect,
}

/// An open environment and its tables.
#[derive(Clone)]
pub struct Tables {
    env: Env<WithoutTls>,
    rows: [Rows; Table::ALL.len()],
    pages: Arc<Pages>,
}

impl Tables {
    /// Opens the environment in `directory`, which must exist.
    pub fn open(directory: &Path, limits: Limits, access: Access, gauges: Arc<Gauges>) -> heed::Result<Tables> {
        let env = open_env(directory, limits, access)?;
        // Only a new environment has no tables. Where one of them cannot be found in another, it is damaged.
        let rows = match access {
            Access::Write if env.info().last_txn_id == 0 => {
                let mut txn = env.write_txn()?;
                let mut rows = Vec::with_capacity(Table::ALL.len());
                for table in Table::ALL {
                    rows.push(env.create_database(&mut txn, Some(table.name()))?);
                }
                txn.commit()?;
                rows
            }
            _ => {
                let txn = env.read_txn()?;
                let mut rows = Vec::with_capacity(Table::ALL.len());
                for table in Table::ALL {
                    let missing = || heed::Error::Mdb(heed::MdbError::NotFound);
                    rows.push(env.open_database(&txn, Some(table.name()))?.ok_or_else(missing)?);
                }
                // The handles stay open only when the transaction that opened them is committed.
                txn.commit()?;
                rows
            }
        };
        let rows = rows.try_into().expect("one for each table");
        let data = File::open(directory.join(DATA_FILE))?;
        let map = map(&data, limits)?;
        Ok(Tables { env, rows, pages: Arc::new(Pages::new(data, map, gauges)?) })
    }

    /// The environment.
    pub fn env(&self) -> &Env<WithoutTls> {
        &self.env
    }

    /// Bytes of LMDB's file up to its last page in use. It asks the file nothing: a file whose times are
    /// looked at gets new ones with its next write, which the next flush of a neighbour may have to carry
    /// to the disk.
    pub fn file_bytes(&self) -> u64 {
        (self.env.info().last_page_number as u64 + 1) * PAGE_BYTES as u64
    }

    /// One of its tables.
    pub fn rows(&self, table: Table) -> &Rows {
        &self.rows[table as usize]
    }

    /// Its pages, to be read.
    pub(super) fn pages(&self) -> &Arc<Pages> {
        &self.pages
    }

    /// A read transaction that may be held as long as its owner likes; it owns the environment.
    pub fn snapshot(&self) -> heed::Result<RoTxn<'static, WithoutTls>> {
        self.env.clone().static_read_txn()
    }
}

fn open_env(directory: &Path, limits: Limits, access: Access) -> heed::Result<Env<WithoutTls>> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options
        .map_size(usize::try_from(limits.map_bytes).unwrap_or(usize::MAX & !0xfff))
        .max_readers(limits.readers_max)
        .max_dbs(Table::ALL.len() as u32);
    let flags = match access {
        Access::Write => EnvFlags::NO_SYNC | EnvFlags::NO_READ_AHEAD,
        Access::Inspect => EnvFlags::READ_ONLY,
    };
    // SAFETY: READ_ONLY only refuses write transactions. Under NO_SYNC the file is whole as long as
    // the machine runs, also when the process is killed; after a power cut its newest trees may be
    // torn, and LMDB must not see them: a start makes it begin with the tree of the newest root, all
    // pages of which are durable and were not written since (`root.rs`, `keeper.rs`). NO_READ_AHEAD is
    // advice to the kernel about the map: a ledger larger than the memory reads a page for each that it
    // wants, not its neighbours too. A tool reads all, in order.
    unsafe { options.flags(flags) };
    // SAFETY: the map must not be changed by anyone but LMDB. The pool's lock file keeps other
    // daemons out; LMDB's own lock keeps a tool's readers and the writer apart; nothing of ours
    // writes `data.mdb` by other means while the environment is open.
    let env = unsafe { options.open(directory)? };
    // A process that was killed leaves its readers behind; they would keep old pages for ever.
    env.clear_stale_readers()?;
    Ok(env)
}

/// LMDB's file, once more: all that it may become.
fn map(data: &File, limits: Limits) -> std::io::Result<Mmap> {
    let bytes = usize::try_from(limits.map_bytes).unwrap_or(usize::MAX & !0xfff);
    // SAFETY: LMDB writes to the file, but over no page that a snapshot can see, and `Pages` gives out only what lies
    // before the end of the file, which LMDB never shortens. A damaged page may lead to one that is being written; what
    // is read there is checked against its sum like any other, and every place and length in it against the page's bounds.
    let map = unsafe { MmapOptions::new().len(bytes).map(data)? };
    // As LMDB's own.
    map.advise(Advice::Random)?;
    Ok(map)
}

const _: () = {
    let mut index = 0;
    while index < Table::ALL.len() {
        assert!(Table::ALL[index] as usize == index, "tables are listed in their order");
        index += 1;
    }
};
