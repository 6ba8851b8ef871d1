//! Connections over a socket in memory, with time by hand.

use super::super::window::{WIDE_AFTER_BYTES, WIDE_MAX, Window};
use super::*;
use crate::net::core::Limits;
use crate::net::handle::HandleKey;
use crate::net::socket::Halves;
use crate::policy::{Exports, ExportsCell};
use cache::block::Sending;
use cache::world::{LocalFuture, Time, World};
use futures_util::task::{ArcWake, waker};
use monoio::buf::IoVecBuf;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use wire::rpc::{CallHeader, OpaqueAuth};
use wire::xdr::encode_vec;

/// Runs tasks when it is told to, in the order in which they were spawned.
#[derive(Default)]
struct HandWorld {
    tasks: RefCell<Vec<(Arc<Flag>, LocalFuture<()>)>>,
    fresh: RefCell<Vec<LocalFuture<()>>>,
    nanos: Cell<u64>,
    /// What each look at the clock takes.
    call_nanos: Cell<u64>,
}

struct Flag(AtomicBool);

impl ArcWake for Flag {
    fn wake_by_ref(flag: &Arc<Flag>) {
        flag.0.store(true, Ordering::Relaxed);
    }
}

impl HandWorld {
    fn run(&self) {
        self.run_until(|| false);
    }

    fn run_until(&self, is_enough: impl Fn() -> bool) {
        for _ in 0..POLLS_MAX {
            if is_enough() {
                return;
            }
            let fresh = self.fresh.take();
            let flag = || Arc::new(Flag(AtomicBool::new(true)));
            self.tasks.borrow_mut().extend(fresh.into_iter().map(|task| (flag(), task)));
            let mut polled = false;
            self.tasks.borrow_mut().retain_mut(|(flag, task)| {
                if !flag.0.swap(false, Ordering::Relaxed) {
                    return true;
                }
                polled = true;
                task.as_mut().poll(&mut Context::from_waker(&waker(flag.clone()))).is_pending()
            });
            if !polled && self.fresh.borrow().is_empty() {
                return;
            }
        }
        panic!("the tasks never come to rest");
    }

    fn tasks(&self) -> usize {
        self.tasks.borrow().len()
    }
}

const POLLS_MAX: usize = 100_000;

impl World for HandWorld {
    fn now(&self) -> Time {
        Time::default()
    }
    fn monotonic(&self) -> Duration {
        self.nanos.set(self.nanos.get() + self.call_nanos.get());
        Duration::from_nanos(self.nanos.get())
    }
    fn pause(&self) -> LocalFuture<()> {
        let mut rounds = 0..1;
        Box::pin(poll_fn(move |cx| match rounds.next() {
            Some(_) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => Poll::Ready(()),
        }))
    }
    fn sleep(&self, _: Duration) -> LocalFuture<()> {
        Box::pin(std::future::pending())
    }
    fn spawn(&self, task: LocalFuture<()>) {
        self.fresh.borrow_mut().push(task);
    }
    fn random(&self) -> u64 {
        4
    }
}

/// Both directions of a connection, and the peer's hands on them.
#[derive(Default)]
struct Pipe {
    to_server: RefCell<VecDeque<u8>>,
    from_server: RefCell<Vec<u8>>,
    /// Bytes that the peer still takes.
    window: Cell<usize>,
    ended: Cell<bool>,
    broken: Cell<bool>,
    changed: Gate,
    receives: Cell<usize>,
    sends: Cell<usize>,
    widened: Cell<usize>,
}

struct HandSocket(Rc<Pipe>);

impl Socket for HandSocket {
    type Receiver = HandSocket;
    type Sender = HandSocket;

    fn split(self) -> io::Result<Halves<HandSocket, HandSocket>> {
        Ok((HandSocket(self.0.clone()), HandSocket(self.0.clone()), Box::new(self)))
    }
}

impl Receive for HandSocket {
    async fn receive(&mut self, mut buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        let pipe = &self.0;
        pipe.receives.set(pipe.receives.get() + 1);
        pipe.changed.until(|| !pipe.to_server.borrow().is_empty() || pipe.ended.get() || pipe.broken.get()).await;
        let free = buffer.capacity() - buffer.len();
        assert!(free > 0, "a read without room would look like the end of the stream");
        let mut waiting = pipe.to_server.borrow_mut();
        let bytes = free.min(waiting.len());
        buffer.extend(waiting.drain(..bytes));
        (Ok(bytes), buffer)
    }
}

