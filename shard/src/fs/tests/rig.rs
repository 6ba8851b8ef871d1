//! A filesystem on simulated cores, to be driven by tests.

use crate::cred::Cred;
use crate::fs::filesystem::{FilesystemError, LEDGER_DIRECTORY, Options, Shared};
use crate::fs::peers::{LogAsk, PeerLogs};
use crate::fs::recover::{RecoverError, Recovered, recover};
use crate::fs::write::Stability;
use crate::fs::{Fs, Means, Seed, checkpoint, clean, commit, read, setattr, write};
use crate::inode::{FileId, Inode, ROOT};
use crate::ledger::apply::Ledger;
use crate::ledger::command::{Ask, CreateHow, Done, Job, Name, SetAttr, Verb};
use crate::ledger::env::Limits;
use crate::ledger::port::Hub;
use crate::ledger::power::Power;
use crate::ledger::store::{LedgerOptions, RootDirectory, Store};
use crate::status::Status;
use cache::log::SEAL_PAUSE;
use cache::sim::{Rng, SimDisk, SimWorld};
use cache::table::{BlockCache, Directory};
use cache::world::{LocalFuture, Time, World};
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Bytes of a segment in tests.
pub(super) const SEGMENT_BYTES: u64 = cache::log::SEGMENT_BYTES_MIN;

/// A machine with a filesystem on it.
pub(super) struct Rig {
    pub(super) world: SimWorld,
    pub(super) disk: SimDisk,
    pub(super) fs: Vec<Rc<Fs>>,
    pub(super) shared: Arc<Shared>,
    pub(super) recovered: Recovered,
    /// While it is set, the ledger's commits fail.
    pub(super) fault: Arc<AtomicBool>,
    everyone: Rc<RefCell<Vec<Rc<Fs>>>>,
    ledger: Rc<RefCell<Ledger>>,
    running: Rc<Cell<bool>>,
    folder: Rc<tempfile::TempDir>,
    power: Power,
    options: Options,
    seed: u64,
}

/// What is asked goes straight to the other core, a moment later.
struct Neighbours {
    world: Rc<dyn World>,
    fs: Rc<RefCell<Vec<Rc<Fs>>>>,
}

impl PeerLogs for Neighbours {
    fn ask(&self, _filesystem: u32, core: u16, ask: LogAsk) -> LocalFuture<Result<(), Status>> {
        let peer = self.fs.borrow()[usize::from(core)].clone();
        let pause = self.world.sleep(Duration::from_micros(20));
        Box::pin(async move {
            pause.await;
            peer.serve_peer(ask).await
        })
    }
}

/// Options for tests with this much room.
pub(super) fn options(cores: u16, capacity_bytes: u64) -> Options {
    let root = RootDirectory { mode: 0o777, uid: 0, gid: 0, now: Time::default() };
    Options {
        capacity_bytes,
        segment_bytes: SEGMENT_BYTES,
        reserve_segments: 2 + u32::from(cores),
        reserve_bytes: 0,
        unwritten_bytes_max: 4 << 20,
        inodes_max: 4096,
        ..Options::new(cores, root)
    }
}

impl Rig {
    /// A new filesystem.
    pub(super) fn new(seed: u64, options: Options) -> Rig {
        let world = SimWorld::new(seed);
        let disk = SimDisk::new(&world, seed ^ 0xd15c);
        let folder = Rc::new(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap());
        Rig::open(world, disk, folder, Power::new(), options, seed).unwrap()
    }

