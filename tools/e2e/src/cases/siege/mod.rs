//! A server under siege: adversaries that open 10,000 connections, stop in the middle of records, claim lengths that
//! nobody has, ask for very much and take no answers, trickle, come and go as fast as they can, and flood the
//! portmapper and the admin address. Meanwhile the server's memory stays within what its configuration says and a
//! tenth, an honest client's median latency at most doubles, and afterwards every counter is back at zero.
//!
//! How latency is judged on a machine that does other things too: the adversaries' threads have the lowest priority and
//! the longest slices, so that all others interrupt them at once, as if they ran on machines of their own: what is
//! measured is what the server does to be fair. The honest client is measured just before and just after an attack, in its
//! first second, and at its height, when the adversaries have all the connections that they want and nothing more can be
//! sent, or after some seconds. Where an operation takes longer than it may, compared with the better window beside it,
//! the attack is made again: it counts as slowed down only when it is so in each of [`PAIRS_MAX`] comparisons. What
//! disturbs from outside comes and goes; what the server does stays.

mod attacks;
mod honest;

use crate::client::Client;
use crate::failure::{Failure, Outcome, While, ensure};
use crate::lab::{Lab, progress};
use crate::server::{Memory, Server, Settings};
use crate::share::Raw;
use attacks::{ALL, Attack, CROWD, Lane, Target};
use honest::{Client as Honest, IN_MEMORY, Medians, OPERATIONS, Times};
use rustix::process::{Resource, getrlimit};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use wire::nfs3::{GetattrArgs, Procedure, StableHow};

/// A server that is besieged.
struct Setup {
    name: &'static str,
    settings: Settings,
    memory_bytes: u64,
    /// Whether its limits admit the whole crowd.
    admits: Admits,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Admits {
    Some,
    All,
}

/// With the limits of connections that the configuration has by default, and with as many as the adversaries want.
pub(crate) fn run(lab: &Lab) -> Outcome {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let crowd = CROWD.min(usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(OTHER_FILES));
    if crowd < CROWD {
        progress(format_args!("{files} files may be open: a crowd of {crowd} instead of {CROWD}"));
    }
    let notes: Result<Vec<_>, Failure> =
        SETUPS.iter().map(|setup| besieged(lab, setup, crowd).during(setup.name)).collect();
    Ok(notes?.join("; "))
}

fn besieged(lab: &Lab, setup: &Setup, crowd: usize) -> Outcome {
    let mut server = Server::start_with(lab, &lab.folder(setup.name)?, setup.settings)?;
    let target = prepare(&server, crowd)?;
    let window = WINDOW * (lab.options.rounds / ROUNDS_A_WINDOW).max(1);
    let end = AtomicBool::new(false);
    let (worst, memory) = thread::scope(|scope| {
        let watch = scope.spawn(|| watch_memory(&server, &end));
        let siege = Siege { server: &server, target: &target, admits: setup.admits, window };
        let outcome = siege.campaign();
        end.store(true, Ordering::SeqCst);
        let memory = watch.join().map_err(|_| Failure::new("the watch panicked"))??;
        Ok::<_, Failure>((outcome?, memory))
    })?;
    let (own, memory_mib) = (memory.own_bytes, setup.memory_bytes >> 20);
    let used = format!("{} MiB of its own, {} MiB resident at most", own >> 20, memory.resident_bytes >> 20);
    progress(format_args!("{}: {used}", setup.name));
    ensure!(own <= setup.memory_bytes + setup.memory_bytes / 10, "{used}; {memory_mib} MiB are configured");
    returns_to(0)?;
    let mut client = Client::new(target.address, 1);
    client.done(Procedure::Getattr, &GetattrArgs { object: target.root.handle() })?;
    server.stop()?;
    server.verify()?;
    Ok(format!("{}: {used} of {memory_mib}, {worst}", setup.name))
}

/// A directory of many names and a file that does not fit the cache.
fn prepare(server: &Server, crowd: usize) -> Result<Target, Failure> {
    let place = server.place();
    let mut client = Client::new(server.address(), 1);
    let root = client.root(place.mountport, &place.share)?;
    let many = Raw::worker_folder(&mut client, root, "many")?;
    for index in 0..NAMES {
        client.create(many, &format!("a-name-of-the-usual-length-{index}"), 0o644)?;
    }
    let large = client.create(root, "large", 0o644)?;
    let part = vec![7; 1 << 20];
    for index in 0..LARGE_MIB {
        let written = client.write(large, index << 20, &part, StableHow::Unstable)?;
        ensure!(written.is_ok(), "WRITE: {written:?}");
    }
    ensure!(client.commit(large)?.is_ok(), "COMMIT failed");
    Ok(Target { address: server.address(), root, many, large, large_bytes: LARGE_MIB << 20, crowd })
}

struct Siege<'a> {
    server: &'a Server,
    target: &'a Target,
    admits: Admits,
    window: Duration,
}

