//! Two real cores with real threads, rings and a real ledger thread: what one core acknowledged the
//! other one reads, while everything is folded and moved all the time.

use super::rig::{SEGMENT_BYTES, create, find, get, options, put, sync};
use crate::fs::filesystem::Filesystem;
use crate::fs::peers::{LogAsk, PeerLogs};
use crate::fs::write::Stability;
use crate::fs::{Fs, Means, checkpoint};
use crate::inode::FileId;
use crate::net::world::MonoioWorld;
use crate::status::Status;
use cache::disk::{Ring, RingDisk};
use cache::sim::Rng;
use cache::table::{BUDGET_BYTES_MIN, BlockCache, Directory};
use cache::world::{LocalFuture, World};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

/// What is written at a time is a number of cells; odd, so that they lie across blocks.
const CELL_BYTES: usize = 1000;
/// Cells that one core writes, in a row.
const GROUP_CELLS: u64 = 40;
const GROUPS: u64 = 24;
const FILES: u64 = 3;
const ROUNDS: u64 = 1500;
const PAUSE: Duration = Duration::from_micros(100);

/// Versions of every cell of every file.
struct Truth {
    started: Vec<AtomicU64>,
    acknowledged: Vec<AtomicU64>,
}

impl Truth {
    fn index(file: u64, cell: u64) -> usize {
        (file * GROUPS * GROUP_CELLS + cell) as usize
    }
}

/// What the other core is asked for, and what came of it (0: nothing yet).
type Wanted = (LogAsk, Arc<AtomicU8>);

struct Post {
    world: Rc<dyn World>,
    other: Sender<Wanted>,
}

impl PeerLogs for Post {
    fn ask(&self, _filesystem: u32, _core: u16, ask: LogAsk) -> LocalFuture<Result<(), Status>> {
        let outcome = Arc::new(AtomicU8::new(0));
        self.other.send((ask, outcome.clone())).unwrap();
        let world = self.world.clone();
        Box::pin(async move {
            loop {
                match outcome.load(Ordering::Acquire) {
                    0 => world.sleep(PAUSE).await,
                    1 => return Ok(()),
                    _ => return Err(Status::Io),
                }
            }
        })
    }
}

#[test]
fn what_one_core_acknowledged_the_other_one_reads() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(2, 24 * SEGMENT_BYTES);
    let cells = (FILES * GROUPS * GROUP_CELLS) as usize;
    let versions = || (0..cells).map(|_| AtomicU64::new(0)).collect();
    let truth = Arc::new(Truth { started: versions(), acknowledged: versions() });
    let files = run(&folder, options.clone(), &truth, ROUNDS, None);
    // Started again, everything is there; nothing is written this time.
    run(&folder, options, &truth, 0, Some(files));
}

fn run(
    folder: &tempfile::TempDir,
    options: crate::fs::Options,
    truth: &Arc<Truth>,
    rounds: u64,
    files: Option<Vec<FileId>>,
) -> Vec<FileId> {
    let filesystem = Filesystem::open(folder.path(), 0, options).unwrap();
    assert_eq!(filesystem.recovered().files, 0, "it was stopped in order");
    let directory = Directory::new();
    let (to_first, first) = channel();
    let (to_second, second) = channel();
    let (tell, told) = channel();
    // Held by each core until it has stopped.
    let busy = Arc::new(());
    let files = std::thread::scope(|scope| {
        let mut cores = Vec::new();
        for (core, other, mine) in [(0, to_second, first), (1, to_first, second)] {
            let (seed, directory, truth) = (filesystem.seed(core), directory.clone(), truth.clone());
            let (files, tell, busy) = (files.clone(), tell.clone(), busy.clone());
            let path = filesystem.shared().log_directory();
            cores.push(scope.spawn(move || {
                let mut runtime =
                    monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().enable_timer().build().unwrap();
                runtime.block_on(async {
                    let world: Rc<dyn World> = Rc::new(MonoioWorld::new().unwrap());
                    let means = Means {
                        world: world.clone(),
                        disk: Rc::new(RingDisk::new(Ring::new(64).unwrap(), &path)),
                        cache: BlockCache::new(directory, world.clone(), BUDGET_BYTES_MIN),
                        peers: Rc::new(Post { world: world.clone(), other }),
                        doorbell: Box::new(|| {}),
                    };
                    core_life(Fs::start(seed, means), mine, files, Ends { tell, busy }, &truth, rounds).await
                })
            }));
        }
        drop((tell, busy));
        // Both work to the end before either stops answering the other.
        let gates: Vec<Sender<()>> = (0..2).map(|_| told.recv().unwrap()).collect();
        gates.iter().for_each(|gate| gate.send(()).unwrap());
        cores.into_iter().map(|core| core.join().unwrap()).next().unwrap()
    });
    filesystem.close();
    files
}

/// How a core says that it has done all its work, and that it has stopped.
struct Ends {
    tell: Sender<Sender<()>>,
    busy: Arc<()>,
}

