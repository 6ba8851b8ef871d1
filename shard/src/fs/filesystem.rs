//! One filesystem: opened and recovered ([`Filesystem`]), and what all its cores share ([`Shared`]).
//! Each core builds its own part, [`super::column::Fs`], on its own thread from a [`Seed`].
//!
//! Callers: the daemon at start and stop, the ledger (publishes), every verb.
//!
//! On disk: `ledger/` (LMDB) and `log/` (slot files) in the filesystem's directory.

use super::column::Seed;
use super::recover::{self, RecoverError, Recovered};
use super::under_way::Requests;
use crate::ledger::apply::Ledger;
use crate::ledger::keeper::Keeper;
use crate::ledger::port::Hub;
use crate::ledger::store::{LedgerOptions, OpenError, RECENT_BYTES, RootDirectory, Store};
use crate::ledger::thread::LedgerThread;
use crate::ledger::touch::Touches;
use crate::ledger::touchers::Touchers;
use crate::ledger::warm;
use crate::table::LockTable;
use cache::disk::{Ring, RingDisk};
use cache::table::Slots;
use siphasher::sip::SipHasher24;
use std::fmt;
use std::hash::Hasher;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What an operator chooses of a filesystem. All of it but `root` may change from one start to the
/// next.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes that the filesystem may use on disk, log and ledger together; `u64::MAX` for all.
    pub capacity_bytes: u64,
    /// Bytes of one log segment; a multiple of 64 KiB, at least
    /// [`cache::log::SEGMENT_BYTES_MIN`]. Applies to slot files made from now on.
    pub segment_bytes: u64,
    /// Segments kept for truncation, cleaning and recovery.
    pub reserve_segments: u32,
    /// Bytes of the disk under it that are left alone.
    pub reserve_bytes: u64,
    /// Most bytes of one core's log that are appended and not yet written.
    pub unwritten_bytes_max: usize,
    /// Memory that rows of the ledger may take while they wait for a checkpoint, about.
    pub recent_bytes_max: u64,
    /// Cores that serve it.
    pub cores: u16,
    /// Inodes kept in the lock table.
    pub inodes_max: usize,
    /// Memory that the ledger's file may count on; `None` for what the machine has to spare, looked at
    /// each minute.
    pub ledger_memory: Option<u64>,
    /// Root directory of a new filesystem.
    pub root: RootDirectory,
}

impl Options {
    /// Defaults for a filesystem served by `cores`: all of the disk, segments of 64 MiB. A new root
    /// directory looks like `root`.
    pub fn new(cores: u16, root: RootDirectory) -> Options {
        Options {
            capacity_bytes: u64::MAX,
            segment_bytes: 64 << 20,
            reserve_segments: 2 + 2 * u32::from(cores),
            reserve_bytes: 256 << 20,
            unwritten_bytes_max: 16 << 20,
            recent_bytes_max: RECENT_BYTES,
            cores,
            inodes_max: 1 << 18,
            ledger_memory: None,
            root,
        }
    }

    fn ledger(&self, filesystem: u64) -> LedgerOptions {
        LedgerOptions {
            root: self.root,
            recent_bytes_max: self.recent_bytes_max,
            capacity_bytes: self.capacity_bytes,
            segment_bytes: self.segment_bytes,
            reserve_segments: self.reserve_segments,
            reserve_bytes: self.reserve_bytes,
            ..LedgerOptions::new(filesystem, self.root.now)
        }
    }
}

/// A filesystem that is open: its ledger runs, its log is folded.
pub struct Filesystem {
    shared: Arc<Shared>,
    hub: Arc<Hub>,
    store: Store,
    thread: LedgerThread,
    touchers: Touchers,
    recovered: Recovered,
}

/// Why a filesystem could not be opened.
#[derive(Debug)]
pub enum FilesystemError {
    /// Its directories or threads could not be made.
    Io(io::Error),
    /// Its ledger could not be opened.
    Ledger(OpenError),
    /// Its log could not be replayed.
    Recover(RecoverError),
}

