//! A filesystem's metadata at rest: opened, checked, and formatted where it is new.
//!
//! Callers: the daemon at start ([`Store::open`]), tools ([`Store::inspect`]). The ledger and the
//! readers of all cores are made from it.
//!
//! A start trusts the root and the journal alone: LMDB is made to begin with the root's tree, the
//! journal's records are applied to it, and the result becomes the next root before anything else
//! happens. The power may fail at any moment of that; the next start finds the same root and the same
//! records.

use super::env::{Access, Limits, Tables};
use super::journal::{self, Contents, From as JournalFrom, Journal, Place, Record};
use super::keeper::{DATA_FILE, Keeper, Opened};
use super::media::{Media, Witness, sync_directory};
use super::pages::Unsound;
use super::recent::Recent;
use super::record::meta::{self, Meta};
use super::record::{Corrupt, Table, inode};
use super::redo;
use super::root::{Root, Roots, Tree};
use super::stored::{Stored, StoredError};
use crate::inode::{Ino, Inode, Kind, ROOT};
use cache::world::Time;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How a ledger is opened. Everything but `filesystem`, `root` and `reply_slots` may change from one
/// start to the next; those three count when it is made.
#[derive(Clone, Debug)]
pub struct LedgerOptions {
    /// Durable identity of the filesystem. An existing ledger with another one is refused.
    pub filesystem: u64,
    /// Root directory of a new filesystem.
    pub root: RootDirectory,
    /// Bytes that segments may use; `u64::MAX` for all that the disk has. Names are refused too once
    /// live data and ledger together exceed it.
    pub capacity_bytes: u64,
    /// Bytes of a log segment.
    pub segment_bytes: u64,
    /// Segments that only [`super::command::Urgency::Reserve`] may take.
    pub reserve_segments: u32,
    /// Bytes of the underlying filesystem that are left alone: verbs that need space are refused
    /// below it, so that LMDB never meets a full disk.
    pub reserve_bytes: u64,
    /// Answers kept for replays across a crash.
    pub reply_slots: u32,
    /// LMDB's limits.
    pub limits: Limits,
    /// A ledger whose file is larger is not read from end to end when it is opened.
    pub checked_bytes_max: u64,
    /// Bytes of each of the two files of the journal; a multiple of 4096.
    pub journal_bytes: u64,
    /// Memory of rows that wait for a checkpoint, about. A quarter begins one; at half the ledger waits for the
    /// one that still carries the other half over.
    pub recent_bytes_max: u64,
    /// Tests: while it is set every write to the journal fails.
    pub fault: Option<Arc<AtomicBool>>,
    /// Tests: sees every step to the disk. A checkpoint has no thread then, but takes a step each time
    /// that the ledger tends to it.
    pub witness: Option<Witness>,
}

/// Owner, mode and time of a new root directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootDirectory {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// When it is made.
    pub now: Time,
}

impl LedgerOptions {
    /// Defaults for the filesystem with this identity: all of the disk, segments of 64 MiB.
    pub fn new(filesystem: u64, now: Time) -> LedgerOptions {
        LedgerOptions {
            filesystem,
            root: RootDirectory { mode: 0o755, uid: 0, gid: 0, now },
            capacity_bytes: u64::MAX,
            segment_bytes: 64 << 20,
            reserve_segments: 4,
            reserve_bytes: 256 << 20,
            reply_slots: REPLY_SLOTS,
            limits: Limits { map_bytes: 1 << 40, readers_max: 1024 },
            checked_bytes_max: CHECKED_BYTES_MAX,
            journal_bytes: journal::JOURNAL_BYTES,
            recent_bytes_max: RECENT_BYTES,
            fault: None,
            witness: None,
        }
    }
}

