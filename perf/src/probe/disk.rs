//! The disk through the file system: O_DIRECT reads and writes, overwrites with fdatasync, by one thread and by
//! many. No server answers a durable WRITE faster than the disk flushes.

use super::Reading;
use crate::cpu;
use crate::failure::{Failure, Outcome};
use crate::pattern::Random;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Of the file that is probed: long enough to reach beyond a disk's own cache.
const FILE_BYTES: u64 = 1 << 30;
const SMALL_BYTES: usize = 4096;
const LARGE_BYTES: usize = 1 << 20;
/// What O_DIRECT asks of addresses and offsets.
const ALIGNMENT: usize = 4096;
const THREADS: usize = 16;
const LARGE_THREADS: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Read,
    Write,
    /// A write and a fdatasync.
    WriteThrough,
}

pub(super) const SMALL_READS: &str = "disk: O_DIRECT reads of 4 KiB, random, 16 threads";
pub(super) const SEQUENTIAL_READS: &str = "disk: O_DIRECT reads of 1 MiB, sequential, 8 threads";
pub(super) const FLUSHES: &str = "disk: overwrite of 4 KiB + fdatasync, 1 thread";
pub(super) const SHARED_FLUSHES: &str = "disk: overwrite of 4 KiB + fdatasync, 16 threads";
/// Lengths of writes to a journal, in KiB.
const JOURNAL_KIB: [usize; 4] = [4, 8, 16, 32];

pub(super) fn probe(store: &Path, time: Duration) -> Outcome<Vec<Reading>> {
    let path = store.join(format!("probe.{}", std::process::id()));
    let readings = probe_file(&path, time);
    fs::remove_file(&path)?;
    readings
}

fn probe_file(path: &Path, time: Duration) -> Outcome<Vec<Reading>> {
    let began = Instant::now();
    // A short probe is content with less.
    let file_bytes = if time < Duration::from_secs(1) { FILE_BYTES / 64 } else { FILE_BYTES };
    fill(path, file_bytes)?;
    let filled = (file_bytes >> 20) as f64 / began.elapsed().as_secs_f64();
    let mut readings = vec![reading("disk: sequential O_DIRECT writes of 1 MiB, one flush", filled, "MiB")];
    let file = open(path)?;
    let small = file_bytes / SMALL_BYTES as u64;
    let large = file_bytes / LARGE_BYTES as u64;
    for (title, action, bytes, threads, places, unit) in [
        ("disk: O_DIRECT reads of 4 KiB, random, 1 thread", Action::Read, SMALL_BYTES, 1, small, "op"),
        (SMALL_READS, Action::Read, SMALL_BYTES, THREADS, small, "op"),
        ("disk: O_DIRECT reads of 1 MiB, random, 8 threads", Action::Read, LARGE_BYTES, LARGE_THREADS, large, "MiB"),
        ("disk: O_DIRECT overwrites of 4 KiB, random, 16 threads", Action::Write, SMALL_BYTES, THREADS, small, "op"),
        (FLUSHES, Action::WriteThrough, SMALL_BYTES, 1, small, "op"),
        (SHARED_FLUSHES, Action::WriteThrough, SMALL_BYTES, THREADS, small, "op"),
    ] {
        let done = spread(&file, action, bytes, threads, places, time)?;
        readings.push(reading(title, done, unit));
    }
    readings.push(reading(SEQUENTIAL_READS, sequential(&file, large, time)?, "MiB"));
    for kib in JOURNAL_KIB {
        readings.push(journal(path, kib << 10, file_bytes, time)?);
    }
    Ok(readings)
}

