//! Random histories: clients that work on the same names at the same time over a bad network, a server that crashes
//! and starts again, and a crash point at every moment.

use super::client::{Client, Site, boot};
use super::crash::{OBSERVER, Reaper};
use super::driven::fail;
use super::judge::{Judge, Rules};
use super::network::Weather;
use super::op::{Op, Reply, Text, User};
use super::payload;
use super::policy::Policy;
use super::server::{Crash, Image, Setup, Watcher, root};
use super::walk::walk;
use crate::ledger::touch::Room;
use crate::net::gate::Gate;
use cache::sim::{Rng, SimDisk, SimWorld};
use cache::world::World;
use futures_util::future::{Either, select};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use wire::nfs3::*;

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Histories.
    pub histories: u64,
    /// Calls of clients, those of observers left out.
    pub calls: u64,
    /// Crash points judged.
    pub points: u64,
    /// Stands for everything that happened: the same for the same seed.
    pub digest: u64,
}

/// Runs the history of a seed. Panics where something is wrong.
pub fn run(seed: u64) -> Tally {
    replay(seed).0
}

/// The same, and all that happened in it.
pub fn replay(seed: u64) -> (Tally, String) {
    replay_over(seed, |_, _| {})
}

/// The same with rules and over a disk that `change` has changed.
pub(super) fn replay_over(seed: u64, change: impl FnOnce(&mut Rules, &SimDisk)) -> (Tally, String) {
    let mut rng = Rng::new(seed);
    let mut plan = Plan::of(&mut rng, Policy::of(seed));
    let world = SimWorld::new(rng.bits());
    let image = Image::blank(&world);
    change(&mut plan.rules, &image.disk);
    let reaper = Reaper::new(plan.setup, seed, plan.points_one_in);
    let title = format!("history {seed} (cargo xtask sim --seed {seed})");
    let site = Site::new(world, Judge::new(root(), plan.rules, plan.setup.policy), title);
    let tally = site.run(play(site.clone(), image, plan, reaper, rng));
    let history = site.judge.borrow().history();
    (tally, history)
}

/// What kind of history a seed makes.
#[derive(Clone, Copy, Debug)]
struct Plan {
    setup: Setup,
    clients: u8,
    calls: u32,
    weather: Weather,
    /// Crashes that the history itself lives through.
    crashes: u32,
    points_one_in: u64,
    rules: Rules,
    /// Most time between two calls of a client, once in a while: what is done once a second comes in between.
    pause_us_max: u64,
}

impl Plan {
    fn of(rng: &mut Rng, policy: Policy) -> Plan {
        let clients = 1 + rng.below(3) as u8;
        let is_fair = rng.one_in(3);
        let is_small = rng.one_in(5);
        let pause_us_max = if rng.one_in(2) { 1_500_000 } else { 1 };
        let mut rules = match rng.below(6) {
            0 => Rules { disk_fails: true, ..Rules::default() },
            1 => Rules { disk_fills: true, ..Rules::default() },
            _ => Rules::default(),
        };
        rules.disk_fills |= is_small;
        // With more clients the judge would have too many cases.
        rules.comes_late = clients == 1;
        Plan {
            rules,
            pause_us_max,
            setup: Setup {
                cores: 1 + rng.below(2) as u16,
                segments: if is_small { 5 + rng.below(6) } else { 64 },
                room: if rng.one_in(3) { Room::Short } else { Room::Enough },
                policy,
            },
            clients,
            calls: 4 + rng.below(24) as u32 / u32::from(clients),
            weather: if is_fair {
                Weather { is_choppy: true, ..Weather::FAIR }
            } else {
                let late_one_in = if rules.comes_late { 4 } else { 0 };
                Weather { latency_us_max: 3_000, cut_one_in: 8 + rng.below(24), is_choppy: true, late_one_in }
            },
            crashes: rng.below(3) as u32 + 2 * u32::from(rules.disk_fails || rules.disk_fills),
            points_one_in: 1 + rng.below(4),
        }
    }

    /// Not everyone may do everything: the clients mount the share first.
    fn has_policy(&self) -> bool {
        self.setup.policy != Policy::PLAIN
    }
}