async fn core_life(
    fs: Rc<Fs>,
    mine: Receiver<Wanted>,
    files: Option<Vec<FileId>>,
    ends: Ends,
    truth: &Truth,
    rounds: u64,
) -> Vec<FileId> {
    let running = Rc::new(Cell::new(true));
    monoio::spawn(serve(fs.clone(), mine, running.clone()));
    monoio::spawn(fold(fs.clone(), running.clone()));
    let files = match files {
        Some(files) => files,
        None => made(&fs).await,
    };
    let mut rng = Rng::new(u64::from(fs.core) + 77);
    for round in 0..rounds {
        change(&fs, &files, truth, &mut rng, round + 1).await;
        look(&fs, &files, truth, rng.below(FILES), rng.below(GROUPS * GROUP_CELLS - 100), 100).await;
    }
    for file in 0..FILES {
        look(&fs, &files, truth, file, 0, GROUPS * GROUP_CELLS).await;
    }
    let (gate, open) = channel();
    ends.tell.send(gate).unwrap();
    while open.try_recv() == Err(TryRecvError::Empty) {
        monoio::time::sleep(PAUSE).await;
    }
    fs.stop().await.unwrap();
    // The other one may still ask for a flush while it stops.
    let busy = Arc::downgrade(&ends.busy);
    drop(ends);
    while busy.strong_count() > 0 {
        monoio::time::sleep(PAUSE).await;
    }
    running.set(false);
    monoio::time::sleep(Duration::from_millis(20)).await;
    files
}

/// The first core makes the files; the second one finds them by their numbers.
async fn made(fs: &Rc<Fs>) -> Vec<FileId> {
    let mut files = Vec::new();
    for file in 0..FILES {
        let name = format!("file {file}");
        let id = match create(fs, &name).await {
            Ok(id) => id,
            Err(Status::Exist) => find(fs, &name).await.unwrap(),
            Err(status) => panic!("{status:?}"),
        };
        files.push(id);
    }
    files
}

/// Writes some cells of one of this core's groups.
async fn change(fs: &Rc<Fs>, files: &[FileId], truth: &Truth, rng: &mut Rng, version: u64) {
    let file = rng.below(FILES);
    let group = rng.below(GROUPS / 2) * 2 + u64::from(fs.core);
    let count = 1 + rng.below(GROUP_CELLS);
    let first = group * GROUP_CELLS + rng.below(GROUP_CELLS - count + 1);
    let cells = first..first + count;
    let mut bytes = Vec::new();
    for cell in cells.clone() {
        truth.started[Truth::index(file, cell)].store(version, Ordering::Release);
        bytes.extend(version.to_le_bytes().iter().cycle().take(CELL_BYTES));
    }
    let stability = if rng.one_in(5) { Stability::FileSync } else { Stability::Unstable };
    let id = files[file as usize];
    put(fs, id, first * CELL_BYTES as u64, &bytes, stability).await.unwrap();
    for cell in cells {
        truth.acknowledged[Truth::index(file, cell)].store(version, Ordering::Release);
    }
    if rng.one_in(20) {
        sync(fs, id).await.unwrap();
    }
}

/// Reads cells: each no older than what was acknowledged before. One may be of two versions: a write
/// that goes on in another segment is two records, and a reader may come in between.
async fn look(fs: &Rc<Fs>, files: &[FileId], truth: &Truth, file: u64, first: u64, count: u64) {
    let cells = first..first + count;
    let load = |versions: &[AtomicU64]| -> Vec<u64> {
        cells.clone().map(|cell| versions[Truth::index(file, cell)].load(Ordering::Acquire)).collect()
    };
    let oldest = load(&truth.acknowledged);
    let found = get(fs, files[file as usize], first * CELL_BYTES as u64, count as usize * CELL_BYTES).await.unwrap();
    let newest = load(&truth.started);
    for (index, (oldest, newest)) in oldest.into_iter().zip(newest).enumerate() {
        let cell = found.get(index * CELL_BYTES..(index + 1) * CELL_BYTES);
        let Some(cell) = cell else {
            assert_eq!(oldest, 0, "cell {} of file {file} is behind the end", first + index as u64);
            continue;
        };
        for word in cell.chunks_exact(8) {
            let version = u64::from_le_bytes(word.try_into().unwrap());
            let place = first + index as u64;
            let seen = format!("cell {place} of file {file}, core {}: {oldest}..={newest}", fs.core);
            assert!((oldest..=newest).contains(&version), "version {version} of {seen}");
        }
    }
}

/// What the core's loop does.
async fn serve(fs: Rc<Fs>, mine: Receiver<Wanted>, running: Rc<Cell<bool>>) {
    while running.get() {
        fs.port.deliver();
        while let Ok((ask, outcome)) = mine.try_recv() {
            let served = fs.serve_peer(ask);
            monoio::spawn(async move {
                let code = if served.await.is_ok() { 1 } else { 2 };
                outcome.store(code, Ordering::Release);
            });
        }
        monoio::time::sleep(PAUSE).await;
    }
}

/// Folds all the time.
async fn fold(fs: Rc<Fs>, running: Rc<Cell<bool>>) {
    while running.get() {
        checkpoint::fold_all(&fs).await.unwrap();
        monoio::time::sleep(Duration::from_millis(1)).await;
    }
}
