//! The load: connections with calls in flight on each, for a stated time. Callers: `compare`, `load`, `smoke`, and
//! the making of what tests stand on.
//!
//! One thread a connection, blocking. A thread answers all that one receive brought with the next calls in one
//! send, so that under load the cost of a system call is shared by many calls, as it is with a kernel client.
//! Latency is from the send of a unit's first call to the receipt of its last reply.

use crate::cpu::{self, CpuTime};
use crate::failure::{Failure, Outcome};
use crate::histogram::Histogram;
use crate::pipe::{self, Inbox, Outbox};
use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};
use wire::nfs3;
use wire::rpc::ReplyHeader;
use wire::xdr::Reader;

/// What one connection does. A slot is one call in flight; a unit is what is counted, of one or more calls.
pub(crate) trait Work: Send {
    /// Makes the next call of a slot ready; false when there is nothing left to do for it.
    fn call(&mut self, slot: usize, out: &mut Outbox) -> Outcome<bool>;

    /// Judges the reply to a slot's call.
    fn reply(&mut self, slot: usize, reply: &mut Reader<'_>) -> Outcome<Progress>;
}

/// What a reply brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The unit has further calls.
    Middle,
    /// One or more units are done, with this much data.
    Done { units: u64, bytes: u64 },
}

impl Progress {
    /// One unit without data.
    pub(crate) const ONE: Self = Self::Done { units: 1, bytes: 0 };
}

/// One connection of a run.
pub(crate) struct Lane<'w> {
    pub(crate) work: &'w mut dyn Work,
    pub(crate) in_flight: usize,
    pub(crate) role: Role,
}

/// Whether a connection is what is measured or what disturbs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Measured,
    Background,
}

/// When and where a run happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) server: SocketAddr,
    /// The server's process, when its CPU is to be measured.
    pub(crate) pid: Option<u32>,
    /// The core that the client's threads stay on.
    pub(crate) client_core: Option<usize>,
    /// Runs before anything counts.
    pub(crate) warm_up: Duration,
    /// A run whose work is used up ends earlier.
    pub(crate) time: Duration,
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) units: u64,
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
    pub(crate) latency: Histogram,
    /// CPU time of the server's process, if it was known.
    pub(crate) server: Option<Duration>,
    /// CPU time of this process.
    pub(crate) client: Duration,
    /// CPU time of everybody.
    pub(crate) machine: Duration,
}

/// Runs all lanes at once.
pub(crate) fn run(setting: Setting, lanes: Vec<Lane<'_>>) -> Outcome<Measured> {
    assert!(lanes.iter().any(|lane| lane.role == Role::Measured), "something is measured");
    let shared = Shared { setting, start: Barrier::new(lanes.len() + 1), stop: AtomicBool::new(false) };
    thread::scope(|scope| {
        let (ended, ends) = mpsc::channel();
        let mut measured_left = 0;
        let threads: Vec<_> = lanes
            .into_iter()
            .map(|lane| {
                measured_left += usize::from(lane.role == Role::Measured);
                let (shared, ended) = (&shared, ended.clone());
                scope.spawn(move || {
                    let role = lane.role;
                    let counted = drive(shared, lane);
                    if counted.is_err() || role == Role::Measured {
                        // The main thread outlives its threads.
                        let _ = ended.send(counted.is_ok());
                    }
                    counted
                })
            })
            .collect();
        shared.start.wait();
        let taken = shared.watch(&ends, measured_left);
        shared.stop.store(true, Ordering::Relaxed);
        let counted = join(threads)?;
        let Taken { time, server, client, machine } = taken?;
        Ok(Measured { time, server, client, machine, ..counted })
    })
}

/// Runs one work until it has nothing left, unmeasured.
pub(crate) fn run_to_end(server: SocketAddr, in_flight: usize, work: &mut dyn Work) -> Outcome<Measured> {
    let time = Duration::from_secs(3600);
    let setting = Setting { server, pid: None, client_core: None, warm_up: Duration::ZERO, time };
    run(setting, vec![Lane { work, in_flight, role: Role::Measured }])
}

struct Shared {
    setting: Setting,
    start: Barrier,
    stop: AtomicBool,
}

/// Times of the measured part of a run.
struct Taken {
    time: Duration,
    server: Option<Duration>,
    client: Duration,
    machine: Duration,
}

