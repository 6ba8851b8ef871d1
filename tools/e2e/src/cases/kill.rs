//! kill -9 and power cuts under load. Workers change the share through our own client, one acknowledged call at a
//! time; at a random moment the server is killed, or its disk loses power; it is verified offline and started again
//! on the same pool; then everything acknowledged must be there, calls that were answered get the same answer when
//! they are sent again, and calls that were not are executed exactly once.

use crate::client::Client;
use crate::disk::Disk;
use crate::failure::{Failure, Outcome, While, ensure};
use crate::guest::{Mount, Running};
use crate::lab::{Lab, progress};
use crate::server::Server;
use crate::share::Raw;
use crate::workload::Worker;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The server is killed; its disk stays.
pub(crate) fn kill_nine(lab: &Lab) -> Outcome {
    let mut server = lab.serve()?;
    let outage = AtomicBool::new(false);
    let count = lab.options.rounds;
    let pace = Pace { count, load_ms: (80, 400), verified_every: (count / VERIFICATIONS).max(1) };
    let tally = rounds(lab, &mut server, pace, &outage, |server| server.kill())?;
    server.stop()?;
    server.verify()?;
    Ok(tally)
}

/// The disk below the pool stops first, so that the server sees it fail; then it is killed and the disk comes back.
pub(crate) fn power_cut(lab: &Lab) -> Outcome {
    let mut notes = Vec::new();
    for (kind, share) in [("xfs", 3), ("ext4", 2)] {
        let disk = Disk::make(lab, &format!("disk-{kind}"), kind, DISK_BYTES)?;
        let mut server = Server::start(lab, &disk.folder("pool")?)?;
        let outage = AtomicBool::new(false);
        let cut = |server: &mut Server| {
            outage.store(true, Ordering::SeqCst);
            disk.cut_power()?;
            server.kill_anyhow()?;
            disk.unmount()?;
            disk.mount()
        };
        let count = (lab.options.rounds * share / 25).max(1);
        let pace = Pace { count, load_ms: (50, 900), verified_every: 1 };
        notes.push(format!("{kind}: {}", rounds(lab, &mut server, pace, &outage, cut)?));
        server.stop()?;
        server.verify()?;
    }
    Ok(notes.join("; "))
}

/// The server is killed under a kernel client that stays mounted.
pub(crate) fn kill_client(lab: &Lab) -> Outcome {
    let mut server = lab.serve()?;
    let signals = lab.folder("signals")?;
    let seed = lab.options.seed.to_string();
    let mount = Mount::of(lab, &server, "load").writable(&signals).limit_s(1700);
    let folder = signals.to_str().ok_or_else(|| Failure::new("the working folder's path is not text"))?;
    let mut guest = mount.spawn_agent(&["load", "--signals", folder, "--seed", &seed])?;
    wait_for(&signals.join("ready"), &mut guest)?;
    let mut random = lab.random();
    let mut slowest = Duration::ZERO;
    let count = (lab.options.rounds / 4).max(1);
    for round in 1..=count {
        thread::sleep(random.duration_ms(300, 1500));
        server.kill()?;
        server.verify()?;
        slowest = slowest.max(serving_again(&mut server)?);
        fs::write(signals.join(format!("check-{round}")), "")?;
        wait_for(&signals.join(format!("checked-{round}")), &mut guest)?;
    }
    fs::write(signals.join("end"), "")?;
    let report = guest.finish()?;
    server.stop()?;
    server.verify()?;
    let note = report.trim().lines().last().unwrap_or_default();
    Ok(format!("{count} rounds, {note}, serving again within {slowest:.1?}"))
}

struct Pace {
    count: u32,
    /// How long there is load before the crash: at random from the first to the second.
    load_ms: (u64, u64),
    /// The pool is verified offline in each of so many rounds.
    verified_every: u32,
}

