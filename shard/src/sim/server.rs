//! The whole server on a simulated machine: cores as in production over a simulated disk, the ledger's LMDB for
//! real in a temporary folder, connections over a simulated network.
//!
//! Callers: everything else of this module. [`Server::boot`] is what a start of the daemon does, recovery included;
//! [`Image`] is what a crash leaves. The acceptor's work is done by [`Server::connect`].

use super::network::{Link, ServerEnd, Weather};
use super::policy::Policy;
use crate::fs::Seed;
use crate::fs::filesystem::{LEDGER_DIRECTORY, Options, Shared, public_id};
use crate::fs::recover::{RecoverError, recover};
use crate::inode::ROOT_ID;
use crate::ledger::apply::Ledger;
use crate::ledger::env;
use crate::ledger::port::Hub;
use crate::ledger::power::Power;
use crate::ledger::reader::Reader;
use crate::ledger::store::{LedgerOptions, RootDirectory, Store};
use crate::ledger::touch::Room;
use crate::mount::MountList;
use crate::net::accept::Seat;
use crate::net::conn;
use crate::net::core::{Core, Letter, Limits, Plan, build};
use crate::net::handle::{HandleKey, Target};
use crate::net::mailbox::Mailbox;
use crate::policy::{Export, Exports, ExportsCell, FilesystemId};
use cache::block::Arena;
use cache::log::SEAL_PAUSE;
use cache::sim::{Effect, Rng, SimDisk, SimMachine, SimWorld};
use cache::table::Directory;
use cache::world::{Time, World};
use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use wire::nfs3::{FileHandle, FileHandleBuf};

/// How a simulated server is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) cores: u16,
    /// Segments that the filesystem may use.
    pub(crate) segments: u64,
    /// Whether look-ups wait for pages of the ledger.
    pub(crate) room: Room,
    /// Who may do what.
    pub(crate) policy: Policy,
}

/// Something happened at which the power may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// On the disk under the log.
    Disk(Effect),
    /// The ledger has committed; nobody was told.
    Commit,
    /// The filesystem has recovered; nobody was served.
    Recovered,
    /// A client has got its reply.
    Reply,
}

/// Told of each moment.
pub(crate) type Watcher = Rc<dyn Fn(Moment)>;

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The process is killed; the machine goes on, and so does the disk's cache.
    Kill,
    /// The power goes.
    Power,
}

/// What a server's machine keeps, or a crash leaves.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) disk: SimDisk,
    pub(crate) folder: Rc<Folder>,
    /// Of the ledger's folder.
    pub(crate) power: Power,
}

/// A server that runs.
pub(crate) struct Server {
    world: SimWorld,
    machine: SimMachine,
    disk: SimDisk,
    _folder: Rc<Folder>,
    cores: Vec<Rc<Core>>,
    links: RefCell<Vec<Rc<Link>>>,
    watcher: Rc<RefCell<Option<Watcher>>>,
}

impl Image {
    /// A disk without a filesystem.
    pub(crate) fn blank(world: &SimWorld) -> Image {
        let disk = SimDisk::new(world, world.random());
        Image { disk, folder: Rc::new(Folder::new()), power: Power::new() }
    }

    /// What a crash at this moment would leave, in another world. This one goes on.
    pub(crate) fn after(&self, crash: Crash, world: &SimWorld, seed: u64) -> Image {
        let folder = Folder::new();
        let (ledger, copy) = (self.folder.path.join(LEDGER_DIRECTORY), folder.path.join(LEDGER_DIRECTORY));
        std::fs::create_dir(&copy).expect("a folder in a temporary folder");
        let (disk, power) = match crash {
            Crash::Kill => (self.disk.kill(world, seed), self.power.image_of_kill(&ledger, &copy)),
            Crash::Power => {
                let power = self.power.image_of_cut(&ledger, &copy, &mut Rng::new(seed));
                (self.disk.crash_with(world, seed), power)
            }
        };
        Image { disk, folder: Rc::new(folder), power: power.expect("the ledger can be copied") }
    }
}