/// Reads per second when all threads together read the file from its start to its end, again and again.
fn sequential(file: &File, places: u64, time: Duration) -> Outcome<f64> {
    let next = AtomicU64::new(0);
    let read = || -> Outcome<u64> {
        let (mut buffer, within) = aligned(LARGE_BYTES);
        let began = Instant::now();
        let mut done = 0;
        while began.elapsed() < time {
            let place = next.fetch_add(1, Ordering::Relaxed) % places;
            file.read_exact_at(&mut buffer[within.clone()], place * LARGE_BYTES as u64)?;
            done += 1;
        }
        Ok(done)
    };
    let began = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..LARGE_THREADS).map(|_| scope.spawn(read)).collect();
        let mut done = 0;
        for thread in threads {
            done += thread.join().map_err(|_| Failure::said("a probe panicked"))??;
        }
        Ok(done as f64 / began.elapsed().as_secs_f64())
    })
}

/// What a journal costs: durable writes one behind the other into space that was written before, by one thread that
/// waits for each.
fn journal(path: &Path, bytes: usize, file_bytes: u64, time: Duration) -> Outcome<Reading> {
    let file = File::options().write(true).custom_flags(libc::O_DIRECT | libc::O_DSYNC).open(path)?;
    let (buffer, within) = aligned(bytes);
    let (began, cpu) = (Instant::now(), cpu::of_thread());
    let mut done = 0;
    while began.elapsed() < time {
        file.write_all_at(&buffer[within.clone()], done * bytes as u64 % file_bytes)?;
        done += 1;
    }
    Ok(Reading {
        title: format!("disk: sequential O_DSYNC writes of {} KiB, 1 thread", bytes >> 10),
        rate: done as f64 / began.elapsed().as_secs_f64(),
        unit: "op",
        cpu_us: Some((cpu::of_thread() - cpu).as_secs_f64() * 1e6 / done as f64),
    })
}

fn reading(title: &str, rate: f64, unit: &'static str) -> Reading {
    Reading { title: title.to_string(), rate, unit, cpu_us: None }
}

fn fill(path: &Path, bytes: u64) -> Outcome<()> {
    let file = File::options().create(true).write(true).truncate(true).custom_flags(libc::O_DIRECT).open(path)?;
    let (buffer, within) = aligned(LARGE_BYTES);
    for offset in (0..bytes).step_by(LARGE_BYTES) {
        file.write_all_at(&buffer[within.clone()], offset)?;
    }
    Ok(file.sync_all()?)
}

fn open(path: &Path) -> Outcome<File> {
    Ok(File::options().read(true).write(true).custom_flags(libc::O_DIRECT).open(path)?)
}

/// Actions per second of all threads together.
fn spread(file: &File, action: Action, bytes: usize, threads: usize, places: u64, time: Duration) -> Outcome<f64> {
    let began = Instant::now();
    thread::scope(|scope| {
        let act = |seed| scope.spawn(move || act(file, action, bytes, places, time, Random(seed)));
        let threads: Vec<_> = (1..=threads as u64).map(act).collect();
        let mut done = 0;
        for thread in threads {
            done += thread.join().map_err(|_| Failure::said("a probe panicked"))??;
        }
        Ok(done as f64 / began.elapsed().as_secs_f64())
    })
}

fn act(file: &File, action: Action, bytes: usize, places: u64, time: Duration, mut random: Random) -> Outcome<u64> {
    let (mut buffer, within) = aligned(bytes);
    let began = Instant::now();
    let mut done = 0;
    while began.elapsed() < time {
        let offset = random.below(places) * bytes as u64;
        match action {
            Action::Read => file.read_exact_at(&mut buffer[within.clone()], offset)?,
            Action::Write | Action::WriteThrough => file.write_all_at(&buffer[within.clone()], offset)?,
        }
        if action == Action::WriteThrough {
            file.sync_data()?;
        }
        done += 1;
    }
    Ok(done)
}

/// A buffer, and where in it the aligned bytes are.
fn aligned(bytes: usize) -> (Vec<u8>, Range<usize>) {
    let buffer = vec![0x5A; bytes + ALIGNMENT];
    let start = buffer.as_ptr().align_offset(ALIGNMENT);
    (buffer, start..start + bytes)
}