/// Why a ledger could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The directory could not be made or read.
    Io(std::io::Error),
    /// LMDB failed.
    Lmdb(heed::Error),
    /// A record is damaged.
    Corrupt(Corrupt),
    /// It belongs to another filesystem.
    Identity {
        /// The identity that was found.
        found: u64,
    },
    /// It holds rows but no record of the filesystem.
    Headless,
    /// It has no valid root.
    Rootless,
    /// Somebody else has it open to change it.
    InUse,
    /// What was durable of its journal is damaged.
    Journal(journal::Damage),
    /// A page of LMDB's file is not what was written.
    Unsound(Unsound),
    /// Nor are its pages together, each of which may have been written some time.
    OtherPages,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Io(error) => write!(f, "ledger: {error}"),
            OpenError::Lmdb(error) => write!(f, "ledger: LMDB: {error}"),
            OpenError::Corrupt(corrupt) => write!(f, "ledger is damaged: {corrupt}"),
            OpenError::Identity { found } => {
                write!(f, "ledger belongs to another filesystem ({found:016x})")
            }
            OpenError::Unsound(unsound) => {
                write!(f, "ledger is damaged, see `basalt verify`: {unsound}")
            }
            OpenError::OtherPages => {
                write!(
                    f,
                    "ledger is damaged, see `basalt verify`: pages of LMDB's file are not those that were written last"
                )
            }
            OpenError::Headless => write!(f, "ledger is damaged: it has inodes but no record of itself"),
            OpenError::InUse => write!(f, "ledger is in use by somebody else"),
            OpenError::Rootless => write!(f, "ledger is damaged: it has no valid root"),
            OpenError::Journal(damage) => write!(f, "ledger's journal is damaged: {damage}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<std::io::Error> for OpenError {
    fn from(error: std::io::Error) -> OpenError {
        match error.kind() {
            std::io::ErrorKind::WouldBlock => OpenError::InUse,
            _ => OpenError::Io(error),
        }
    }
}

impl From<heed::Error> for OpenError {
    fn from(error: heed::Error) -> OpenError {
        OpenError::Lmdb(error)
    }
}

impl From<StoredError> for OpenError {
    fn from(error: StoredError) -> OpenError {
        match error {
            StoredError::Lmdb(error) => OpenError::Lmdb(error),
            StoredError::Io(error) => OpenError::Io(error),
            StoredError::Unsound(unsound) => OpenError::Unsound(unsound),
        }
    }
}

impl From<journal::Damage> for OpenError {
    fn from(damage: journal::Damage) -> OpenError {
        OpenError::Journal(damage)
    }
}

impl From<Corrupt> for OpenError {
    fn from(corrupt: Corrupt) -> OpenError {
        OpenError::Corrupt(corrupt)
    }
}

/// Figures that the ledger keeps for everyone to see.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Rows and pages that failed their checksum since the start, on any core.
    pub corrupt: AtomicU64,
    /// Inodes.
    pub inodes: AtomicU64,
    /// Removed files that still hold extents.
    pub orphans: AtomicU64,
    /// Bytes of the ledger's extents that lie in the log.
    pub live_bytes: AtomicU64,
    /// Segments in use.
    pub segments: AtomicU64,
    /// Slot files given out so far, in use or free.
    pub slots_made: AtomicU64,
    /// Segments that data must leave.
    pub reserve_segments: AtomicU64,
    /// Bytes of the disk that data must leave.
    pub disk_reserve_bytes: AtomicU64,
    /// Bytes of the ledger's own file.
    pub ledger_bytes: AtomicU64,
    /// Batches committed since the start.
    pub commits: AtomicU64,
    /// Checkpoints of the ledger since the start.
    pub checkpoints: AtomicU64,
    /// Memory of the rows that wait for a checkpoint, about.
    pub recent_bytes: AtomicU64,
    /// Requests answered from the replies since the start.
    pub replays: AtomicU64,
}

/// An open store.
#[derive(Clone)]
pub struct Store {
    tables: Tables,
    recent: Arc<Recent>,
    directory: PathBuf,
    gauges: Arc<Gauges>,
}

impl Store {
    /// Opens the ledger in `directory`; makes both where they are missing. What the journal holds is
    /// in it afterwards.
    pub fn open(directory: &Path, options: &LedgerOptions) -> Result<(Store, Keeper), OpenError> {
        if !directory.exists() {
            make(directory, options)?;
        }
        let witness = options.witness.as_ref();
        let (root, roots) = Roots::open(directory, witness)?.ok_or(OpenError::Rootless)?;
        let found = root.from.filesystem;
        if found != options.filesystem {
            return Err(OpenError::Identity { found });
        }
        let contents = Contents::read(directory)?;
        let records = contents.records(root.from)?;
        let (store, opened) = replay(directory, options, (root, roots), &records)?;
        let keeper = Keeper::new(opened, options)?;
        match store.meta()? {
            Some(meta) if meta.filesystem == found => Ok((store, keeper)),
            Some(meta) => Err(OpenError::Identity { found: meta.filesystem }),
            None => Err(OpenError::Headless),
        }
    }