/// What clients know of the tree, all together.
pub(crate) struct Board {
    root: FileHandleBuf,
    /// Changes of each file that no COMMIT has covered.
    unsettled: RefCell<BTreeMap<Vec<u8>, u32>>,
    /// There is one client only.
    is_lonely: bool,
    running: Cell<u8>,
    ended: Gate,
}

impl Board {
    pub(crate) fn new(clients: u8) -> Board {
        Board {
            root: root(),
            unsettled: RefCell::default(),
            is_lonely: clients == 1,
            running: Cell::new(clients),
            ended: Gate::default(),
        }
    }
}

async fn play(site: Rc<Site>, image: Image, plan: Plan, reaper: Rc<Reaper>, mut rng: Rng) -> Tally {
    let world = site.world.clone();
    let watcher = reaper.watcher(&site);
    boot(&site, image, plan.setup, Some(&watcher)).await;
    site.watcher.replace(Some(watcher.clone()));
    let board = Rc::new(Board::new(plan.clients));
    for number in 1..=plan.clients {
        let user = match number {
            3 => User { uid: 1000, gid: 100 },
            2 if plan.has_policy() => User { uid: 1000, gid: 0 },
            _ => User { uid: 0, gid: 0 },
        };
        let client = Client::new(&site, number, user, plan.weather);
        world.spawn(Box::pin(work(client, number, board.clone(), plan, Rng::new(rng.bits()))));
    }
    for _ in 0..plan.crashes {
        let pause = world.sleep(Duration::from_micros(rng.below(60_000 + plan.pause_us_max)));
        let ended = pin!(board.ended.until(|| board.running.get() == 0));
        match select(ended, pause).await {
            Either::Left(_) => break,
            Either::Right(_) if plan.rules.disk_fails && rng.one_in(2) => fail(&site, &mut rng),
            Either::Right(_) if plan.rules.disk_fills => fill(&site, &mut rng),
            Either::Right(_) => restart(&site, plan.setup, Some(&watcher), &mut rng).await,
        }
    }
    board.ended.until(|| board.running.get() == 0).await;
    site.watcher.take();
    if let Some(image) = site.image.take() {
        image.disk.unwatch();
    }
    let mut observer = Client::new(&site, OBSERVER, User { uid: 0, gid: 0 }, Weather::FAIR);
    walk(&mut observer, board.root).await;
    drop(site.server.take());
    let calls = u64::from(plan.clients) * u64::from(plan.calls);
    let digest = site.judge.borrow().digest();
    Tally { histories: 1, calls, points: reaper.points(), digest }
}

/// The disk is full, or has room again.
fn fill(site: &Site, rng: &mut Rng) {
    if let Some(image) = site.image.borrow().as_ref() {
        image.disk.set_capacity(if rng.one_in(3) { u64::MAX } else { 0 });
    }
}

/// The server crashes; a moment later it starts again.
pub(crate) async fn restart(site: &Rc<Site>, setup: Setup, watcher: Option<&Watcher>, rng: &mut Rng) {
    let crash = if rng.one_in(2) { Crash::Kill } else { Crash::Power };
    let image = site.image.take().expect("a server runs");
    let after = image.after(crash, &site.world, rng.bits());
    site.judge.borrow_mut().crashed(&format!("{crash:?}"), site.world.now());
    drop(site.server.take());
    site.world.sleep(Duration::from_micros(rng.below(20_000))).await;
    boot(site, after, setup, watcher).await;
}

/// What one client does.
async fn work(mut client: Client, number: u8, board: Rc<Board>, plan: Plan, mut rng: Rng) {
    let mut root = board.root;
    if plan.has_policy() {
        // Who is refused has the handle from elsewhere, and asks all the same.
        root = client.ask(Op::Mount { root, name: None }).await.handle.unwrap_or(root);
    }
    let mut known = Known::new(number, root);
    for _ in 0..plan.calls {
        if rng.one_in(6) {
            client.rest(Duration::from_micros(rng.below(plan.pause_us_max))).await;
        }
        let mounts = plan.has_policy() && rng.one_in(8);
        let op = if mounts { mount(&board, &mut rng) } else { known.choose(&board, &mut rng) };
        let reply = client.ask(op.clone()).await;
        known.learn(&board, &op, &reply);
    }
    board.running.set(board.running.get() - 1);
    board.ended.notify();
}