    /// Opens what lies on `disk` and in `folder`, or says why not.
    pub(super) fn open(
        world: SimWorld,
        disk: SimDisk,
        folder: Rc<tempfile::TempDir>,
        power: Power,
        options: Options,
        seed: u64,
    ) -> Result<Rig, FilesystemError> {
        let id = 0x00ba_5a17;
        let fault = Arc::new(AtomicBool::new(false));
        let ledger_options = LedgerOptions {
            root: options.root,
            capacity_bytes: options.capacity_bytes,
            segment_bytes: options.segment_bytes,
            reserve_segments: options.reserve_segments,
            reserve_bytes: options.reserve_bytes,
            reply_slots: 64,
            fault: Some(fault.clone()),
            journal_bytes: JOURNAL_BYTES,
            witness: Some(power.witness()),
            limits: Limits { map_bytes: 256 << 20, readers_max: 64 },
            ..LedgerOptions::new(id, Time::default())
        };
        let (store, keeper) = Store::open(&folder.path().join(LEDGER_DIRECTORY), &ledger_options)?;
        let (next_lsn, committed) = (store.next_lsn()?, store.committed()?);
        let verifier = world.random();
        let shared = Arc::new(Shared::new(0, id, folder.path(), options.clone(), next_lsn, committed, verifier));
        let mut ledger = Ledger::new((store.clone(), keeper), ledger_options, shared.clone())?;
        let recovered = world.run_until(recover(&shared, &mut ledger, disk.disk()))?;
        let hub = Hub::new(options.cores);
        let everyone = Rc::new(RefCell::new(Vec::new()));
        let directory = Directory::new();
        for core in 0..options.cores {
            let seed = Seed { shared: shared.clone(), core, hub: hub.clone(), store: store.clone() };
            let means = Means {
                world: world.world(),
                disk: disk.disk(),
                cache: BlockCache::new(directory.clone(), world.world(), CACHE_BYTES),
                peers: Rc::new(Neighbours { world: world.world(), fs: everyone.clone() }),
                doorbell: Box::new(|| {}),
            };
            let fs = Fs::start(seed, means);
            everyone.borrow_mut().push(fs);
        }
        let fs = everyone.borrow().clone();
        let ledger = Rc::new(RefCell::new(ledger));
        let running = Rc::new(Cell::new(true));
        world.spawn(Box::pin(pump(world.clone(), hub, ledger.clone(), fs.clone(), running.clone())));
        Ok(Rig { world, disk, fs, everyone, shared, recovered, fault, ledger, running, folder, power, options, seed })
    }

    /// Drops what runs. The cores know each other; without this they would stay for ever.
    fn power_off(&self) {
        self.running.set(false);
        self.world.power_off();
        self.everyone.borrow_mut().clear();
    }

    /// The power goes and comes back.
    pub(super) fn crash(self) -> Rig {
        self.try_crash().unwrap()
    }

    /// The daemon is killed and starts again; the disk keeps what it was given, in its cache.
    pub(super) fn kill(self) -> Rig {
        let (world, disk) = (self.world.clone(), self.disk.clone());
        let (folder, power, options, seed) = (self.folder.clone(), self.power.clone(), self.options.clone(), self.seed);
        drop(self);
        Rig::open(world, disk, folder, power, options, seed).unwrap()
    }

    /// The same, where the recovery may fail.
    pub(super) fn try_crash(self) -> Result<Rig, RecoverError> {
        let next = SimWorld::new(self.seed.wrapping_mul(31) + 7);
        let survivor = self.disk.crash(&next);
        let (folder, power, options) = (self.folder.clone(), self.power.clone(), self.options.clone());
        let seed = self.seed.wrapping_mul(33) + 5;
        // LMDB's environment is opened again only when it is closed everywhere.
        drop(self);
        power.cut(&folder.path().join(LEDGER_DIRECTORY), &mut Rng::new(seed)).unwrap();
        Rig::open(next, survivor, folder, power, options, seed).map_err(|error| match error {
            FilesystemError::Recover(error) => error,
            error => panic!("{error}"),
        })
    }

    /// Stops in order and starts again.
    pub(super) fn restart(self) -> Rig {
        let all = self.fs.clone();
        self.world.run_until(async move {
            for fs in &all {
                fs.stop().await.unwrap();
            }
        });
        self.ledger.borrow_mut().settle().unwrap();
        self.crash()
    }

    /// The ledger's file holds all of it, as after a stop in order.
    pub(super) fn settle(&self) {
        self.ledger.borrow_mut().settle().unwrap();
    }

    /// Folds and moves all the time, on every core, until the power goes.
    pub(super) fn churn(&self) {
        for fs in &self.fs {
            self.world.spawn(Box::pin(churn(Rc::downgrade(fs), self.world.clone())));
        }
    }

    /// Any of the cores.
    pub(super) fn any_core(&self) -> Rc<Fs> {
        self.fs[self.world.below(self.fs.len() as u64) as usize].clone()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.power_off();
    }
}

async fn churn(fs: Weak<Fs>, world: SimWorld) {
    loop {
        world.sleep(Duration::from_micros(world.below(10_000))).await;
        let Some(fs) = fs.upgrade() else { return };
        if fs.stopping.get() {
            return;
        }
        if world.below(2) == 0 {
            checkpoint::fold_all(&fs).await.unwrap();
            continue;
        }
        let segments = {
            let mut reader = fs.reader.borrow_mut();
            reader.refresh().unwrap();
            reader.segments().unwrap()
        };
        if let Some(info) = segments.get(world.below(segments.len().max(1) as u64) as usize) {
            // The slot of a segment that was just opened may not be there yet.
            clean::clean(&fs, info.id, info.slot).await.ok();
        }
    }
}