    /// Does for a tool what a start does first: afterwards LMDB's file alone is the ledger. Nothing is
    /// written where it is already, as after a clean stop. Answers how many records of the journal
    /// were applied; [`OpenError::InUse`] where a daemon has the ledger open.
    pub fn bring_up(directory: &Path, limits: Limits) -> Result<u64, OpenError> {
        let (root, roots) = Roots::open(directory, None)?.ok_or(OpenError::Rootless)?;
        let contents = Contents::read(directory)?;
        let is_whole = Tree::newest(&std::fs::File::open(directory.join(DATA_FILE))?)? == root.tree;
        if is_whole && contents.records(root.from)?.is_empty() {
            return Ok(0);
        }
        // A damaged one too is for the tool to look at.
        let checked_bytes_max = 0;
        let defaults = LedgerOptions::new(root.from.filesystem, Time::default());
        let options = LedgerOptions { limits, checked_bytes_max, ..defaults };
        let records = contents.records(root.from)?;
        replay(directory, &options, (root, roots), &records)?;
        Ok(records.len() as u64)
    }

    /// Opens an existing ledger for a tool; nothing is changed.
    pub fn inspect(directory: &Path, limits: Limits) -> Result<Store, OpenError> {
        let store = Store::with(directory, limits, Access::Inspect)?;
        match store.meta()? {
            Some(_) => Ok(store),
            None => Err(OpenError::Headless),
        }
    }

    fn with(directory: &Path, limits: Limits, access: Access) -> Result<Store, OpenError> {
        let (recent, gauges) = (Arc::default(), Arc::<Gauges>::default());
        let tables = Tables::open(directory, limits, access, Arc::clone(&gauges))?;
        Ok(Store { tables, recent, directory: directory.to_path_buf(), gauges })
    }

    /// The tables.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// What is above LMDB's tree.
    pub(super) fn recent(&self) -> &Arc<Recent> {
        &self.recent
    }

    /// Where it lies.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Figures of this store.
    pub fn gauges(&self) -> &Arc<Gauges> {
        &self.gauges
    }

    /// The first log sequence number to give out after this start.
    pub fn next_lsn(&self) -> Result<u64, OpenError> {
        Ok(self.meta()?.ok_or(OpenError::Headless)?.lsn_limit)
    }

    /// Number of the newest commit.
    pub fn committed(&self) -> Result<u64, OpenError> {
        Ok(self.tables.env().read_txn()?.id() as u64)
    }

    /// The record of the filesystem; `None` in a new one.
    pub(super) fn meta(&self) -> Result<Option<Meta>, OpenError> {
        let txn = self.tables.env().read_txn()?;
        match self.tables.rows(Table::Meta).get(&txn, meta::KEY)? {
            Some(value) => Ok(Some(meta::decode(value)?)),
            None if self.tables.rows(Table::Inodes).is_empty(&txn)? => Ok(None),
            None => Err(OpenError::Headless),
        }
    }

    /// Does again what the records say.
    fn apply(&self, records: &[Record<'_>]) -> Result<(), OpenError> {
        let mut txn = self.tables.env().write_txn()?;
        for record in records {
            let damage = journal::Damage::Record { sequence: record.head.place.sequence };
            let mut count = 0;
            for change in redo::changes(record.redo) {
                let redo::Change { table, key, value } = change.ok_or(damage)?;
                let rows = self.tables.rows(table);
                match value {
                    Some(value) => rows.put(&mut txn, key, value)?,
                    None => _ = rows.delete(&mut txn, key)?,
                }
                count += 1;
            }
            if count != record.head.changes {
                return Err(damage.into());
            }
        }
        txn.commit()?;
        Ok(())
    }

    fn format(&self, options: &LedgerOptions) -> Result<(), OpenError> {
        let first = Meta {
            filesystem: options.filesystem,
            next_ino: ROOT.0 + 1,
            lsn_limit: LSN_FIRST,
            next_segment: 1,
            slots_made: 0,
            reply_slots: options.reply_slots.max(1),
            replies: 0,
        };
        let mut txn = self.tables.env().write_txn()?;
        let mut value = Vec::new();
        inode::encode(&root(&options.root), &mut value);
        self.tables.rows(Table::Inodes).put(&mut txn, inode::key(ROOT).as_bytes(), &value)?;
        meta::encode(&first, &mut value);
        self.tables.rows(Table::Meta).put(&mut txn, meta::KEY, &value)?;
        txn.commit()?;
        Ok(())
    }
}

/// Makes a new ledger. It gets its name when all of it is durable, so what has the name is whole.
fn make(directory: &Path, options: &LedgerOptions) -> Result<(), OpenError> {
    let unfinished = unfinished(directory);
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished)?;
    }
    std::fs::create_dir_all(&unfinished)?;
    let witness = options.witness.as_ref();
    let store = Store::with(&unfinished, options.limits, Access::Write)?;
    store.format(options)?;
    let digest = Stored::read(&store.tables)?.digest();
    drop(store);
    let data = Media::observe(unfinished.join(DATA_FILE), witness)?;
    data.sync()?;
    Journal::make(&unfinished, options.journal_bytes, witness)?;
    let tree = Tree::newest(&std::fs::File::open(unfinished.join(DATA_FILE))?)?;
    let from = JournalFrom { filesystem: options.filesystem, epoch: 1, place: Place { sequence: 0, previous: 0 } };
    Roots::make(&unfinished, witness)?.write(&Root { from, tree, digest })?;
    sync_directory(&unfinished)?;
    std::fs::rename(&unfinished, directory)?;
    sync_directory(directory.parent().unwrap_or(Path::new("")))?;
    Ok(())
}