impl Transmit for HandSocket {
    async fn send(&mut self, sending: Sending) -> (io::Result<usize>, Sending) {
        let pipe = &self.0;
        pipe.sends.set(pipe.sends.get() + 1);
        pipe.changed.until(|| pipe.window.get() > 0 || pipe.broken.get()).await;
        if pipe.broken.get() {
            return (Err(io::ErrorKind::BrokenPipe.into()), sending);
        }
        let bytes = pipe.window.get().min(sending.remaining());
        assert!(sending.read_iovec_len() > 0);
        pipe.window.set(pipe.window.get() - bytes);
        pipe.from_server.borrow_mut().extend(std::iter::repeat_n(0, bytes));
        (Ok(bytes), sending)
    }
}

impl Close for HandSocket {
    fn close_receiving(&self) {
        self.0.ended.set(true);
        self.0.changed.notify();
    }

    fn close(&self) {
        self.0.broken.set(true);
        self.0.changed.notify();
    }

    fn widen(&self) -> io::Result<()> {
        self.0.widened.set(self.0.widened.get() + 1);
        Ok(())
    }
}

struct Lab {
    world: Rc<HandWorld>,
    core: Rc<Core>,
}

impl Lab {
    fn new(limits: Limits) -> Lab {
        let world = Rc::new(HandWorld::default());
        let exports = Arc::new(ExportsCell::new(Exports::default()));
        let core = Rc::new(Core::new(0, world.clone(), limits, exports, HandleKey::new(&[1; 16])));
        Lab { world, core }
    }

    fn connect(&self) -> Rc<Pipe> {
        let pipe = Rc::new(Pipe::default());
        pipe.window.set(usize::MAX);
        let peer = "127.0.0.1".parse().unwrap();
        open(&self.core, HandSocket(pipe.clone()), peer, Seat::take(Vec::new())).unwrap();
        self.world.run();
        pipe
    }

    fn send(&self, pipe: &Pipe, bytes: &[u8]) {
        pipe.to_server.borrow_mut().extend(bytes);
        pipe.changed.notify();
        self.world.run();
    }

    fn wait(&self, seconds: u32) {
        for _ in 0..seconds {
            self.core.tick();
            self.world.run();
        }
    }

    fn connection(&self) -> Rc<Connection> {
        self.core.connections().pop().expect("one is open")
    }
}

impl Default for Lab {
    fn default() -> Lab {
        Lab::new(Limits::default())
    }
}

fn call(program: u32, version: u32, procedure: u32) -> Vec<u8> {
    let (cred, verf) = (OpaqueAuth::NONE, OpaqueAuth::NONE);
    marked(&encode_vec(&CallHeader { xid: 7, program, version, procedure, cred, verf }))
}

fn null() -> Vec<u8> {
    call(wire::nfs3::PROGRAM, 3, 0)
}

fn marked(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 | (1 << 31)).to_be_bytes(), body].concat()
}

/// Bytes of a reply without results, its mark included.
const NULL_REPLY: usize = 28;

#[test]
fn calls_that_came_together_are_answered_in_one_send() {
    let lab = Lab::default();
    let pipe = lab.connect();
    lab.send(&pipe, &null().repeat(100));
    assert_eq!(pipe.from_server.borrow().len(), 100 * NULL_REPLY);
    assert_eq!(pipe.sends.get(), 1);
    assert_eq!(lab.core.stats.rows[0].calls.value(), 100);
    assert_eq!(lab.core.stats.bytes_held.value(), 0);
}

#[test]
fn a_call_in_single_bytes_is_answered_once_it_is_complete() {
    let lab = Lab::default();
    let pipe = lab.connect();
    for &byte in &null() {
        assert!(pipe.from_server.borrow().is_empty());
        lab.send(&pipe, &[byte]);
    }
    assert_eq!(pipe.from_server.borrow().len(), NULL_REPLY);
}