/// When the honest client is measured during an attack.
struct Phase {
    name: &'static str,
    /// How many of its operations are judged, and how many times as long they may take.
    operations: usize,
    slower_max: f64,
}

/// In the first second and at the height. At first much is made, and read from the disk, for those who take no answers,
/// so that a WRITE waits for the disk, and the others for a turn or two.
const PHASES: [Phase; 2] = [
    Phase { name: "at first", operations: IN_MEMORY, slower_max: 10.0 },
    Phase { name: "at the height", operations: OPERATIONS.len(), slower_max: 2.0 },
];

impl Phase {
    fn judged(&self, times: &Times) -> f64 {
        times.most(self.operations)
    }

    fn is_slow(&self, times: &Times) -> bool {
        self.judged(times) > self.slower_max
    }
}

impl Siege<'_> {
    /// Each attack by itself and then all at once, with an honest client at work. The most that it was slowed down.
    fn campaign(&self) -> Result<String, Failure> {
        let mut honest = Honest::new(self.target)?;
        // The first window finds everything cold.
        honest.window(self.window)?;
        let mut quiet = honest.window(self.window)?;
        let mut worst = [0.0_f64; PHASES.len()];
        let mut slow = Vec::new();
        for attacks in ALL.chunks(1).chain([ALL]) {
            let name = if attacks.len() == 1 { attacks[0].name } else { "all at once" };
            let least = self.judged(name, attacks, &mut honest, &mut quiet).during(name)?;
            for ((phase, times), worst) in PHASES.iter().zip(least).zip(&mut worst) {
                *worst = worst.max(phase.judged(&times));
                if phase.is_slow(&times) {
                    slow.push(format!("{name}, {}: {times} times", phase.name));
                }
            }
        }
        ensure!(slow.is_empty(), "the honest client was slowed down ({}): {}", OPERATIONS.join(", "), slow.join("; "));
        let parts = PHASES.iter().zip(worst).map(|(phase, worst)| format!("{worst:.2} times {}", phase.name));
        Ok(format!("slowed down {}", parts.collect::<Vec<_>>().join(", ")))
    }

    /// Compares until there is no reason to doubt, or often enough. `quiet` is what was measured just before, and in the
    /// end what was just after.
    fn judged(
        &self,
        name: &str,
        attacks: &[Attack],
        honest: &mut Honest,
        quiet: &mut Medians,
    ) -> Result<[Times; PHASES.len()], Failure> {
        let mut least = [Times::WORST; PHASES.len()];
        for _ in 0..PAIRS_MAX {
            let under = self.attacked(attacks, honest)?;
            returns_to(1)?;
            let before = std::mem::replace(quiet, honest.window(self.window)?);
            let beside = before.least(quiet);
            let mut line = format!("{name}: {beside} us");
            for ((phase, medians), least) in PHASES.iter().zip(under).zip(&mut least) {
                let times = medians.over(&beside);
                line.push_str(&format!("; {} {medians} us, {times} times", phase.name));
                *least = least.least(&times);
            }
            progress(line);
            if !PHASES.iter().zip(&least).any(|(phase, times)| phase.is_slow(times)) {
                break;
            }
        }
        Ok(least)
    }

    fn attacked(&self, attacks: &[Attack], honest: &mut Honest) -> Result<[Medians; PHASES.len()], Failure> {
        let lanes: Vec<_> = attacks.iter().flat_map(|attack| (0..attack.threads).map(move |it| (attack, it))).collect();
        let high: Vec<_> = lanes.iter().map(|_| AtomicBool::new(false)).collect();
        let end = AtomicBool::new(false);
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for (&(attack, number), high) in lanes.iter().zip(&high) {
                let lane = Lane { number, end: &end, high };
                threads.push(scope.spawn(move || {
                    shard::system::step_back(ATTACKER_NICE).during("an adversary's priority")?;
                    (attack.run)(self.target, &lane).during(attack.name)
                }));
            }
            let outcome = self.measured(attacks, honest, &high);
            end.store(true, Ordering::SeqCst);
            for thread in threads {
                thread.join().map_err(|_| Failure::new("an adversary panicked"))??;
            }
            outcome
        })
    }

    fn measured(
        &self,
        attacks: &[Attack],
        honest: &mut Honest,
        high: &[AtomicBool],
    ) -> Result<[Medians; PHASES.len()], Failure> {
        let opening = honest.window(OPENING)?;
        let began = Instant::now();
        while began.elapsed() < RISE_LIMIT && !high.iter().all(|lane| lane.load(Ordering::SeqCst)) {
            thread::sleep(SAMPLE_PAUSE);
        }
        let whole = self.admits == Admits::All && matches!(attacks, [Attack { holds: true, .. }]);
        let is_held = || Ok(gauge(&metrics()?, CONNECTIONS) >= Some(self.target.crowd as u64));
        if whole {
            wait_until("the whole crowd is connected", CROWD_LIMIT, is_held)?;
            let files = self.server.open_files()?;
            ensure!(files <= self.target.crowd + OTHER_FILES, "{files} files for {} connections", self.target.crowd);
        }
        let height = honest.window(self.window)?;
        ensure!(!whole || is_held()?, "the crowd was not connected all the time:\n{}", metrics()?);
        Ok([opening, height])
    }
}