/// What a client knows.
pub(crate) struct Known {
    number: u8,
    objects: Vec<Seen>,
    versions: u32,
}

/// An object as a client last saw it.
struct Seen {
    handle: FileHandleBuf,
    kind: Ftype3,
    ctime: Option<Nfstime3>,
}

impl Known {
    pub(crate) fn new(number: u8, root: FileHandleBuf) -> Known {
        Known { number, objects: vec![Seen { handle: root, kind: Ftype3::Dir, ctime: None }], versions: 0 }
    }

    /// The next call.
    pub(crate) fn choose(&mut self, board: &Board, rng: &mut Rng) -> Op {
        let dir = if rng.one_in(2) { board.root } else { self.any(rng) };
        let object = if rng.one_in(8) { self.any(rng) } else { self.any_file(rng) };
        let name = name(rng);
        match rng.below(40) {
            0..=3 => Op::Create { dir, name, how: how(board, rng) },
            4..=5 => Op::Mkdir { dir, name, sattr: mode(rng) },
            6 => Op::Symlink { dir, name, target: Text::from(["to", "a/b", ""][rng.below(3) as usize]) },
            7 => Op::Mknod { dir, name, what: node(rng) },
            8..=9 => Op::Remove { dir, name },
            10 => Op::Rmdir { dir, name },
            11..=13 => {
                let to = if rng.one_in(2) { dir } else { self.any(rng) };
                Op::Rename { from: dir, from_name: name, to, to_name: self::name(rng) }
            }
            14..=15 => Op::Link { file: object, dir, name },
            16..=17 => self.attributes(object, rng),
            18 => resize(object, rng),
            19..=27 => self.write(board, object, rng),
            28 => Op::Commit { file: object },
            29..=31 => Op::Read { file: object, offset: rng.below(9000), count: rng.below(20_000) as u32 },
            32..=33 => Op::Lookup { dir, name },
            34 => Op::Readdir { dir, cookie: 0, count: 256 + rng.below(512) as u32 },
            35..=36 => Op::Readdirplus { dir, cookie: 0, count: 512 + rng.below(4096) as u32 },
            37 => Op::Access { object, mask: 0x3f },
            38 => match rng.below(5) {
                0 => Op::Null,
                1 => Op::Fsstat { object },
                2 => Op::Fsinfo { object },
                3 => Op::Pathconf { object },
                _ => Op::Readlink { object },
            },
            _ => Op::Getattr { object },
        }
    }

    fn any(&self, rng: &mut Rng) -> FileHandleBuf {
        self.objects[rng.below(self.objects.len() as u64) as usize].handle
    }

    fn any_file(&self, rng: &mut Rng) -> FileHandleBuf {
        let files: Vec<_> = self.objects.iter().filter(|known| known.kind == Ftype3::Reg).collect();
        if files.is_empty() { self.any(rng) } else { files[rng.below(files.len() as u64) as usize].handle }
    }

    fn write(&mut self, board: &Board, file: FileHandleBuf, rng: &mut Rng) -> Op {
        if board.unsettled.borrow().get(&*file).is_some_and(|changes| *changes >= UNSETTLED_MAX) {
            return Op::Commit { file };
        }
        self.versions += 1;
        let offset = [0, 1, 500, 4096, 4000, 8192, 12_288][rng.below(7) as usize];
        let bytes = [1, 7, 100, 512, 4096, 5000, 12_288][rng.below(7) as usize];
        let stable = [StableHow::Unstable, StableHow::Unstable, StableHow::DataSync, StableHow::FileSync];
        let version = self.versions << 8 | u32::from(self.number);
        let data = payload::make(file[super::INO_BYTE], version, offset, bytes);
        Op::Write { file, offset, data, stable: stable[rng.below(4) as usize] }
    }