/// Load, crash, verification, start and check, again and again. `outage` is raised by a crash that makes the server's
/// calls fail before it dies.
fn rounds(
    lab: &Lab,
    server: &mut Server,
    pace: Pace,
    outage: &AtomicBool,
    crash: impl Fn(&mut Server) -> Result<(), Failure>,
) -> Outcome {
    let mut random = lab.random();
    let mut workers = hire(lab, server, outage)?;
    let mut slowest = Duration::ZERO;
    let mut lowest = u64::MAX;
    let first = Instant::now();
    for round in 1..=pace.count {
        let pause = AtomicBool::new(false);
        let load = random.duration_ms(pace.load_ms.0, pace.load_ms.1);
        let before = acknowledged(&workers);
        let verify = |server: &Server| if round % pace.verified_every == 0 { server.verify() } else { Ok(()) };
        let outcome = thread::scope(|scope| -> Result<Duration, Failure> {
            let threads: Vec<_> = workers.iter_mut().map(|worker| scope.spawn(|| work_until(worker, &pause))).collect();
            thread::sleep(load);
            pause.store(true, Ordering::SeqCst);
            let served = crash(server).and_then(|()| verify(server)).and_then(|()| serving_again(server));
            outage.store(false, Ordering::SeqCst);
            // A worker waits for its answer; without a server that would take long, so the reason comes first.
            let served = served?;
            for thread in threads {
                thread.join().map_err(|_| Failure::new("a worker panicked"))??;
            }
            Ok(served)
        });
        slowest = slowest.max(outcome.during(format_args!("round {round} after {load:?} of load"))?);
        check(&mut workers).during(format_args!("round {round}"))?;
        lowest = lowest.min(acknowledged(&workers) - before);
        if round % (pace.count / PROGRESS_LINES).max(1) == 0 {
            let a_round = first.elapsed() / round;
            progress(format_args!("round {round}, {} calls, {a_round:.2?} a round", acknowledged(&workers)));
        }
    }
    Ok(format!(
        "{} rounds, {} acknowledged calls ({lowest} in a round at least), serving again within {slowest:.1?}, {:.2?} a \
         round",
        pace.count,
        acknowledged(&workers),
        first.elapsed() / pace.count
    ))
}

fn acknowledged(workers: &[Worker<Raw<'_>>]) -> u64 {
    workers.iter().map(|worker| worker.acknowledged).sum()
}

/// Everything acknowledged is there, and calls sent again get the same answer. All workers at the same time.
fn check(workers: &mut [Worker<Raw<'_>>]) -> Result<(), Failure> {
    let checked = |worker: &mut Worker<Raw<'_>>| {
        worker.share.replay_recent()?;
        worker.settle()?;
        worker.check()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = workers.iter_mut().map(|worker| scope.spawn(move || checked(worker))).collect();
        for (index, thread) in threads.into_iter().enumerate() {
            let outcome = thread.join().map_err(|_| Failure::new("a worker panicked"))?;
            outcome.during(format_args!("worker {index}"))?;
        }
        Ok(())
    })
}

fn hire<'a>(lab: &Lab, server: &Server, outage: &'a AtomicBool) -> Result<Vec<Worker<Raw<'a>>>, Failure> {
    let place = server.place();
    let mut client = Client::new(server.address(), 1);
    let root = client.root(place.mountport, &place.share)?;
    let mut workers = Vec::new();
    for index in 0..WORKERS {
        let folder = Raw::worker_folder(&mut client, root, &format!("worker-{index}"))?;
        let client = Client::new(server.address(), (index + 1) << 24);
        let seed = lab.options.seed.wrapping_mul(1000) + u64::from(index);
        workers.push(Worker::new(Raw::new(client, folder, outage), seed));
    }
    Ok(workers)
}

fn work_until(worker: &mut Worker<Raw<'_>>, pause: &AtomicBool) -> Result<(), Failure> {
    while !pause.load(Ordering::SeqCst) {
        worker.step()?;
    }
    Ok(())
}

fn serving_again(server: &mut Server) -> Result<Duration, Failure> {
    let took = server.start_again()?;
    ensure!(took <= SERVING_LIMIT, "it took {took:.1?} until the server served again:\n{}", server.log_tail());
    Ok(took)
}

fn wait_for(signal: &Path, guest: &mut Running) -> Result<(), Failure> {
    let began = Instant::now();
    while !signal.exists() {
        guest.still_runs()?;
        ensure!(began.elapsed() < SIGNAL_LIMIT, "no {} after {SIGNAL_LIMIT:?}", signal.display());
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

const WORKERS: u32 = 8;
/// Of a run with many rounds; one with few has one in each.
const VERIFICATIONS: u32 = 50;
const PROGRESS_LINES: u32 = 20;
const DISK_BYTES: u64 = 3 << 30;
/// Two seconds are promised; the third is for a machine that is busy with other tests.
const SERVING_LIMIT: Duration = Duration::from_secs(3);
const SIGNAL_LIMIT: Duration = Duration::from_secs(120);