/// The most of each that was seen.
fn watch_memory(server: &Server, end: &AtomicBool) -> Result<Memory, Failure> {
    let mut most = Memory::default();
    while !end.load(Ordering::SeqCst) {
        let now = server.memory()?;
        most.resident_bytes = most.resident_bytes.max(now.resident_bytes);
        most.own_bytes = most.own_bytes.max(now.own_bytes);
        thread::sleep(SAMPLE_PAUSE);
    }
    Ok(most)
}

/// All that rises and falls has fallen, but for so many connections.
fn returns_to(connections: u64) -> Result<(), Failure> {
    wait_until("all that an attack took is given back", SETTLE_LIMIT, || {
        // The admin address may not yet have room for one who asks.
        let metrics = metrics().unwrap_or_default();
        let is_idle = IDLE.iter().all(|name| gauge(&metrics, name) == Some(0));
        Ok(is_idle && gauge(&metrics, CONNECTIONS) == Some(connections))
    })
}

fn wait_until(what: &str, limit: Duration, is_so: impl Fn() -> Result<bool, Failure>) -> Result<(), Failure> {
    let began = Instant::now();
    while !is_so()? {
        ensure!(began.elapsed() < limit, "not within {limit:?}: {what}\n{}", metrics()?);
        thread::sleep(SAMPLE_PAUSE);
    }
    Ok(())
}

/// A gauge without labels.
fn gauge(metrics: &str, name: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    metrics.lines().find_map(value)
}

/// What the admin address tells.
fn metrics() -> Result<String, Failure> {
    let mut stream = TcpStream::connect(ADMIN).during("the admin address")?;
    stream.set_read_timeout(Some(SETTLE_LIMIT))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).during("the metrics")?;
    Ok(answer)
}

const SETUPS: [Setup; 2] = [
    Setup {
        name: "usual-limits",
        settings: &[("BASALT_SERVER_STALL_TIMEOUT", "8s"), ("BASALT_SERVER_MEMORY", "256MiB")],
        memory_bytes: 256 << 20,
        admits: Admits::Some,
    },
    Setup {
        name: "whole-crowd",
        // Its half records are to stay.
        settings: &[
            ("BASALT_SERVER_STALL_TIMEOUT", "5m"),
            ("BASALT_SERVER_MEMORY", "6GiB"),
            ("BASALT_SERVER_CONNECTIONS_MAX", "12000"),
            ("BASALT_SERVER_CONNECTIONS_PER_CLIENT_MAX", "12000"),
        ],
        memory_bytes: 6 << 30,
        admits: Admits::All,
    },
];
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 2050);
/// Gauges that count what a client caused.
const CONNECTIONS: &str = "basalt_connections";
const IDLE: &[&str] = &["basalt_requests_in_flight", "basalt_held_bytes"];
/// What a process has open beside the connections of the crowd: those of the other attacks, and the server's files.
const OTHER_FILES: usize = 2_000;
/// In CI there is one [`WINDOW`].
const ROUNDS_A_WINDOW: u32 = 50;
const NAMES: u32 = 3000;
const LARGE_MIB: u64 = 192;
const WINDOW: Duration = Duration::from_millis(700);
const OPENING: Duration = Duration::from_secs(1);
/// An attack is at its height after this time, though connections that are refused are opened anew all the time.
const RISE_LIMIT: Duration = Duration::from_secs(5);
/// The machine may have little time for the adversaries.
const CROWD_LIMIT: Duration = Duration::from_secs(120);
/// So many comparisons have to say that a client is slowed down.
const PAIRS_MAX: u32 = 8;
const ATTACKER_NICE: i32 = 19;
const SAMPLE_PAUSE: Duration = Duration::from_millis(20);
/// Far above twice the stall time.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
