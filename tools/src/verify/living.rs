//! Tests of verify on filesystems that the server's own code wrote, on real files: whatever clients
//! do, and wherever it is cut off, verify must have nothing to say, and the next start must agree.

use super::report::Findings;
use super::{Depth, check};
use crate::fixture::{Fixture, NOW};
use crate::pool::Pool;
use cache::disk::{Ring, RingDisk};
use cache::log::SEGMENT_BYTES_MIN;
use cache::table::{BUDGET_BYTES_MIN, BlockCache, Directory};
use cache::world::World;
use shard::cred::Cred;
use shard::fs::ask::Asker;
use shard::fs::filesystem::{Filesystem, Options};
use shard::fs::peers::SingleCore;
use shard::fs::write::Stability;
use shard::fs::{Fs, Means, commit, create, link, mkdir, remove, rename, rmdir, setattr, symlink, write};
use shard::inode::{FileId, Kind, ROOT};
use shard::ledger::command::{CreateHow, SetAttr};
use shard::ledger::store::RootDirectory;
use shard::net::world::MonoioWorld;
use shard::status::Status;
use std::rc::Rc;
use std::time::Duration;

/// How a round ends.
#[derive(Clone, Copy)]
enum End {
    /// In order: what clients did is folded.
    Stop,
    /// With records that only the log has.
    CutOff,
}

/// Small numbers out of a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn options() -> Options {
    let root = RootDirectory { mode: 0o777, uid: 0, gid: 0, now: NOW };
    Options {
        capacity_bytes: 24 * SEGMENT_BYTES_MIN,
        segment_bytes: SEGMENT_BYTES_MIN,
        reserve_bytes: 0,
        unwritten_bytes_max: 4 << 20,
        inodes_max: 256,
        ..Options::new(1, root)
    }
}

/// Opens the filesystem, lets a client do `steps` things, and ends.
fn round(fixture: &Fixture, dice: &mut Dice, steps: u32, end: End) {
    let filesystem = Filesystem::open(&fixture.filesystem(), 0, options()).unwrap();
    let seed = filesystem.seed(0);
    let log = fixture.log();
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().enable_timer().build().unwrap();
    runtime.block_on(async {
        let world: Rc<dyn World> = Rc::new(MonoioWorld::new().unwrap());
        let means = Means {
            world: Rc::clone(&world),
            disk: Rc::new(RingDisk::new(Ring::new(64).unwrap(), &log)),
            cache: BlockCache::new(Directory::new(), Rc::clone(&world), BUDGET_BYTES_MIN),
            peers: Rc::new(SingleCore),
            doorbell: Box::new(|| {}),
        };
        let fs = Fs::start(seed, means);
        let bell = Rc::downgrade(&fs);
        monoio::spawn(async move {
            while let Some(fs) = bell.upgrade() {
                fs.port.deliver();
                drop(fs);
                monoio::time::sleep(Duration::from_micros(200)).await;
            }
        });
        for _ in 0..steps {
            step(&fs, dice).await;
        }
        match end {
            End::Stop => fs.stop().await.unwrap(),
            End::CutOff => last_write(&fs).await,
        }
    });
    drop(runtime);
    filesystem.close();
}

/// Leaves a durable record that no checkpoint has had time to fold.
async fn last_write(fs: &Rc<Fs>) {
    let cred = Cred::root();
    let root = FileId { ino: ROOT, generation: 1 };
    let attr = SetAttr { mode: Some(0o644), ..SetAttr::default() };
    let asker = Asker { cred, replay: None };
    let made = create::create(fs, &asker, root, b"last", CreateHow::Unchecked, attr).wait().await;
    let id = made.object.expect("a root may make a file").id();
    accept(write::write(fs, &cred, id, 0, b"last words", Stability::FileSync).wait().await.map(|_| ()));
}