#[test]
fn records_of_every_size_pass_and_memory_is_given_back() {
    let lab = Lab::default();
    let pipe = lab.connect();
    let header = null()[4..].to_vec();
    let mut stream = Vec::new();
    let sizes = [40, 32_000, 32_764, 32_765, 33_000, 131_072, 600_000, 1_000_000, RECORD_BYTES_MAX];
    for _ in 0..2 {
        for bytes in sizes {
            stream.extend(marked(&[&header[..], &vec![5; bytes - 40]].concat()));
        }
    }
    lab.send(&pipe, &stream);
    assert_eq!(pipe.from_server.borrow().len(), 2 * sizes.len() * NULL_REPLY);
    assert_eq!(lab.core.stats.bytes_held.value(), 0);
}

#[test]
fn a_connection_that_brings_much_gets_a_wide_window_once_and_not_all_do() {
    let lab = Lab::default();
    let pipe = lab.connect();
    let large = marked(&[&null()[4..], &vec![5; (1 << 20) - 40]].concat());
    for count in 1..=20 {
        lab.send(&pipe, &large);
        assert_eq!(pipe.widened.get(), usize::from(count * large.len() as u64 >= WIDE_AFTER_BYTES), "{count}");
    }
    let mut others: Vec<_> = (1..WIDE_MAX).map(|_| Window::new(lab.core.clone())).collect();
    assert!(others.iter_mut().all(|other| other.opens(WIDE_AFTER_BYTES as usize)));
    let mut last = Window::new(lab.core.clone());
    assert!(!last.opens(WIDE_AFTER_BYTES as usize), "a core has no more of them");
    pipe.ended.set(true);
    lab.send(&pipe, &[]);
    assert!(last.opens(1), "one is over");
}

#[test]
fn a_claimed_length_allocates_nothing() {
    let lab = Lab::default();
    let pipe = lab.connect();
    lab.send(&pipe, &(RECORD_BYTES_MAX as u32 | (1 << 31)).to_be_bytes());
    lab.send(&pipe, &[0; 1000]);
    assert_eq!(lab.core.stats.bytes_held.value(), 0);
}

#[test]
fn a_record_that_is_too_long_closes_the_connection() {
    let lab = Lab::default();
    let pipe = lab.connect();
    lab.send(&pipe, &[null(), ((RECORD_BYTES_MAX as u32 + 1) | (1 << 31)).to_be_bytes().to_vec()].concat());
    assert_eq!(pipe.from_server.borrow().len(), NULL_REPLY, "what came before is answered");
    assert!(pipe.broken.get());
    assert_eq!(lab.world.tasks(), 0);
    assert_eq!(lab.core.stats.connections.value(), 0);
    assert_eq!(lab.core.stats.dropped.value(), 1);
}

#[test]
fn a_record_that_is_no_call_closes_the_connection() {
    for no_call in [marked(&[0xFF; 8]), marked(&[]), marked(&[0; 8])] {
        let lab = Lab::default();
        let pipe = lab.connect();
        lab.send(&pipe, &[null(), no_call, null()].concat());
        assert_eq!(pipe.from_server.borrow().len(), NULL_REPLY, "what came before is answered");
        assert!(pipe.broken.get());
        assert_eq!(lab.world.tasks(), 0);
        assert_eq!(lab.core.stats.dropped.value(), 1);
    }
}

#[test]
fn a_record_that_stalls_is_closed_and_an_idle_connection_later() {
    let lab = Lab::default();
    let (stalled, idle) = (lab.connect(), lab.connect());
    lab.send(&stalled, &null()[..10]);
    lab.wait(30);
    assert!(!stalled.broken.get());
    lab.send(&stalled, &null()[10..11]);
    lab.wait(1);
    assert!(stalled.broken.get(), "a trickle is no progress");
    assert!(!idle.broken.get());
    lab.wait(15 * 60);
    assert!(idle.broken.get());
    assert_eq!(lab.world.tasks(), 0);
}

#[test]
fn a_peer_that_takes_no_replies_is_not_read_and_then_closed() {
    let limits = Limits { connection_bytes_max: 10 * NULL_REPLY, ..Limits::default() };
    let lab = Lab::new(limits);
    let pipe = lab.connect();
    pipe.window.set(0);
    lab.send(&pipe, &null().repeat(1000));
    let held = lab.core.stats.bytes_held.value() as usize;
    assert!(held <= limits.connection_bytes_max + NULL_REPLY, "{held}");
    pipe.window.set(usize::MAX);
    pipe.changed.notify();
    lab.world.run();
    assert_eq!(pipe.from_server.borrow().len(), 1000 * NULL_REPLY);

    pipe.window.set(0);
    lab.send(&pipe, &null());
    lab.wait(60);
    assert!(!pipe.broken.get());
    lab.wait(1);
    assert!(pipe.broken.get());
    assert_eq!(lab.core.stats.bytes_held.value(), 0);
}

