//! Loopback TCP: one side sends the same 1 MiB again and again, the other receives into the same buffer, each on a
//! core of its own. No server moves more data between two processes by copying.

use super::Reading;
use crate::cpu;
use crate::failure::{Failure, Outcome};
use core_affinity::CoreId;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

pub(super) const SENDING: &str = "loopback TCP, sending 1 MiB";
const SEND_BYTES: usize = 1 << 20;
const RECEIVE_BYTES: usize = 256 << 10;

pub(super) fn probe(time: Duration) -> Outcome<Vec<Reading>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (receiver, _) = listener.accept()?;
    thread::scope(|scope| {
        let receiving = scope.spawn(move || receive(receiver));
        let sending = scope.spawn(move || send(&mut sender, time));
        let panicked = |_| Failure::said("a probe panicked");
        let (sent_mib, sending_cpu, elapsed) = sending.join().map_err(panicked)??;
        let receiving_cpu = receiving.join().map_err(panicked)??;
        let reading = |title: &str, cpu: Duration| Reading {
            title: title.to_string(),
            rate: sent_mib / elapsed.as_secs_f64(),
            unit: "MiB",
            cpu_us: Some(cpu.as_secs_f64() * 1e6 / sent_mib),
        };
        Ok(vec![reading(SENDING, sending_cpu), reading("loopback TCP, receiving", receiving_cpu)])
    })
}

/// MiB sent, CPU time, elapsed time.
fn send(stream: &mut TcpStream, time: Duration) -> Outcome<(f64, Duration, Duration)> {
    core_affinity::set_for_current(CoreId { id: 0 });
    let data = vec![0x5A; SEND_BYTES];
    let (began, cpu) = (Instant::now(), cpu::of_thread());
    let mut sent = 0.0;
    while began.elapsed() < time {
        stream.write_all(&data)?;
        sent += 1.0;
    }
    let spent = (sent, cpu::of_thread() - cpu, began.elapsed());
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