/// One thing that a client does. Names collide all the time: many things are refused.
async fn step(fs: &Rc<Fs>, dice: &mut Dice) {
    let cred = Cred::root();
    let asker = Asker { cred, replay: None };
    let (dir, other) = (directory(fs, dice).await, directory(fs, dice).await);
    let (name, second) = (format!("n{}", dice.below(12)), format!("n{}", dice.below(12)));
    let (name, second) = (name.as_bytes(), second.as_bytes());
    let found = shard::fs::lookup::lookup(fs, &cred, dir, name);
    let attr = SetAttr { mode: Some(0o644), ..SetAttr::default() };
    match (dice.below(20), found) {
        (0..4, _) => drop(create::create(fs, &asker, dir, name, CreateHow::Unchecked, attr).wait().await),
        (4, _) => drop(mkdir::mkdir(fs, &asker, dir, name, attr).wait().await),
        (5, _) => drop(symlink::symlink(fs, &asker, dir, name, attr, second).wait().await),
        (6, _) => drop(remove::remove(fs, &asker, dir, name).wait().await),
        (7, _) => drop(rmdir::rmdir(fs, &asker, dir, name).wait().await),
        (8..10, _) => drop(rename::rename(fs, &asker, (dir, name), (other, second)).wait().await),
        (10, Ok(file)) => drop(link::link(fs, &asker, file.id(), other, second).wait().await),
        (11, Ok(file)) if file.kind == Kind::File => {
            let size = dice.below(300_000);
            let cut = setattr::truncate(fs, &cred, file.id(), size, setattr::Guard::None).wait().await;
            accept(cut.map(|_| ()));
        }
        (12, Ok(file)) if file.kind == Kind::File => {
            accept(commit::commit(fs, &cred, file.id()).wait().await.map(|_| ()));
        }
        (_, Ok(file)) if file.kind == Kind::File => {
            let payload = vec![dice.below(256) as u8; 1 + dice.below(150_000) as usize];
            let stability = if dice.below(8) == 0 { Stability::FileSync } else { Stability::Unstable };
            let offset = dice.below(250_000);
            let done = write::write(fs, &cred, file.id(), offset, &payload, stability).wait().await;
            accept(done.map(|_| ()));
        }
        _ => {}
    }
}

/// A full disk is an answer like others.
fn accept(done: Result<(), Status>) {
    assert!(matches!(done, Ok(()) | Err(Status::NoSpace | Status::Stale)), "{done:?}");
}

/// The root, or a directory somewhere below.
async fn directory(fs: &Rc<Fs>, dice: &mut Dice) -> FileId {
    let mut at = FileId { ino: ROOT, generation: 1 };
    while dice.below(3) == 0 {
        let name = format!("n{}", dice.below(12));
        match shard::fs::lookup::lookup(fs, &Cred::root(), at, name.as_bytes()) {
            Ok(inode) if inode.kind == Kind::Directory => at = inode.id(),
            _ => break,
        }
    }
    at
}

fn verified(fixture: &Fixture, seed: u64) -> Findings {
    let pool = Pool::open(&fixture.pool()).unwrap();
    let findings = check(&pool.filesystems().unwrap()[0], Depth::Data, true).unwrap();
    assert_eq!(findings.problems, [], "seed {seed}");
    findings
}

#[test]
fn a_filesystem_that_clients_used_is_clean_however_it_ended() {
    for seed in [1, 2] {
        let mut fixture = Fixture::new_share();
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let mut pending = 0;
        for end in [End::CutOff, End::Stop, End::CutOff, End::CutOff, End::Stop] {
            round(&fixture, &mut dice, 400, end);
            fixture = fixture.copied();
            pending += verified(&fixture, seed).totals.pending_records;
        }
        let totals = verified(&fixture, seed).totals;
        assert!(pending > 0, "seed {seed}: the log was never ahead of the ledger");
        assert!(totals.files > 0 && totals.directories > 1 && totals.live_bytes > 0, "seed {seed}: {totals:?}");
    }
}