#[test]
fn a_spent_budget_stops_reading_and_a_freed_one_goes_on() {
    let lab = Lab::new(Limits { core_bytes_max: 1000, ..Limits::default() });
    let pipe = lab.connect();
    lab.core.hold(1000);
    lab.send(&pipe, &null());
    assert_eq!(pipe.from_server.borrow_mut().drain(..).len(), NULL_REPLY, "a small call is always served");
    let large = marked(&[&null()[4..], &[5; SMALL_CALL_BYTES]].concat());
    lab.send(&pipe, &large);
    let receives = pipe.receives.get();
    lab.send(&pipe, &null());
    assert_eq!(pipe.receives.get(), receives, "not read while nothing is free");
    assert!(pipe.from_server.borrow().is_empty(), "nor answered");
    lab.core.release(1000);
    lab.world.run();
    assert_eq!(pipe.from_server.borrow().len(), 2 * NULL_REPLY);
}

#[test]
fn many_that_take_no_replies_leave_room_for_one_that_does() {
    let limits = Limits { core_bytes_max: 64 << 10, ..Limits::default() };
    let lab = Lab::new(limits);
    let greedy: Vec<_> = (0..200).map(|_| lab.connect()).collect();
    for pipe in &greedy {
        pipe.window.set(0);
        lab.send(pipe, &null().repeat(700));
    }
    let held = lab.core.stats.bytes_held.value() as usize;
    assert!(held <= limits.core_bytes_max + greedy.len() * SMALL_CALL_BYTES, "{held}");
    let honest = lab.connect();
    for count in 1..=10 {
        lab.send(&honest, &null());
        assert_eq!(honest.from_server.borrow().len(), count * NULL_REPLY);
    }
    lab.wait(61);
    assert!(greedy.iter().all(|pipe| pipe.broken.get()));
    assert_eq!(lab.core.stats.bytes_held.value(), 0);
    assert_eq!(lab.core.stats.connections.value(), 1);
}

#[test]
fn half_records_do_not_take_the_memory_that_other_records_need() {
    let limits = Limits { core_bytes_max: 16 << 20, ..Limits::default() };
    let lab = Lab::new(limits);
    let half = [&(RECORD_BYTES_MAX as u32 | (1 << 31)).to_be_bytes()[..], &[0; 40 << 10]].concat();
    let greedy: Vec<_> = (0..100).map(|_| lab.connect()).collect();
    greedy.iter().for_each(|pipe| lab.send(pipe, &half));
    let held = lab.core.stats.bytes_held.value() as usize;
    assert!(held <= limits.core_bytes_max, "{held}");
    let honest = lab.connect();
    let write = marked(&[&null()[4..], &[5; 64 << 10]].concat());
    lab.send(&honest, &write);
    assert_eq!(honest.from_server.borrow().len(), NULL_REPLY);
    lab.wait(1000);
    assert_eq!(lab.core.stats.bytes_held.value(), 0);
}

#[test]
fn a_long_burst_gives_way_to_others_and_goes_on() {
    let lab = Lab::default();
    let (burst, other) = (lab.connect(), lab.connect());
    lab.world.call_nanos.set(TURN_NANOS / 10);
    burst.to_server.borrow_mut().extend(null().repeat(600));
    burst.changed.notify();
    other.to_server.borrow_mut().extend(null());
    other.changed.notify();
    lab.world.run_until(|| !other.from_server.borrow().is_empty());
    let ahead = burst.from_server.borrow().len() / NULL_REPLY;
    assert!(ahead <= 24, "{ahead} calls of the burst came first");
    lab.world.run();
    assert_eq!(burst.from_server.borrow().len(), 600 * NULL_REPLY);
}

/// Many connections, and one that has asked for little; a turn is as long as ten calls.
fn crowd(lab: &Lab) -> (Vec<Rc<Pipe>>, Rc<Pipe>) {
    let bursts = (0..20).map(|_| lab.connect()).collect();
    let other = lab.connect();
    lab.send(&other, &null());
    lab.world.call_nanos.set(TURN_NANOS / 10);
    (bursts, other)
}

