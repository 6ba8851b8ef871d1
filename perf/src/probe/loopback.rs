//! Loopback TCP: one side sends, the other receives into the same buffer, each on a core of its own. No server moves
//! more data between two processes by copying; sending references to pages shows what the copy costs, and giving
//! such pages back and filling new ones what references cost.

use super::Reading;
use crate::cpu;
use crate::failure::{Failure, Outcome};
use core_affinity::CoreId;
use rustix::fs::{FallocateFlags, MemfdFlags};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

pub(super) const SENDING: &str = "loopback TCP, sending 1 MiB";
const SEND_BYTES: usize = 1 << 20;
const RECEIVE_BYTES: usize = 256 << 10;
/// More than a processor's caches hold.
const FILE_BYTES: usize = 64 << 20;
/// Of the block cache.
const CHUNK_BYTES: usize = 64 << 10;

pub(super) fn probe(time: Duration) -> Outcome<Vec<Reading>> {
    let same = vec![0x5A; SEND_BYTES];
    let large = vec![0x5A; FILE_BYTES];
    let pages = File::from(rustix::fs::memfd_create("basalt-perf", MemfdFlags::CLOEXEC)?);
    pages.write_all_at(&large, 0)?;
    let mut readings = run(time, SENDING, |stream, _| Ok(stream.write_all(&same)?))?;
    let mut sending = |title: &str, send: &mut (dyn FnMut(&mut TcpStream, usize) -> Outcome<()> + Send)| {
        // What receiving costs is told once.
        run(time, title, send).map(|sent| readings.extend(sent.into_iter().take(1)))
    };
    sending("loopback TCP, sending 64 MiB by 1 MiB", &mut |stream, at| {
        Ok(stream.write_all(&large[at..at + SEND_BYTES])?)
    })?;
    sending("the same by reference: sendfile of a memfd", &mut |stream, at| refer(stream, &pages, at))?;
    readings.push(refill(time, &pages)?);
    readings.push(overwrite(time)?);
    Ok(readings)
}

fn refer(stream: &TcpStream, pages: &File, at: usize) -> Outcome<()> {
    let mut offset = at as u64;
    let end = offset + SEND_BYTES as u64;
    while offset < end {
        let left = (end - offset) as usize;
        if rustix::fs::sendfile(stream, pages, Some(&mut offset), left)? == 0 {
            return Err(Failure::said("sendfile sent nothing"));
        }
    }
    Ok(())
}

/// Sends to a receiver for so long; `send` is told which MiB of a large file is next.
fn run(
    time: Duration,
    title: &str,
    send: impl FnMut(&mut TcpStream, usize) -> Outcome<()> + Send,
) -> Outcome<Vec<Reading>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (receiver, _) = listener.accept()?;
    thread::scope(|scope| {
        let receiving = scope.spawn(move || receive(receiver));
        let sending = scope.spawn(move || repeat(&mut sender, time, send));
        let panicked = |_| Failure::said("a probe panicked");
        let (sent_mib, sending_cpu, elapsed) = sending.join().map_err(panicked)??;
        let receiving_cpu = receiving.join().map_err(panicked)??;
        let reading = |title: &str, cpu: Duration| mib(title, sent_mib, elapsed, cpu);
        Ok(vec![reading(title, sending_cpu), reading("loopback TCP, receiving", receiving_cpu)])
    })
}

fn mib(title: &str, mib: f64, elapsed: Duration, cpu: Duration) -> Reading {
    let cpu_us = Some(cpu.as_secs_f64() * 1e6 / mib);
    Reading { title: title.to_string(), rate: mib / elapsed.as_secs_f64(), unit: "MiB", cpu_us }
}

/// MiB sent, CPU time, elapsed time.
fn repeat(
    stream: &mut TcpStream,
    time: Duration,
    mut send: impl FnMut(&mut TcpStream, usize) -> Outcome<()>,
) -> Outcome<(f64, Duration, Duration)> {
    core_affinity::set_for_current(CoreId { id: 0 });
    let (began, cpu) = (Instant::now(), cpu::of_thread());
    let mut sent = 0;
    while began.elapsed() < time {
        send(stream, sent * SEND_BYTES % FILE_BYTES)?;
        sent += 1;
    }
    let spent = (sent as f64, cpu::of_thread() - cpu, began.elapsed());
    stream.shutdown(Shutdown::Write)?;
    Ok(spent)
}

fn receive(mut stream: TcpStream) -> Outcome<Duration> {
    core_affinity::set_for_current(CoreId { id: 1 });
    let mut buffer = vec![0; RECEIVE_BYTES];
    let cpu = cpu::of_thread();
    while stream.read(&mut buffer)? > 0 {}
    Ok(cpu::of_thread() - cpu)
}

/// What a block costs that is never written again because somebody may still read its pages: they are given back
/// and new ones are filled.
fn refill(time: Duration, pages: &File) -> Outcome<Reading> {
    let data = vec![0xA5; CHUNK_BYTES];
    chunks(time, "memory: chunks of a memfd given back and filled", |at| {
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(pages, punch, at as u64, CHUNK_BYTES as u64)?;
        Ok(pages.write_all_at(&data, at as u64)?)
    })
}

/// What it costs to write over it.
fn overwrite(time: Duration) -> Outcome<Reading> {
    let data = vec![0xA5; CHUNK_BYTES];
    let mut memory = vec![0x5A; FILE_BYTES];
    chunks(time, "memory: chunks written over", |at| {
        memory[at..at + CHUNK_BYTES].copy_from_slice(&data);
        std::hint::black_box(&mut memory);
        Ok(())
    })
}

/// Fills one chunk of a large file after the other for so long.
fn chunks(time: Duration, title: &str, mut fill: impl FnMut(usize) -> Outcome<()>) -> Outcome<Reading> {
    let (began, cpu) = (Instant::now(), cpu::of_thread());
    let mut chunks = 0;
    while began.elapsed() < time {
        fill(chunks * CHUNK_BYTES % FILE_BYTES)?;
        chunks += 1;
    }
    let filled = (chunks * CHUNK_BYTES) as f64 / SEND_BYTES as f64;
    Ok(mib(title, filled, began.elapsed(), cpu::of_thread() - cpu))
}