impl Server {
    /// Opens what is on the disk, recovers it and serves it.
    pub(crate) async fn boot(
        world: &SimWorld,
        image: Image,
        setup: Setup,
        watcher: Option<Watcher>,
    ) -> Result<Server, RecoverError> {
        let Image { disk, folder, power } = image;
        let machine = world.machine();
        if let Some(watcher) = watcher.clone() {
            disk.watch(Rc::new(move |effect| watcher(Moment::Disk(effect))));
        }
        let watcher = Rc::new(RefCell::new(watcher));
        let options = options(setup);
        let ledger_options = ledger_options(&options, &power);
        let (store, keeper) =
            Store::open(&folder.path.join(LEDGER_DIRECTORY), &ledger_options).expect("a sound ledger opens");
        let (next_lsn, committed) = (store.next_lsn().expect("it opened"), store.committed().expect("it opened"));
        let verifier = world.random();
        let shared = Shared::new(0, IDENTITY, &folder.path, options, next_lsn, committed, verifier);
        let shared = Arc::new(shared);
        let mut ledger =
            Ledger::new((store.clone(), keeper), ledger_options, shared.clone()).expect("a sound ledger opens");
        recover(&shared, &mut ledger, disk.disk()).await?;
        tell(&watcher, Moment::Recovered);
        let hub = Hub::new(setup.cores);
        shared.touches.set(setup.room);
        let seed = |core| Seed { shared: shared.clone(), core, hub: hub.clone(), store: store.clone() };
        let cores = cores(setup, &machine, &disk, FilesystemId(shared.id), seed);
        if setup.room == Room::Short {
            machine.spawn(Box::pin(touch(world.clone(), shared.clone(), store)));
        }
        machine.spawn(Box::pin(pump(world.clone(), hub, ledger, watcher.clone())));
        let links = RefCell::default();
        Ok(Server { world: world.clone(), machine, disk, _folder: folder, cores, links, watcher })
    }

    /// Tells `watcher` of every moment from now on.
    pub(crate) fn watch(&self, watcher: &Watcher) {
        self.watcher.replace(Some(watcher.clone()));
        let watcher = watcher.clone();
        self.disk.watch(Rc::new(move |effect| watcher(Moment::Disk(effect))));
    }

    /// A connection to any of the cores.
    pub(crate) fn connect(&self, peer: IpAddr, weather: Weather) -> Rc<Link> {
        let link = Link::new(&self.world, weather);
        let core = &self.cores[self.world.below(self.cores.len() as u64) as usize];
        conn::open(core, ServerEnd(link.clone()), peer, Seat::take(Vec::new())).expect("a simulated socket splits");
        let mut links = self.links.borrow_mut();
        links.retain(|link| !link.is_over());
        links.push(link.clone());
        link
    }
}

/// The handle of every simulated filesystem's root directory.
pub(crate) fn root() -> FileHandleBuf {
    let handle = HandleKey::new(&SECRET).seal(Target { filesystem: public_id(IDENTITY), file: ROOT_ID });
    FileHandle::new(&handle).expect("a handle has at most 64 bytes").into()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.disk.unwatch();
        self.machine.power_off();
        for link in self.links.take() {
            link.abandon();
        }
    }
}

fn options(setup: Setup) -> Options {
    let root = RootDirectory { mode: 0o777, uid: 0, gid: 0, now: Time { secs: 1_700_000_000, nanos: 0 } };
    Options {
        capacity_bytes: setup.segments * SEGMENT_BYTES,
        segment_bytes: SEGMENT_BYTES,
        reserve_segments: 2 + u32::from(setup.cores),
        reserve_bytes: 0,
        unwritten_bytes_max: 1 << 20,
        inodes_max: 4096,
        ..Options::new(setup.cores, root)
    }
}

fn ledger_options(options: &Options, power: &Power) -> LedgerOptions {
    LedgerOptions {
        root: options.root,
        capacity_bytes: options.capacity_bytes,
        segment_bytes: options.segment_bytes,
        reserve_segments: options.reserve_segments,
        reserve_bytes: options.reserve_bytes,
        reply_slots: REPLY_SLOTS,
        journal_bytes: JOURNAL_BYTES,
        recent_bytes_max: RECENT_BYTES,
        witness: Some(power.witness()),
        limits: env::Limits { map_bytes: 16 << 20, readers_max: 16 },
        ..LedgerOptions::new(IDENTITY, options.root.now)
    }
}

fn cores(
    setup: Setup,
    machine: &SimMachine,
    disk: &SimDisk,
    filesystem: FilesystemId,
    seed: impl Fn(u16) -> Seed,
) -> Vec<Rc<Core>> {
    let mailbox = || Arc::new(Mailbox::new(LETTERS_MAX).expect("a descriptor for the bell"));
    let mailboxes: Arc<[Arc<Mailbox<Letter>>]> = (0..setup.cores).map(|_| mailbox()).collect();
    let export = Export { path: SHARE.parse().expect("a path"), filesystem, rules: setup.policy.exported() };
    let exports = Arc::new(ExportsCell::new(Exports::new(vec![export]).expect("one share")));
    let (directory, mounts) = (Directory::new(), Arc::new(MountList::default()));
    let mut cores = Vec::new();
    for index in 0..setup.cores {
        let plan = Plan {
            sleep_limit: None,
            index,
            processor: 0,
            mailboxes: mailboxes.clone(),
            limits: Limits { core_bytes_max: 8 << 20, connection_bytes_max: 1 << 20, ..Limits::default() },
            exports: exports.clone(),
            mounts: mounts.clone(),
            handles: HandleKey::new(&SECRET),
            seeds: vec![seed(index)],
            directory: directory.clone(),
            arena: Arena::new(cache::table::BUDGET_BYTES_MIN),
            drain: Duration::from_secs(1),
        };
        let core = build(plan, Rc::new(machine.clone()), |_| disk.disk());
        machine.spawn(Box::pin(listen(core.clone(), mailboxes[usize::from(index)].clone())));
        cores.push(core);
    }
    cores
}