/// The ledger's turn: now and then.
async fn pump(
    world: SimWorld,
    hub: Arc<Hub>,
    ledger: Rc<RefCell<Ledger>>,
    cores: Vec<Rc<Fs>>,
    running: Rc<Cell<bool>>,
) {
    let mut turn = 0;
    let mut pause = Duration::from_micros(50);
    let mut worked_last = world.monotonic();
    while running.get() {
        turn += 1;
        let worked = hub.pump(&mut ledger.borrow_mut(), turn);
        if worked {
            worked_last = world.monotonic();
        } else if world.monotonic() - worked_last >= SEAL_PAUSE {
            ledger.borrow_mut().seal().ok();
        }
        if turn % 8 == 0 {
            ledger.borrow_mut().checkpoint().ok();
        }
        for fs in &cores {
            if world.below(4) == 0 {
                world.yield_now().await;
            }
            fs.port.deliver();
        }
        pause = if worked { Duration::from_micros(50) } else { (pause * 2).min(Duration::from_millis(2)) };
        world.sleep(pause).await;
    }
}

// The verbs as a client calls them: as the superuser, to the end.

pub(super) async fn create(fs: &Rc<Fs>, name: &str) -> Result<FileId, Status> {
    let dir = FileId { ino: ROOT, generation: 1 };
    let attr = SetAttr { mode: Some(0o644), ..SetAttr::default() };
    let verb = Verb::Create { dir, name: Name::new(name.as_bytes())?, how: CreateHow::Guarded, attr };
    let made = ask(fs, verb).await?.ok_or(Status::ServerFault)?;
    Ok(made.id())
}

pub(super) async fn find(fs: &Rc<Fs>, name: &str) -> Result<FileId, Status> {
    let dir = FileId { ino: ROOT, generation: 1 };
    let verb =
        Verb::Create { dir, name: Name::new(name.as_bytes())?, how: CreateHow::Unchecked, attr: SetAttr::default() };
    Ok(ask(fs, verb).await?.ok_or(Status::ServerFault)?.id())
}

pub(super) async fn remove(fs: &Rc<Fs>, name: &str) -> Result<(), Status> {
    let dir = FileId { ino: ROOT, generation: 1 };
    ask(fs, Verb::Remove { dir, name: Name::new(name.as_bytes())? }).await.map(|_| ())
}

pub(super) async fn ask(fs: &Rc<Fs>, verb: Verb) -> Result<Option<Inode>, Status> {
    let ask = Ask { cred: Cred::root(), now: fs.world.now(), replay: None, verb };
    match fs.port.call(Job::Ask(Box::new(ask))).await {
        Done::Answer(answer) => answer.status.map(|()| answer.object),
        Done::Refused(status) => Err(status),
        other => panic!("{other:?}"),
    }
}

pub(super) async fn put(
    fs: &Rc<Fs>,
    id: FileId,
    offset: u64,
    bytes: &[u8],
    stability: Stability,
) -> Result<write::WriteDone, Status> {
    write::write(fs, &Cred::root(), id, offset, bytes, stability).wait().await
}

pub(super) async fn cut(fs: &Rc<Fs>, id: FileId, size: u64) -> Result<Inode, Status> {
    let done = setattr::truncate(fs, &Cred::root(), id, size, setattr::Guard::None).wait().await?;
    Ok(done.after)
}

pub(super) async fn sync(fs: &Rc<Fs>, id: FileId) -> Result<commit::CommitDone, Status> {
    commit::commit(fs, &Cred::root(), id).wait().await
}

/// Reads the range, over as many replies as it takes.
pub(super) async fn get(fs: &Rc<Fs>, id: FileId, offset: u64, count: usize) -> Result<Vec<u8>, Status> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let want = (count - bytes.len()).min(1 << 20) as u32;
        let done = read::read(fs, &Cred::root(), id, offset + bytes.len() as u64, want).wait().await?;
        let before = bytes.len();
        for piece in &done.pieces {
            bytes.extend_from_slice(piece.as_slice());
        }
        assert_eq!(bytes.len() - before, done.bytes as usize, "the pieces are the bytes");
        if done.eof {
            break;
        }
        assert!(done.bytes > 0, "a read before the end makes progress");
    }
    Ok(bytes)
}

/// All of the file.
pub(super) async fn all(fs: &Rc<Fs>, id: FileId) -> Result<Vec<u8>, Status> {
    let size = fs.attr(id)?.size;
    get(fs, id, 0, size as usize + 1).await
}

/// Bytes of each file of the ledger's journal: a few dozen batches.
const JOURNAL_BYTES: u64 = 128 << 10;
/// Memory of a core's cache: what a cache has at least.
const CACHE_BYTES: usize = cache::table::BUDGET_BYTES_MIN;
