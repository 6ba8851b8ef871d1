//! All short sequences of operations over a small namespace: a file `a`, a directory `d`, and a name `b` that is
//! free; with a crash at every moment.
//!
//! Callers: the tests (all of one operation, a sample of two), `cargo xtask sim --sequences`.

use super::client::{Client, Site, boot};
use super::crash::{OBSERVER, Reaper};
use super::history::Tally;
use super::judge::{Judge, Rules};
use super::network::Weather;
use super::op::{Op, Text, User};
use super::payload;
use super::policy::Policy;
use super::server::{Crash, Image, Setup, root};
use super::walk::walk;
use crate::ledger::touch::Room;
use cache::sim::{Rng, SimWorld};
use cache::world::World;
use std::time::Duration;
use wire::nfs3::*;

/// Sequences of `length` operations.
pub fn sequences(length: u32) -> u64 {
    (VARIANTS as u64).pow(length)
}

/// Runs the sequence with this number, of all of `length` operations. Panics where something is wrong.
pub fn sequence(length: u32, number: u64) -> Tally {
    BASE.with(|base| base.run(length, number))
}

thread_local! {
    /// Made once for each thread.
    static BASE: Base = Base::new();
}

/// What every sequence begins with.
struct Base {
    image: Image,
    judge: Judge,
    clock: Duration,
    a: FileHandleBuf,
    d: FileHandleBuf,
}

const SETUP: Setup = Setup { cores: 1, segments: 64, room: Room::Enough, policy: Policy::PLAIN };
const SUPERUSER: User = User { uid: 0, gid: 0 };

impl Base {
    fn new() -> Base {
        let world = SimWorld::new(0xba5e);
        let image = Image::blank(&world);
        let judge = Judge::new(root(), Rules::default(), SETUP.policy);
        let site = Site::new(world.clone(), judge, "the base of all sequences".to_string());
        let (a, d) = site.run(async {
            boot(&site, image.clone(), SETUP, None).await;
            let mut client = Client::new(&site, OBSERVER, SUPERUSER, Weather::FAIR);
            let sattr = Sattr3 { mode: Some(0o644), ..Sattr3::default() };
            let a = client.ask(Op::Create { dir: root(), name: "a".into(), how: Createhow3::Guarded(sattr) }).await;
            let sattr = Sattr3 { mode: Some(0o755), ..Sattr3::default() };
            let d = client.ask(Op::Mkdir { dir: root(), name: "d".into(), sattr }).await;
            let (a, d) = (a.handle.expect("a new file"), d.handle.expect("a new directory"));
            let data = payload::make(a[super::INO_BYTE], 1, 0, 600);
            client.ask(Op::Write { file: a, offset: 0, data, stable: StableHow::FileSync }).await;
            // Folded, and nothing left to replay.
            world.sleep(Duration::from_secs(3)).await;
            walk(&mut client, root()).await;
            (a, d)
        });
        let after = image.after(Crash::Power, &world, 1);
        drop(site.server.take());
        let mut judge = site.judge.borrow().clone();
        judge.crashed("Power", world.now());
        Base { image: after, judge, clock: world.monotonic(), a, d }
    }

    fn run(&self, length: u32, number: u64) -> Tally {
        let seed = number * 8 + u64::from(length);
        let world = SimWorld::at(seed, self.clock + Duration::from_millis(1));
        let command = format!("cargo xtask sim --sequences {length} --from {number} --count 1");
        let site = Site::new(world.clone(), self.judge.clone(), format!("sequence {number} of {length} ({command})"));
        let reaper = Reaper::new(SETUP, seed, 1);
        let image = self.image.after(Crash::Kill, &world, seed);
        let mut rng = Rng::new(seed);
        site.run(async {
            boot(&site, image.clone(), SETUP, None).await;
            let mut client = Client::new(&site, 1, SUPERUSER, Weather::FAIR);
            let watcher = reaper.watcher(&site);
            site.server.borrow().as_ref().expect("it was booted").watch(&watcher);
            site.watcher.replace(Some(watcher));
            let (mut left, mut b) = (number, None);
            for step in 0..length {
                let variant = (left % VARIANTS as u64) as usize;
                left /= VARIANTS as u64;
                let reply = client.ask(self.variant(variant, step + 2, b, &mut rng)).await;
                b = reply.handle.filter(|handle| *handle != self.a && *handle != self.d).or(b);
            }
            site.watcher.take();
        });
        drop(site.server.take());
        let digest = site.judge.borrow().digest();
        Tally { histories: 1, calls: u64::from(length), points: reaper.points(), digest }
    }