/// A call of the modest one does not wait for the bursts, which are answered in the end, `calls` each.
fn one_burst_comes_first(lab: &Lab, bursts: &[Rc<Pipe>], other: &Pipe, calls: usize) {
    let ahead = ahead_of(lab, bursts, other);
    assert!(ahead <= 24, "{ahead} calls of the bursts came first");
    lab.world.run();
    assert!(bursts.iter().all(|burst| burst.from_server.borrow().len() == calls * NULL_REPLY));
}

/// Answers a call on `other` beside what `bursts` have to do, and says how many of theirs came first.
fn ahead_of(lab: &Lab, bursts: &[Rc<Pipe>], other: &Pipe) -> u64 {
    let answered = other.from_server.borrow().len();
    let calls = lab.core.stats.rows[0].calls.value();
    bursts.iter().for_each(|burst| burst.changed.notify());
    other.to_server.borrow_mut().extend(null());
    other.changed.notify();
    lab.world.run_until(|| other.from_server.borrow().len() > answered);
    lab.core.stats.rows[0].calls.value() - calls
}

#[test]
fn of_many_new_connections_with_long_bursts_one_comes_before_a_modest_one() {
    let lab = Lab::default();
    let (bursts, other) = crowd(&lab);
    bursts.iter().for_each(|burst| burst.to_server.borrow_mut().extend(null().repeat(100)));
    one_burst_comes_first(&lab, &bursts, &other, 100);
}

#[test]
fn of_many_connections_that_get_room_at_once_one_comes_before_a_modest_one() {
    let lab = Lab::new(Limits { connection_bytes_max: 1000, ..Limits::default() });
    let (bursts, other) = crowd(&lab);
    for burst in &bursts {
        burst.window.set(0);
        lab.send(burst, &null().repeat(200));
    }
    bursts.iter().for_each(|burst| burst.window.set(usize::MAX));
    bursts.iter().for_each(|burst| burst.changed.notify());
    // The replies leave, and those who waited for that are woken.
    let is_first_round = Cell::new(true);
    lab.world.run_until(|| !is_first_round.replace(false));
    one_burst_comes_first(&lab, &bursts, &other, 200);
}

#[test]
fn requests_under_way_are_limited_and_answered_by_their_tickets() {
    let lab = Lab::new(Limits { requests_max: 2, ..Limits::default() });
    let pipe = lab.connect();
    let connection = lab.connection();
    let first = Ticket::new(&connection, 0, 1, 0, 100);
    let second = Ticket::new(&connection, 0, 2, 0, 100);
    lab.send(&pipe, &null());
    assert!(pipe.from_server.borrow().is_empty(), "no room for a third");
    first.answer(|_| Ended::Well);
    drop(second);
    lab.world.run();
    assert_eq!(pipe.from_server.borrow().len(), 2 * NULL_REPLY);
    assert_eq!(lab.core.stats.in_flight.value(), 0);
    assert_eq!(lab.core.stats.bytes_held.value(), 0);
}

#[test]
fn the_end_of_the_stream_lets_requests_under_way_be_answered() {
    let lab = Lab::default();
    let pipe = lab.connect();
    let ticket = Ticket::new(&lab.connection(), 0, 1, 0, 0);
    lab.send(&pipe, &null());
    HandSocket(pipe.clone()).close_receiving();
    lab.world.run();
    assert!(!pipe.broken.get());
    ticket.answer(|_| Ended::Well);
    lab.world.run();
    assert_eq!(pipe.from_server.borrow().len(), 2 * NULL_REPLY);
    assert!(pipe.broken.get());
    assert_eq!(lab.world.tasks(), 0);
}

#[test]
fn an_answer_after_the_end_goes_nowhere() {
    let lab = Lab::default();
    lab.connect();
    let ticket = Ticket::new(&lab.connection(), 0, 1, 0, 10);
    lab.core.close();
    lab.world.run();
    ticket.answer(|_| Ended::Well);
    lab.world.run();
    assert_eq!(lab.world.tasks(), 0);
    assert_eq!(lab.core.stats.connections.value(), 0);
    assert_eq!(lab.core.stats.bytes_held.value(), 0);
}