impl fmt::Display for FilesystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilesystemError::Io(error) => write!(f, "{error}"),
            FilesystemError::Ledger(error) => write!(f, "{error}"),
            FilesystemError::Recover(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for FilesystemError {}

impl From<io::Error> for FilesystemError {
    fn from(error: io::Error) -> FilesystemError {
        FilesystemError::Io(error)
    }
}

impl From<OpenError> for FilesystemError {
    fn from(error: OpenError) -> FilesystemError {
        FilesystemError::Ledger(error)
    }
}

impl From<RecoverError> for FilesystemError {
    fn from(error: RecoverError) -> FilesystemError {
        FilesystemError::Recover(error)
    }
}

impl Filesystem {
    /// Opens the filesystem in `directory`, which exists; makes it where there is none. Replays its
    /// log, which takes time in proportion to what was written since the last checkpoint. `index`
    /// numbers it within this process.
    pub fn open(directory: &Path, index: u32, options: Options) -> Result<Filesystem, FilesystemError> {
        warm::begin(&directory.join(LEDGER_DIRECTORY));
        let (store, keeper, id) = open_store(directory, &options)?;
        let (next_lsn, committed) = (store.next_lsn()?, store.committed()?);
        let ledger_options = options.ledger(id);
        let shared = Arc::new(Shared::new(index, id, directory, options, next_lsn, committed, random()?));
        std::fs::create_dir_all(shared.log_directory())?;
        let mut ledger = Ledger::new((store.clone(), keeper), ledger_options, Arc::clone(&shared))?;
        let recovered = recover_apart(&shared, &mut ledger)?;
        let hub = Hub::new(shared.options.cores);
        let thread = LedgerThread::spawn(ledger, Arc::clone(&hub))?;
        let touchers = Touchers::spawn(store.clone(), Arc::clone(&shared))?;
        Ok(Filesystem { shared, hub, store, thread, touchers, recovered })
    }

    /// What all cores share of it.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Its metadata at rest, and the ledger's figures.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What was replayed when it was opened.
    pub fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// What `core` builds its part from. Taken once for each core.
    pub fn seed(&self, core: u16) -> Seed {
        Seed { shared: Arc::clone(&self.shared), core, hub: Arc::clone(&self.hub), store: self.store.clone() }
    }

    /// Ends the ledger's threads. The cores have stopped ([`super::column::Fs::stop`]) before.
    pub fn close(self) {
        drop(self.touchers);
        self.thread.stop();
    }
}

/// What clients see in place of the identity: a keyed hash, so that the identity cannot be found from it.
pub(crate) fn public_id(identity: u64) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(identity, 0);
    hasher.write(b"filesystem");
    hasher.finish()
}

/// Opens the ledger, which knows its filesystem's identity; a new one draws it.
fn open_store(directory: &Path, options: &Options) -> Result<(Store, Keeper, u64), FilesystemError> {
    let path = directory.join(LEDGER_DIRECTORY);
    let drawn = random()?;
    let (opened, id) = match Store::open(&path, &options.ledger(drawn)) {
        Err(OpenError::Identity { found }) => (Store::open(&path, &options.ledger(found)), found),
        opened => (opened, drawn),
    };
    let (store, keeper) = opened?;
    Ok((store, keeper, id))
}

/// Runs the recovery on a thread and a ring of its own: the cores are not there yet.
fn recover_apart(shared: &Arc<Shared>, ledger: &mut Ledger) -> Result<Recovered, FilesystemError> {
    let recovery = || -> Result<Recovered, FilesystemError> {
        let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().enable_timer().build()?;
        runtime.block_on(async {
            let ring = Ring::new(RECOVERY_DEPTH)?;
            let disk = RingDisk::new(ring, &shared.log_directory());
            Ok(recover::recover(shared, ledger, Rc::new(disk)).await?)
        })
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("recovery".to_owned()).spawn_scoped(scope, recovery)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the recovery panicked").into()))
    })
}

fn random() -> io::Result<u64> {
    getrandom::u64().map_err(io::Error::other)
}

/// The ledger, within the filesystem's directory.
pub const LEDGER_DIRECTORY: &str = "ledger";
/// The slot files, within the filesystem's directory.
pub const LOG_DIRECTORY: &str = "log";
/// Reads in flight while the log is replayed.
const RECOVERY_DEPTH: u32 = 64;

