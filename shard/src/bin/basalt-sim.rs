//! Runs simulated histories of the whole server, as many as are wanted. Caller: `cargo xtask sim`.

#![forbid(unsafe_code)]

use shard::sim::{Tally, replay, run, sequence, sequences};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["seed", seed] => number(seed).map(show),
        ["seeds", from, count, threads] => numbers([from, count, threads])
            .and_then(|[from, count, threads]| many(threads, |at| run(from + at), |begun, _| begun < count)),
        ["points", from, count, threads] => numbers([from, count, threads])
            .and_then(|[from, count, threads]| many(threads, |at| run(from + at), |_, judged| judged < count)),
        ["sequences", length, from, count, threads] => {
            numbers([length, from, count, threads]).and_then(|[length, from, count, threads]| {
                let length = length.clamp(1, LENGTH_MAX) as u32;
                let count = count.min(sequences(length).saturating_sub(from));
                many(threads, |at| sequence(length, from + at), |begun, _| begun < count)
            })
        }
        _ => Err(USAGE.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn show(seed: u64) {
    let (tally, history) = replay(seed);
    print!("{history}");
    println!("seed {seed}: {} calls, {} crash points, digest {:016x}", tally.calls, tally.points, tally.digest);
}

/// Runs one history after the other on each thread, as long as `goes_on` says of histories begun and points judged.
fn many(
    threads: u64,
    play: impl Fn(u64) -> Tally + Sync + std::panic::RefUnwindSafe,
    goes_on: impl Fn(u64, u64) -> bool + Sync,
) -> Result<(), String> {
    let (begun, histories, calls, points) =
        (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let failed = AtomicBool::new(false);
    let since = Instant::now();
    let summary = || {
        let (histories, calls, points) =
            (histories.load(Ordering::Relaxed), calls.load(Ordering::Relaxed), points.load(Ordering::Relaxed));
        let seconds = since.elapsed().as_secs_f64();
        format!("{histories} histories, {calls} calls, {points} crash points in {seconds:.1} s")
    };
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let number = begun.fetch_add(1, Ordering::Relaxed);
            if !goes_on(number, points.load(Ordering::Relaxed)) {
                return;
            }
            let Ok(tally) = std::panic::catch_unwind(|| play(number)) else {
                failed.store(true, Ordering::Relaxed);
                return;
            };
            let Tally { calls: more_calls, points: more_points, .. } = tally;
            histories.fetch_add(1, Ordering::Relaxed);
            calls.fetch_add(more_calls, Ordering::Relaxed);
            points.fetch_add(more_points, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut told = Instant::now();
        while workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::sleep(LOOK_PAUSE);
            if told.elapsed() > PROGRESS_PAUSE {
                told = Instant::now();
                println!("{}", summary());
            }
        }
    });
    println!("{}", summary());
    if failed.load(Ordering::Relaxed) { Err("a history failed; its number is above".to_string()) } else { Ok(()) }
}

fn numbers<const N: usize>(words: [&&str; N]) -> Result<[u64; N], String> {
    let mut numbers = [0; N];
    for (number, word) in numbers.iter_mut().zip(words) {
        *number = self::number(word)?;
    }
    Ok(numbers)
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("{word} is no number"))
}

const LOOK_PAUSE: Duration = Duration::from_millis(20);
const PROGRESS_PAUSE: Duration = Duration::from_secs(10);
/// Longest sequences: more could not be counted.
const LENGTH_MAX: u64 = 8;
const USAGE: &str = "basalt-sim seed N | seeds FROM COUNT THREADS | points FROM COUNT THREADS | \
                     sequences LENGTH FROM COUNT THREADS";