    /// The operation with this number. `b` is the handle of what was made last.
    fn variant(&self, variant: usize, version: u32, b: Option<FileHandleBuf>, rng: &mut Rng) -> Op {
        let (dir, a, d) = (root(), self.a, self.d);
        let name = |name: &str| Text::from(name);
        let sattr = Sattr3 { mode: Some(0o640), ..Sattr3::default() };
        let empty = Sattr3 { size: Some(0), ..sattr };
        let write = |file: FileHandleBuf, offset, bytes, stable| {
            let data = payload::make(file[super::INO_BYTE], version, offset, bytes);
            Op::Write { file, offset, data, stable }
        };
        let create = |dir, text: &str, how| Op::Create { dir, name: name(text), how };
        let set = |object, sattr| Op::Setattr { object, sattr, guard: None };
        let size = |size| Sattr3 { size: Some(size), ..Sattr3::default() };
        let rename = |from, from_name: &str, to, to_name: &str| Op::Rename {
            from,
            from_name: name(from_name),
            to,
            to_name: name(to_name),
        };
        match variant {
            0 => create(dir, "b", Createhow3::Guarded(sattr)),
            1 => create(dir, "b", Createhow3::Unchecked(sattr)),
            2 => create(dir, "a", Createhow3::Unchecked(sattr)),
            3 => create(dir, "a", Createhow3::Unchecked(empty)),
            4 => create(dir, "a", Createhow3::Guarded(sattr)),
            5 => create(dir, "b", Createhow3::Exclusive(Createverf3([1; 8]))),
            6 => create(dir, "b", Createhow3::Exclusive(Createverf3([2; 8]))),
            7 => create(d, "b", Createhow3::Guarded(sattr)),
            8 => Op::Mkdir { dir, name: name("b"), sattr },
            9 => Op::Mkdir { dir: d, name: name("b"), sattr },
            10 => Op::Symlink { dir, name: name("b"), target: name("a") },
            11 => Op::Mknod { dir, name: name("b"), what: Mknoddata3::Fifo(sattr) },
            12 => Op::Remove { dir, name: name("a") },
            13 => Op::Remove { dir, name: name("b") },
            14 => Op::Remove { dir: d, name: name("a") },
            15 => Op::Rmdir { dir, name: name("d") },
            16 => Op::Rmdir { dir, name: name("b") },
            17 => rename(dir, "a", dir, "b"),
            18 => rename(dir, "b", dir, "a"),
            19 => rename(dir, "a", d, "a"),
            20 => rename(d, "a", dir, "a"),
            21 => rename(dir, "d", dir, "b"),
            22 => rename(dir, "b", dir, "d"),
            23 => Op::Link { file: a, dir, name: name("b") },
            24 => Op::Link { file: a, dir: d, name: name("a") },
            25 => write(a, 0, 100, StableHow::Unstable),
            26 => write(a, 300, 5000, StableHow::Unstable),
            27 => write(a, 0, 4096, StableHow::FileSync),
            28 => write(a, 9000, 10, StableHow::DataSync),
            29 => write(b.unwrap_or(a), 4000, 200, StableHow::FileSync),
            30 => Op::Commit { file: a },
            31 => set(a, size(0)),
            32 => set(a, size(10_000)),
            33 => set(b.unwrap_or(a), size(100)),
            34 => set(a, Sattr3 { mode: Some(0o4711), ..Sattr3::default() }),
            35 => set(
                a,
                Sattr3 { mtime: SetTime::SetToClientTime(Nfstime3 { seconds: 7, nseconds: 8 }), ..Sattr3::default() },
            ),
            36 => set(d, Sattr3 { mode: Some(0o700), atime: SetTime::SetToServerTime, ..Sattr3::default() }),
            37 => Op::Setattr { object: a, sattr, guard: Some(Nfstime3 { seconds: rng.below(9) as u32, nseconds: 1 }) },
            38 => Op::Readdirplus { dir, cookie: 0, count: 4096 },
            _ => Op::Read { file: a, offset: 0, count: 20_000 },
        }
    }
}

const VARIANTS: usize = 40;