    fn attributes(&self, object: FileHandleBuf, rng: &mut Rng) -> Op {
        let known = self.objects.iter().find(|known| known.handle == object).and_then(|known| known.ctime);
        let guard = if rng.one_in(3) { known } else { None };
        let client = SetTime::SetToClientTime(Nfstime3 { seconds: rng.below(1 << 31) as u32, nseconds: 5 });
        let sattr = match rng.below(5) {
            0 => Sattr3 { uid: Some(rng.below(2) as u32 * 1000), ..Sattr3::default() },
            1 => Sattr3 { mtime: client, ..Sattr3::default() },
            2 => Sattr3 { atime: client, mtime: SetTime::SetToServerTime, ..Sattr3::default() },
            _ => mode(rng),
        };
        Op::Setattr { object, sattr, guard }
    }

    /// What the answer tells.
    pub(crate) fn learn(&mut self, board: &Board, op: &Op, reply: &Reply) {
        let named = reply.handle.or(op.object().copied());
        if let (Some(attr), Some(handle), None) = (&reply.object, named, reply.error) {
            self.objects.retain(|known| known.handle != handle);
            // Those of a file that a CREATE truncates are not judged where it was sent again: no guard takes them.
            let ctime = (!truncates(op)).then_some(attr.ctime);
            self.objects.push(Seen { handle, kind: attr.ftype, ctime });
        }
        let mut unsettled = board.unsettled.borrow_mut();
        match op {
            Op::Write { file, .. } | Op::Setattr { object: file, sattr: Sattr3 { size: Some(_), .. }, .. } => {
                *unsettled.entry(file.to_vec()).or_default() += 1;
            }
            Op::Commit { file } if reply.error.is_none() => drop(unsettled.remove(&**file)),
            _ => {}
        }
    }
}

/// A call of MOUNT.
fn mount(board: &Board, rng: &mut Rng) -> Op {
    let name = (!rng.one_in(3)).then(|| ["a", "b", "c", ".."][rng.below(4) as usize].into());
    match rng.below(6) {
        0 => Op::Unmount { name },
        1 => Op::Exports,
        2 => Op::Mounts,
        _ => Op::Mount { root: board.root, name },
    }
}

fn truncates(op: &Op) -> bool {
    matches!(op, Op::Create { how: Createhow3::Unchecked(Sattr3 { size: Some(_), .. }), .. })
}

fn name(rng: &mut Rng) -> Text {
    let long = "n".repeat(256);
    let name = match rng.below(24) {
        0..=9 => "a",
        10..=17 => "b",
        18..=20 => "c",
        21 => [".", "..", "x/y", ""][rng.below(4) as usize],
        22 if rng.one_in(4) => &long,
        _ => "d",
    };
    Text::from(name)
}

fn mode(rng: &mut Rng) -> Sattr3 {
    let mode = [0o755, 0o644, 0o777, 0o700, 0o2775, 0o1777, 0o4755][rng.below(7) as usize];
    Sattr3 { mode: Some(mode), ..Sattr3::default() }
}

fn how(board: &Board, rng: &mut Rng) -> Createhow3 {
    match rng.below(5) {
        0..=1 => Createhow3::Guarded(mode(rng)),
        2 => Createhow3::Unchecked(mode(rng)),
        // It finds its file and then truncates it: others may come in between.
        3 if board.is_lonely => Createhow3::Unchecked(Sattr3 { size: Some(0), ..mode(rng) }),
        _ => Createhow3::Exclusive(Createverf3([rng.below(2) as u8; 8])),
    }
}

fn node(rng: &mut Rng) -> Mknoddata3 {
    let spec = Specdata3 { specdata1: 8, specdata2: rng.below(4) as u32 };
    match rng.below(4) {
        0 => Mknoddata3::Fifo(mode(rng)),
        1 => Mknoddata3::Sock(mode(rng)),
        2 => Mknoddata3::Chr(Devicedata3 { dev_attributes: mode(rng), spec }),
        _ => Mknoddata3::Reg,
    }
}

fn resize(object: FileHandleBuf, rng: &mut Rng) -> Op {
    let size = [0, 1, 600, 4096, 10_000][rng.below(5) as usize];
    Op::Setattr { object, sattr: Sattr3 { size: Some(size), ..Sattr3::default() }, guard: None }
}

/// Changes of a file before a COMMIT: what the judge can follow.
const UNSETTLED_MAX: u32 = 5;
