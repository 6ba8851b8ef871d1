//! A server under siege: adversaries that open 10,000 connections, stop in the middle of records, claim lengths that
//! nobody has, ask for very much and take no answers, trickle, come and go as fast as they can, and flood the
//! portmapper and the admin address. Meanwhile the server's memory stays within what its configuration says and a
//! tenth, an honest client's median latency at most doubles, and afterwards every counter is back at zero.
//!
//! How latency is judged on a machine that does other things too: the adversaries' threads have the lowest priority,
//! as if they ran on machines of their own, so that what is measured is what the server does to be fair. A window
//! without an attack is measured before each; of each operation the lowest median of all windows counts, since what
//! disturbs from outside only ever makes a window worse; where it seems too slow, some more are measured while the
//! attack goes on. So it is the state that the server comes to under an attack that is judged, not the first moments:
//! answers that nobody takes are read from the disk until the kernel's buffers and the server's budget are full.

mod attacks;
mod honest;

use crate::client::Client;
use crate::failure::{Failure, Outcome, While, ensure};
use crate::lab::{Lab, progress};
use crate::runner::OPEN_FILES;
use crate::server::{Server, Settings};
use crate::share::Raw;
use attacks::{ALL, Attack, Target};
use honest::{Client as Honest, Medians};
use rustix::process::{Resource, getrlimit};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use wire::nfs3::{GetattrArgs, Procedure, StableHow};

/// With the limits of connections that the configuration has by default, and with as many as the adversaries want.
pub(crate) fn run(lab: &Lab) -> Outcome {
    let files = getrlimit(Resource::Nofile).current;
    ensure!(files.is_none_or(|files| files >= OPEN_FILES), "{files:?} files may be open, which is too few");
    let windows = (lab.options.rounds / ROUNDS_A_WINDOW).max(1);
    let usual = besieged(lab, "usual", USUAL, USUAL_MEMORY, windows).during("with the usual limits")?;
    let open = besieged(lab, "open", OPEN, OPEN_MEMORY, windows).during("with 8,000 connections allowed")?;
    Ok(format!("{usual}; 8,000 connections allowed: {open}"))
}

fn besieged(lab: &Lab, name: &str, settings: Settings, memory: u64, windows: u32) -> Outcome {
    let mut server = Server::start_with(lab, &lab.folder(name)?, settings)?;
    let target = prepare(&server)?;
    let quiet_bytes = server.resident_bytes()?;
    let highest = AtomicU64::new(quiet_bytes);
    let end = AtomicBool::new(false);
    let medians = thread::scope(|scope| {
        let watch = scope.spawn(|| watch_memory(&server, &highest, &end));
        let outcome = campaign(&target, windows);
        end.store(true, Ordering::SeqCst);
        watch.join().map_err(|_| Failure::new("the watch panicked"))??;
        outcome
    })?;
    let highest = highest.into_inner();
    progress(format_args!("{} MiB resident at first, {} MiB at most", quiet_bytes >> 20, highest >> 20));
    let (highest_mib, memory_mib) = (highest >> 20, memory >> 20);
    ensure!(highest <= memory + memory / 10, "{highest_mib} MiB in memory, {memory_mib} MiB are configured");
    settles(&target)?;
    server.stop()?;
    server.verify()?;
    Ok(format!("{} of {} MiB resident at most, {medians}", highest >> 20, memory >> 20))
}

/// A directory of many names and a file that does not fit the cache.
fn prepare(server: &Server) -> Result<Target, Failure> {
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
    Ok(Target { address: server.address(), root, many, large, large_bytes: LARGE_MIB << 20 })
}

/// Each attack by itself and then all at once, with an honest client at work.
fn campaign(target: &Target, windows: u32) -> Result<String, Failure> {
    let mut honest = Honest::new(target)?;
    let mut quiet = Medians::WORST;
    let mut notes = Vec::new();
    let mut slow = Vec::new();
    // The first window finds everything cold.
    honest.window(WINDOW)?;
    for _ in 0..QUIET_WINDOWS {
        quiet = quiet.best(&honest.window(WINDOW)?);
    }
    for attacks in ALL.chunks(1).chain([ALL]) {
        let name = if attacks.len() == 1 { attacks[0].name } else { "all at once" };
        quiet = quiet.best(&honest.window(WINDOW)?);
        let best = attacked(target, attacks, &mut honest, &quiet, windows).during(name)?;
        let note = format!("{name}: {best}, {:.2} times", best.over(&quiet));
        progress(&note);
        if best.over(&quiet) > SLOWER_MAX {
            slow.push(note.clone());
        }
        notes.push(note);
    }
    ensure!(slow.is_empty(), "the honest client was slowed down: {}; quiet: {quiet}", slow.join("; "));
    Ok(format!("quiet: {quiet}; {}", notes.join("; ")))
}