/// What all cores and the ledger's thread share of one filesystem.
pub struct Shared {
    /// Number of the filesystem within this process; names its chunks in the block cache and its
    /// messages between cores.
    pub index: u32,
    /// Durable identity in public: part of every handle, and the `fsid` of its files. Says nothing
    /// of `identity`.
    pub id: u64,
    /// Durable identity on disk: in the ledger and in every log frame. Clients never see it: one who
    /// knew it could write data that looks like frames of the log.
    pub identity: u64,
    /// Directory that holds `ledger/` and `log/`.
    pub directory: PathBuf,
    /// How it was opened.
    pub options: Options,
    /// The one place where cores meet under a lock.
    pub table: LockTable,
    /// Which slot holds which segment. The ledger notes a segment before it answers that it is
    /// open, and at start.
    pub slots: Arc<Slots>,
    /// Number of the ledger's newest commit. The ledger stores it after the LMDB commit and before
    /// it publishes to the table.
    pub committed: AtomicU64,
    /// The next log sequence number to give out; see [`Shared::lsn`].
    pub next_lsn: AtomicU64,
    /// Bytes that the ledger's extents use, for FSSTAT. Kept by the ledger.
    pub live_bytes: AtomicU64,
    /// Segments that can still be opened. Kept by the ledger.
    pub free_segments: AtomicU64,
    /// Look-ups that are made before a core makes them.
    pub touches: Touches,
    /// Requests that the ledger and then a log carry out.
    pub under_way: Requests,
    verifier: AtomicU64,
    poisoned: AtomicBool,
    durable: Box<[AtomicU64]>,
}

impl Shared {
    /// The common part of the filesystem with durable identity `identity`, whose log sequence numbers
    /// begin at `next_lsn` and whose newest commit is `committed`.
    pub fn new(
        index: u32,
        identity: u64,
        directory: &Path,
        options: Options,
        next_lsn: u64,
        committed: u64,
        verifier: u64,
    ) -> Shared {
        Shared {
            index,
            id: public_id(identity),
            identity,
            directory: directory.to_path_buf(),
            table: LockTable::new(options.inodes_max),
            slots: Arc::default(),
            committed: AtomicU64::new(committed),
            next_lsn: AtomicU64::new(next_lsn),
            live_bytes: AtomicU64::new(0),
            free_segments: AtomicU64::new(0),
            touches: Touches::new(options.cores),
            under_way: Requests::default(),
            verifier: AtomicU64::new(verifier),
            poisoned: AtomicBool::new(false),
            durable: (0..options.cores).map(|_| AtomicU64::new(0)).collect(),
            options,
        }
    }

    /// Where the slot files are.
    pub fn log_directory(&self) -> PathBuf {
        self.directory.join(LOG_DIRECTORY)
    }

    /// Gives out a log sequence number. Of a file's changes the later one has the higher number: a
    /// record of the log takes it under the file's stripe; the ledger takes it *before* it looks at
    /// what the log says of the inode ([`LockTable::overlaid`]).
    pub fn lsn(&self) -> u64 {
        self.next_lsn.fetch_add(1, Ordering::Relaxed)
    }

    /// The write verifier: another one after each start and after a failure of the log or the ledger.
    pub fn verifier(&self) -> [u8; 8] {
        self.verifier.load(Ordering::Acquire).to_be_bytes()
    }

    /// A write or flush of the log, or a commit of the ledger, failed: from here on nothing is
    /// changed any more until a restart, and clients learn by the verifier that unstable data may be
    /// gone. The first call decides; `verifier` is a fresh random number.
    pub fn poison(&self, verifier: u64) {
        if !self.poisoned.swap(true, Ordering::AcqRel) {
            let old = self.verifier.load(Ordering::Acquire);
            let fresh = if verifier == old { !old } else { verifier };
            self.verifier.store(fresh, Ordering::Release);
        }
    }

    /// Whether [`Shared::poison`] was called: everything but reading answers an error.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// How far `core`'s log is durable, as that core last said.
    pub fn durable(&self, core: u16) -> u64 {
        self.durable.get(usize::from(core)).map_or(0, |position| position.load(Ordering::Acquire))
    }

    /// `core` says that its log is durable up to `position`.
    pub fn set_durable(&self, core: u16, position: u64) {
        if let Some(slot) = self.durable.get(usize::from(core)) {
            slot.fetch_max(position, Ordering::AcqRel);
        }
    }
}