/// Where a ledger is until it is made.
pub(super) fn unfinished(directory: &Path) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push(UNFINISHED_SUFFIX);
    PathBuf::from(name)
}

/// LMDB's tree, all of it read: its pages are those of the root.
pub(super) fn read(tables: &Tables, root: &Root) -> Result<Stored, OpenError> {
    let stored = Stored::read(tables)?;
    if stored.digest() == root.digest { Ok(stored) } else { Err(OpenError::OtherPages) }
}

/// Opens LMDB at the root's tree and applies the records to it; what comes of that is the next root.
fn replay<'a>(
    directory: &'a Path,
    options: &LedgerOptions,
    (root, mut roots): (Root, Roots),
    records: &[Record<'_>],
) -> Result<(Store, Opened<'a>), OpenError> {
    let data = std::fs::File::options().read(true).write(true).open(directory.join(DATA_FILE))?;
    // A power cut leaves one of LMDB's own; anything else is not its file.
    Tree::newest(&data)?;
    root.tree.restore(&data)?;
    let store = Store::with(directory, options.limits, Access::Write)?;
    // Held until the next root is durable: nothing may write over the tree of this one.
    let before = if data.metadata()?.len() <= options.checked_bytes_max {
        read(&store.tables, &root)?
    } else {
        Stored::unread(&store.tables, root.digest)?
    };
    assert_eq!(before.number(), root.tree.number(), "LMDB begins with the root's tree");
    let mut end = root.from.place;
    for some in records.chunks(REPLAY_BATCH) {
        store.apply(some)?;
    }
    if let Some(last) = records.last() {
        end = last.next();
        tracing::info!(directory = %directory.display(), records = records.len(), "the ledger's journal was replayed");
    }
    // Of the epochs of this root, at most two, none may be taken for one of the next.
    let from = JournalFrom { epoch: root.from.epoch + 2, place: end, ..root.from };
    let stored = Stored::after(&before, &store.tables)?;
    Media::observe(directory.join(DATA_FILE), options.witness.as_ref())?.sync()?;
    let root = stored.root(from);
    roots.write(&root)?;
    let (tables, recent) = (store.tables.clone(), store.recent.clone());
    Ok((store, Opened { directory, tables, recent, roots, root, stored }))
}

impl Gauges {
    /// Counts a row that failed its checksum.
    pub(super) fn count_corrupt(&self) {
        self.corrupt.fetch_add(1, Ordering::Relaxed);
    }
}

fn root(made: &RootDirectory) -> Inode {
    Inode {
        ino: ROOT,
        generation: 1,
        kind: Kind::Directory,
        mode: made.mode & inode::MODE_BITS,
        uid: made.uid,
        gid: made.gid,
        nlink: 2,
        rdev: (0, 0),
        size: inode::directory_bytes(0),
        used: inode::directory_bytes(0),
        atime: made.now,
        mtime: made.now,
        ctime: made.now,
        btime: made.now,
        change: LSN_FIRST - 1,
        folded_lsn: 0,
        parent: ROOT,
        entries: 0,
        verifier: None,
    }
}

/// A ledger of at most so many bytes is read from end to end when it is opened, in some tenths of a
/// second: a start has to be quick.
pub const CHECKED_BYTES_MAX: u64 = 128 << 20;
/// The first log sequence number of a new filesystem; cookies 0 to 2 have meanings of their own.
pub const LSN_FIRST: u64 = 16;
/// Memory of rows that wait for a checkpoint, by default.
pub const RECENT_BYTES: u64 = 32 << 20;
/// Behind the name of a ledger that is being made.
pub const UNFINISHED_SUFFIX: &str = ".new";
/// Records of the journal that a start applies in one transaction.
const REPLAY_BATCH: usize = 8;
/// Answers kept by default: about 20 MiB on disk.
pub const REPLY_SLOTS: u32 = 65_536;

const _: () = assert!(LSN_FIRST > super::record::entry::COOKIE_PARENT);
const _: () = assert!(Ino(1).0 == ROOT.0);