fn tell(watcher: &RefCell<Option<Watcher>>, moment: Moment) {
    let watcher = watcher.borrow().clone();
    if let Some(watcher) = watcher {
        watcher(moment);
    }
}

/// A core looks into its mailbox now and then.
async fn listen(core: Rc<Core>, mailbox: Arc<Mailbox<Letter>>) {
    let mut pause = PAUSE_MIN;
    loop {
        let is_quiet = mailbox.is_quiet();
        if core.look(&mailbox).is_break() {
            return;
        }
        pause = if is_quiet { (pause * 2).min(PAUSE_MAX) } else { PAUSE_MIN };
        core.world.sleep(pause).await;
    }
}

/// The threads that take page faults of the ledger.
async fn touch(world: SimWorld, shared: Arc<Shared>, store: Store) {
    let (mut reader, mut pause) = (Reader::new(&store, shared.clone()), PAUSE_MIN);
    loop {
        let worked = shared.touches.serve_one(&mut reader);
        pause = if worked { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
        world.sleep(pause).await;
    }
}

/// The ledger's thread.
async fn pump(world: SimWorld, hub: Arc<Hub>, mut ledger: Ledger, watcher: Rc<RefCell<Option<Watcher>>>) {
    let (mut turn, mut pause) = (0, PAUSE_MIN);
    let mut worked_last = world.monotonic();
    loop {
        turn += 1;
        let worked = hub.pump(&mut ledger, turn);
        if worked {
            worked_last = world.monotonic();
        } else if world.monotonic() - worked_last >= SEAL_PAUSE {
            // As with a checkpoint.
            ledger.seal().ok();
        }
        if turn % CHECKPOINT_TURNS == 0 {
            // A failure is for ever: whoever asks next is told.
            ledger.checkpoint().ok();
        }
        if worked {
            tell(&watcher, Moment::Commit);
        }
        pause = if worked { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
        world.sleep(pause).await;
    }
}

/// A temporary folder, in memory where there is such a place.
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let shm = Path::new("/dev/shm");
        let base = if shm.is_dir() { shm.to_path_buf() } else { std::env::temp_dir() };
        loop {
            let path = base.join(Folder::name(NEXT.fetch_add(1, Ordering::Relaxed)));
            match std::fs::create_dir(&path) {
                Ok(()) => return Folder { path },
                // One that was killed has left it, and had the number of this process.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("a temporary folder: {error}"),
            }
        }
    }

    fn name(number: u64) -> String {
        format!("basalt-sim-{}-{number}", std::process::id())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind lies in a temporary place.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// The path of the share.
pub(crate) const SHARE: &str = "/share";
const SEGMENT_BYTES: u64 = cache::log::SEGMENT_BYTES_MIN;
const LETTERS_MAX: usize = 256;
const REPLY_SLOTS: u32 = 256;
const JOURNAL_BYTES: u64 = 64 << 10;
/// So few that the ledger waits for checkpoints now and then.
const RECENT_BYTES: u64 = 64 << 10;
/// Turns of the ledger between two steps of its checkpoints, at most.
const CHECKPOINT_TURNS: usize = 8;
const IDENTITY: u64 = 0x00ba_5a17_00ba_5a17;
const SECRET: [u8; 16] = *b"a simulated pool";
const PAUSE_MIN: Duration = Duration::from_micros(20);
const PAUSE_MAX: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_left_behind_is_not_taken() {
        let first = Folder::new();
        let number: u64 = first.path.to_str().unwrap().rsplit('-').next().unwrap().parse().unwrap();
        let left: Vec<_> = (1..4).map(|step| first.path.with_file_name(Folder::name(number + step))).collect();
        // Another test may have taken one of them meanwhile: then it is not left behind.
        let left: Vec<_> = left.iter().filter(|path| std::fs::create_dir(path).is_ok()).collect();
        let second = Folder::new();
        assert!(!left.contains(&&second.path));
        left.iter().for_each(|path| std::fs::remove_dir(path).unwrap());
    }
}