impl Shared {
    /// Takes the CPU times around the measured part of the run.
    fn watch(&self, ends: &mpsc::Receiver<bool>, lanes: usize) -> Outcome<Taken> {
        thread::sleep(self.setting.warm_up);
        let began = Instant::now();
        let server = self.setting.pid.map(CpuTime::of).transpose()?;
        let (client, machine) = (cpu::own(), cpu::of_machine()?);
        for _ in 0..lanes {
            let left = self.setting.time.saturating_sub(began.elapsed());
            // A lane that failed ends the run; so does the time.
            if !matches!(ends.recv_timeout(left), Ok(true)) {
                break;
            }
        }
        let time = began.elapsed();
        let server = server.map(|before| before.until_now()).transpose()?;
        let client = cpu::own().saturating_sub(client);
        Ok(Taken { time, server, client, machine: cpu::of_machine()?.saturating_sub(machine) })
    }
}

fn join(threads: Vec<ScopedJoinHandle<'_, Outcome<(Measured, Connection)>>>) -> Outcome<Measured> {
    let mut all = Measured::default();
    let mut failed = None;
    for thread in threads {
        match thread.join().unwrap_or_else(|_| Err(Failure::said("a thread of the load panicked"))) {
            Ok((counted, _)) => {
                all.units += counted.units;
                all.bytes += counted.bytes;
                all.latency.merge(&counted.latency);
            }
            Err(failure) => failed = failed.or(Some(failure)),
        }
    }
    failed.map_or(Ok(all), Err)
}

/// Open until the CPU time is taken: a server's thread that ends with its connection takes its time with it.
type Connection = (Outbox, Inbox);

/// One connection's life.
fn drive(shared: &Shared, lane: Lane<'_>) -> Outcome<(Measured, Connection)> {
    let prepared = prepare(shared, lane.role);
    shared.start.wait();
    let (mut out, mut inbox) = prepared?;
    let counts_from = Instant::now() + shared.setting.warm_up;
    let counts_until = counts_from + shared.setting.time;
    let mut counted = Measured::default();
    let mut began = vec![None; lane.in_flight];
    let mut idle: Vec<usize> = (0..lane.in_flight).collect();
    let mut in_flight = 0;
    let mut now = Instant::now();
    loop {
        let is_over = now >= counts_until || shared.stop.load(Ordering::Relaxed);
        for slot in idle.drain(..) {
            // A unit that has begun is brought to its end, so that nothing half-done is left behind.
            if is_over && began[slot].is_none() {
                continue;
            }
            out.choose_slot(slot);
            if lane.work.call(slot, &mut out)? {
                began[slot].get_or_insert(now);
                in_flight += 1;
            }
        }
        if in_flight == 0 {
            return Ok((counted, (out, inbox)));
        }
        out.flush()?;
        if !inbox.receive()? {
            return Err(Failure::said("the server ended the connection"));
        }
        now = Instant::now();
        while let Some(place) = inbox.next_record()? {
            let (slot, progress) = judge(lane.work, inbox.record(place))?;
            in_flight -= 1;
            idle.push(slot);
            let Progress::Done { units, bytes } = progress else { continue };
            let Some(since) = began.get_mut(slot).and_then(Option::take) else {
                return Err(Failure::said("a reply to no call"));
            };
            if now < counts_from || now >= counts_until {
                continue;
            }
            // Those of a stream in the background too: how much the measured calls were beside.
            counted.bytes += bytes;
            if lane.role == Role::Measured {
                counted.units += units;
                counted.latency.add(now - since);
            }
        }
    }
}

/// What a thread sends at a time that others of its core must not wait for: some microseconds.
const BACKGROUND_PIECE_BYTES: usize = 32 << 10;
/// The lowest priority there is.
const NICE_MAX: i32 = 19;

fn prepare(shared: &Shared, role: Role) -> Outcome<Connection> {
    if let Some(id) = shared.setting.client_core
        && !core_affinity::set_for_current(core_affinity::CoreId { id })
    {
        return Err(Failure::Said(format!("the client can't be pinned to core {id}")));
    }
    if role == Role::Background {
        // What is measured must not wait for this thread on the client's own core.
        shard::system::step_back(NICE_MAX)?;
    }
    let stream = pipe::connect(shared.setting.server)?;
    let inbox = Inbox::new(stream.try_clone()?);
    let mut out = Outbox::new(stream, nfs3::PROGRAM, nfs3::VERSION)?;
    if role == Role::Background {
        out.send_in_pieces(BACKGROUND_PIECE_BYTES);
    }
    Ok((out, inbox))
}

#[inline]
fn judge(work: &mut dyn Work, record: &[u8]) -> Outcome<(usize, Progress)> {
    let mut r = Reader::new(record);
    let header: ReplyHeader<'_> = r.decode()?;
    if !header.is_success() {
        return Err(Failure::Said(format!("the call was not accepted: {:?}", header.body)));
    }
    let slot = pipe::slot_of(header.xid);
    Ok((slot, work.reply(slot, &mut r)?))
}