/// The honest client's best while these attacks go on.
fn attacked(
    target: &Target,
    attacks: &[Attack],
    honest: &mut Honest,
    quiet: &Medians,
    windows: u32,
) -> Result<Medians, Failure> {
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        let lanes = attacks.iter().flat_map(|attack| (0..attack.threads).map(move |lane| (attack, lane)));
        let mut threads = Vec::new();
        for (attack, lane) in lanes {
            let end = &end;
            threads.push(scope.spawn(move || {
                rustix::process::nice(ATTACKER_NICE).during("an adversary's priority")?;
                (attack.run)(target, lane, end).during(attack.name)
            }));
        }
        let outcome = best_of(honest, quiet, windows);
        end.store(true, Ordering::SeqCst);
        for thread in threads {
            thread.join().map_err(|_| Failure::new("an adversary panicked"))??;
        }
        outcome
    })
}

fn best_of(honest: &mut Honest, quiet: &Medians, windows: u32) -> Result<Medians, Failure> {
    thread::sleep(RAMP);
    let mut best = Medians::WORST;
    for window in 1..=TRIES * windows {
        best = best.best(&honest.window(WINDOW)?);
        if window >= windows && best.over(quiet) <= SLOWER_MAX {
            break;
        }
    }
    Ok(best)
}

fn watch_memory(server: &Server, highest: &AtomicU64, end: &AtomicBool) -> Result<(), Failure> {
    while !end.load(Ordering::SeqCst) {
        highest.fetch_max(server.resident_bytes()?, Ordering::SeqCst);
        thread::sleep(SAMPLE_PAUSE);
    }
    Ok(())
}

/// Nobody is connected any more: all that rises and falls has fallen, and a new client is served.
fn settles(target: &Target) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        let metrics = metrics()?;
        let left: Vec<_> =
            SETTLING.iter().filter(|name| !metrics.lines().any(|line| line == format!("{name} 0"))).collect();
        if left.is_empty() {
            break;
        }
        ensure!(began.elapsed() < SETTLE_LIMIT, "{left:?} did not return to zero within {SETTLE_LIMIT:?}:\n{metrics}");
        thread::sleep(SAMPLE_PAUSE);
    }
    let mut client = Client::new(target.address, 1);
    client.done(Procedure::Getattr, &GetattrArgs { object: target.root.handle() }).map(drop)
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

const USUAL: Settings = &[("BASALT_SERVER_STALL_TIMEOUT", "8s"), ("BASALT_SERVER_MEMORY", "256MiB")];
const USUAL_MEMORY: u64 = 256 << 20;
const OPEN: Settings = &[
    ("BASALT_SERVER_STALL_TIMEOUT", "8s"),
    ("BASALT_SERVER_MEMORY", "6GiB"),
    ("BASALT_SERVER_CONNECTIONS_MAX", "8000"),
    ("BASALT_SERVER_CONNECTIONS_PER_CLIENT_MAX", "8000"),
];
const OPEN_MEMORY: u64 = 6 << 30;
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 2050);
/// Gauges without a label that count what a client caused.
const SETTLING: &[&str] = &["basalt_connections", "basalt_requests_in_flight", "basalt_held_bytes"];
/// In CI each attack has two windows.
const ROUNDS_A_WINDOW: u32 = 25;
const NAMES: u32 = 3000;
const LARGE_MIB: u64 = 192;
/// Windows before the first attack: what the first ones are compared with should not be a bad moment.
const QUIET_WINDOWS: u32 = 4;
const WINDOW: Duration = Duration::from_millis(700);
/// An attack has this much time before the honest client's windows.
const RAMP: Duration = Duration::from_millis(1000);
/// So many times the windows are measured before a client counts as slowed down.
const TRIES: u32 = 25;
const SLOWER_MAX: f64 = 2.0;
const ATTACKER_NICE: i32 = 19;
const SAMPLE_PAUSE: Duration = Duration::from_millis(20);
/// Above twice the stall time.
const SETTLE_LIMIT: Duration = Duration::from_secs(20);
