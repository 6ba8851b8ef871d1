//! One connection: a task that reads calls, a task that sends replies, and what they share.
//!
//! Caller: [`super::core`] opens it with a socket that the acceptor handed over. Each complete
//! record of the receive buffer is served before the next read; the replies of a turn leave in one
//! vectored send. Record marking: RFC 5531 11.
//! Promises: bounded requests, reply bytes and memory, looked at before a call is served; a connection
//! that has much to do gives way to the others after [`TURN_NANOS`], and one that is new or had much to do begins in
//! the line; a peer that stalls in the middle
//! of a record, or does not take its replies, is closed after a stated time; what is counted is
//! released by drop.

use super::accept::Seat;
use super::buffers::SMALL_BYTES;
use super::core::Core;
use super::dispatch;
use super::gate::Gate;
use super::reply::{Ended, Memory, Reply};
use super::socket::{Close, Receive, Socket, Transmit};
use super::window::Window;
use cache::block::Gather;
use cache::world::LocalFuture;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::rc::Rc;
use wire::record::{self, RecordError, Step};

/// Longest call in bytes: a WRITE of 1 MiB and its header, with room.
pub const RECORD_BYTES_MAX: usize = (1 << 20) + (64 << 10);
/// Memory that a connection has in any case: its buffer, its tasks, and one small call. The core's
/// budget is not for it; the number of connections is limited.
pub const OWN_BYTES: usize = SMALL_BYTES + TASKS_BYTES + SMALL_CALL_BYTES;
const TASKS_BYTES: usize = 4096;
/// A connection that holds nothing is always served a call that needs no more than this, with its
/// reply: others that hold all they can do not stop it.
const SMALL_CALL_BYTES: usize = 8192;
/// Memory of a request that waits, beside its call and its answer.
const TICKET_BYTES: usize = 1024;
/// Calls that need no more than this, with their replies, are not looked at while there is as much room.
const AMPLE_BYTES: usize = 4 << 20;
/// How long a connection's calls are served while others wait.
const TURN_NANOS: u64 = 100_000;
/// Bytes by which a slow record or reply counts as moving.
const PROGRESS_BYTES: usize = 64 * 1024;

/// What the tasks and the requests of one connection share.
pub struct Connection {
    /// The core that it lives on.
    pub core: Rc<Core>,
    /// The client.
    pub peer: IpAddr,
    /// Names the client in the duplicate-request cache, whatever its port.
    pub client: u64,
    key: usize,
    closer: Box<dyn Close>,
    state: Cell<State>,
    replies: RefCell<Gather>,
    /// The writer waits here for replies.
    has_replies: Gate,
    /// The reader waits here for room.
    has_room: Gate,
    /// What the call at hand waits for in the receive buffer.
    held_until: Cell<Option<LocalFuture<()>>>,
    /// Requests under way.
    requests: Cell<usize>,
    /// Bytes of requests under way and of replies not yet sent.
    held: Cell<usize>,
    receiving: Stall,
    sending: Stall,
    active: Cell<u32>,
    /// What it asked for last was done in one turn: it need not wait in the line for its next one.
    is_modest: Cell<bool>,
    _seat: Seat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Calls are read.
    Open,
    /// Nothing more is read; what was is answered.
    Draining,
    /// Over.
    Closed,
}

/// Begins to serve a socket. Fails where the event loop does not take it.
pub(crate) fn open(core: &Rc<Core>, socket: impl Socket, peer: IpAddr, seat: Seat) -> io::Result<()> {
    let (receiver, sender, closer) = socket.split()?;
    let connection = Rc::new_cyclic(|weak| Connection {
        core: core.clone(),
        peer: peer.to_canonical(),
        client: core.handles.client(peer.to_canonical()),
        key: core.enroll(weak.clone()),
        closer,
        state: Cell::new(State::Open),
        replies: RefCell::new(Gather::new()),
        has_replies: Gate::default(),
        has_room: Gate::default(),
        held_until: Cell::default(),
        requests: Cell::new(0),
        held: Cell::new(0),
        receiving: Stall::default(),
        sending: Stall::default(),
        active: Cell::new(core.seconds()),
        is_modest: Cell::new(false),
        _seat: seat,
    });
    core.world.spawn(Box::pin(read(connection.clone(), receiver)));
    core.world.spawn(Box::pin(write(connection, sender)));
    Ok(())
}

/// The reader's task.
async fn read(connection: Rc<Connection>, mut receiver: impl Receive) {
    let mut input = Input::new(connection.core.clone());
    let mut window = Window::new(connection.core.clone());
    while let Ok(missing) = serve(&connection, &mut input).await {
        if !input.make_room(&connection, missing).await {
            break;
        }
        let bytes = receive(&connection, &mut receiver, &mut input).await;
        if bytes == 0 {
            break;
        }
        if window.opens(bytes)
            && let Err(error) = connection.closer.widen()
        {
            tracing::debug!(%error, peer = %connection.peer, "a receive window stays as it is");
        }
    }
    connection.drain();
}

/// Serves every complete record that was received, and says how many bytes the next one misses.
async fn serve(connection: &Rc<Connection>, input: &mut Input) -> Result<usize, RecordError> {
    let core = &connection.core;
    let mut since = core.nanos();
    let mut turn_ends = since + TURN_NANOS;
    let (mut served, mut gave_way) = (false, false);
    let missing = loop {
        let body = match input.next_record() {
            Ok(Some(body)) if connection.is_open() => body,
            Ok(_) => break input.missing,
            Err(broken) => {
                core.stats.dropped.add(1);
                connection.flush();
                return Err(broken);
            }
        };
        let must_wait = !served && !connection.is_modest.get() && !core.begin_turn();
        if must_wait || since > turn_ends || !connection.has_room_for(input.message(&body)) {
            core.rest();
            connection.flush();
            connection.wait_to_go_on(input.message(&body)).await;
            since = core.nanos();
            turn_ends = since + TURN_NANOS;
            gave_way = true;
        }
        served = true;
        while connection.is_open() {
            since = dispatch::serve(connection, input.message(&body), since);
            let Some(room) = connection.held_until.take() else { break };
            connection.wait_for(room).await;
            since = core.nanos();
        }
    };
    if served {
        connection.is_modest.set(!gave_way);
    }
    core.rest();
    connection.flush();
    Ok(missing)
}

/// Reads what has arrived, and says how many bytes; 0 when nothing more will come.
async fn receive(connection: &Connection, receiver: &mut impl Receive, input: &mut Input) -> usize {
    if !connection.is_open() {
        return 0;
    }
    let seconds = connection.core.seconds();
    match input.is_empty() {
        true => connection.receiving.stop(),
        false => connection.receiving.start(seconds),
    }
    let buffer = std::mem::take(&mut input.buffer);
    let (result, buffer) = receiver.receive(buffer).await;
    input.buffer = buffer;
    let seconds = connection.core.seconds();
    connection.active.set(seconds);
    match result {
        Ok(bytes) => {
            connection.receiving.progress(bytes, seconds);
            bytes
        }
        Err(_) => 0,
    }
}

/// The writer's task.
async fn write(connection: Rc<Connection>, mut sender: impl Transmit) {
    loop {
        connection.has_replies.until(|| !connection.replies.borrow().is_empty() || connection.is_drained()).await;
        if connection.is_closed() || connection.replies.borrow().is_empty() {
            break;
        }
        let mut sending = connection.replies.take().seal();
        connection.sending.start(connection.core.seconds());
        while sending.remaining() > 0 {
            let (result, rest) = sender.send(sending).await;
            sending = rest;
            match result {
                Ok(bytes) if bytes > 0 => {
                    sending.advance(bytes);
                    connection.sent(bytes);
                }
                Ok(_) | Err(_) => return connection.close(),
            }
        }
        connection.sending.stop();
        connection.release(sending.surplus_bytes());
        connection.core.buffers.give_back_list(sending.reuse());
    }
    connection.close();
}

impl Connection {
    /// Appends a reply that `write` makes; the writer's task sends it at the end of the turn.
    /// Returns its bytes.
    pub(crate) fn append(&self, write: impl FnOnce(&mut Reply<'_>)) -> usize {
        let mut replies = self.replies.borrow_mut();
        if replies.is_bare() {
            *replies = self.core.buffers.list();
        }
        let (bytes, held) = (replies.bytes(), replies.held_bytes());
        let memory = if self.core.room() < AMPLE_BYTES { Memory::Tight } else { Memory::Ample };
        write(&mut Reply::new(&mut replies, memory));
        self.hold(replies.held_bytes() - held);
        replies.bytes() - bytes
    }

    /// Wakes the writer's task if there is something to send.
    fn flush(&self) {
        if !self.has_replies.is_idle() && !self.replies.borrow().is_empty() {
            self.has_replies.notify();
        }
    }

    /// The peer took `bytes` bytes of replies.
    fn sent(&self, bytes: usize) {
        let seconds = self.core.seconds();
        self.sending.progress(bytes, seconds);
        self.active.set(seconds);
        self.release(bytes);
    }

    fn hold(&self, bytes: usize) {
        self.held.set(self.held.get() + bytes);
        self.core.hold(bytes);
    }

    fn release(&self, bytes: usize) {
        self.held.set(self.held.get().saturating_sub(bytes));
        self.core.release(bytes);
        self.has_room.notify();
    }

    /// Whether this call may be served now.
    #[inline]
    fn has_room_for(&self, message: &[u8]) -> bool {
        let limits = &self.core.limits;
        let room = self.core.room();
        let left = room.min(limits.connection_bytes_max).saturating_sub(self.held.get());
        self.requests.get() < limits.requests_max
            && (left >= AMPLE_BYTES || {
                let bytes = message.len() + dispatch::reply_bytes_max(message);
                // A connection that holds nothing may also do what alone is more than its limit.
                bytes <= left || (self.is_quiet() && bytes <= room.max(SMALL_CALL_BYTES))
            })
    }

    /// Waits for room for this call and then for a turn, until there is room when the turn comes: however many
    /// connections get room at the same time, one of them goes on each time the event loop comes around.
    async fn wait_to_go_on(&self, message: &[u8]) {
        loop {
            self.wait_for_room(message).await;
            self.core.wait_for_turn().await;
            if self.has_room_for(message) || !self.is_open() {
                return;
            }
        }
    }

    /// Waits until this call may be served: for the connection's own replies to leave, and then for
    /// memory of the core.
    async fn wait_for_room(&self, message: &[u8]) {
        if self.has_room_for(message) {
            return;
        }
        self.core.stats.stalls.add(1);
        self.receiving.stop();
        let has_room = || self.has_room_for(message) || !self.is_open();
        while !has_room() {
            self.has_room.until(|| has_room() || self.is_quiet()).await;
            self.core.wait_for_memory(has_room).await;
        }
    }

    /// The call that is being served waits for `room` in the receive buffer.
    pub(crate) fn hold_calls(&self, room: LocalFuture<()>) {
        self.held_until.set(Some(room));
    }

    /// Serves a call that was copied, beside the reader, unless the connection is over.
    pub(crate) fn serve_copied(&self, serve: impl FnOnce()) {
        if self.is_closed() {
            return;
        }
        serve();
        assert!(self.held_until.take().is_none(), "only the reader's calls wait in the receive buffer");
        self.core.rest();
        self.flush();
    }

    /// Reads nothing meanwhile. The peer is not to blame for that time.
    async fn wait_for(&self, room: LocalFuture<()>) {
        self.core.stats.stalls.add(1);
        self.receiving.stop();
        self.core.rest();
        self.flush();
        room.await;
    }

    /// Neither requests under way nor replies to be sent.
    fn is_quiet(&self) -> bool {
        self.requests.get() == 0 && self.held.get() == 0
    }

    fn is_open(&self) -> bool {
        self.state.get() == State::Open
    }

    fn is_closed(&self) -> bool {
        self.state.get() == State::Closed
    }

    /// Whether no reply will come any more.
    fn is_drained(&self) -> bool {
        self.is_closed() || (self.state.get() == State::Draining && self.requests.get() == 0)
    }

    /// Reads nothing more, answers what was read, then closes.
    pub(crate) fn drain(&self) {
        if self.is_open() {
            self.state.set(State::Draining);
            self.closer.close_receiving();
        }
        self.wake();
    }

    /// Ends it now; replies that were not sent are lost.
    pub(crate) fn close(&self) {
        self.state.set(State::Closed);
        self.closer.close();
        self.wake();
    }

    /// Its tasks look at the state, wherever they wait.
    fn wake(&self) {
        self.has_room.notify();
        self.has_replies.notify();
    }

    /// Closes it when its peer has stalled or been idle for too long.
    pub(crate) fn expire(&self, seconds: u32) {
        let limits = &self.core.limits;
        let stalled = self.receiving.is_over(seconds, limits.record_stall_secs)
            || self.sending.is_over(seconds, limits.send_stall_secs);
        let idle = self.is_quiet() && seconds.saturating_sub(self.active.get()) > limits.idle_secs;
        if stalled {
            self.core.stats.dropped.add(1);
        }
        if stalled || idle {
            self.close();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.core.release(self.held.get());
        self.core.dismiss(self.key);
    }
}

/// A request that waits for a disk, a log or the ledger. Dropped without an answer it releases what
/// it counted, and the client will ask again.
pub struct Ticket {
    connection: Rc<Connection>,
    /// Where the answer is counted.
    row: usize,
    xid: u32,
    since: u64,
    bytes: usize,
}

impl Ticket {
    /// A ticket for a request that holds `bytes` bytes, its answer included as far as it is known.
    pub(crate) fn new(connection: &Rc<Connection>, row: usize, xid: u32, since: u64, bytes: usize) -> Ticket {
        let bytes = bytes + TICKET_BYTES;
        connection.requests.set(connection.requests.get() + 1);
        connection.hold(bytes);
        connection.core.stats.in_flight.rise(1);
        Ticket { connection: connection.clone(), row, xid, since, bytes }
    }

    /// Answers the request.
    pub(crate) fn answer(self, write: impl FnOnce(&mut Reply<'_>) -> Ended) {
        let connection = &self.connection;
        if connection.is_closed() {
            return;
        }
        let mut outcome = Ok(Ended::Failed);
        let bytes = connection.append(|reply| outcome = reply.results(self.xid, |reply| Ok(write(reply))));
        let nanos = connection.core.nanos().saturating_sub(self.since);
        connection.core.stats.rows[self.row].answered(outcome != Ok(Ended::Well), bytes, nanos);
        connection.has_replies.notify();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.requests.set(connection.requests.get() - 1);
        connection.core.stats.in_flight.fall(1);
        connection.release(self.bytes);
        if connection.is_drained() {
            connection.has_replies.notify();
        }
    }
}

/// What has been received and not been served.
struct Input {
    core: Rc<Core>,
    buffer: Vec<u8>,
    /// Where the next record begins.
    head: usize,
    /// Bytes that the record at `head` misses.
    missing: usize,
    /// Bytes of the core's budget that the large buffer stands for.
    reserved: usize,
}

impl Input {
    fn new(core: Rc<Core>) -> Input {
        let buffer = core.buffers.small();
        Input { core, buffer, head: 0, missing: 0, reserved: 0 }
    }

    fn is_empty(&self) -> bool {
        self.head >= self.buffer.len()
    }

    /// Where the next complete record is; see [`Input::message`].
    fn next_record(&mut self) -> Result<Option<Range<usize>>, RecordError> {
        let head = self.head;
        let received = self.buffer.get_mut(head..).unwrap_or_default();
        match record::next_record(received, RECORD_BYTES_MAX)? {
            Step::More { missing } => {
                self.missing = missing;
                Ok(None)
            }
            Step::Record { body, consumed } => {
                self.head += consumed;
                Ok(Some(head + body.start..head + body.end))
            }
        }
    }

    /// A record that was found; it stays until there is room to be made.
    fn message(&self, body: &Range<usize>) -> &[u8] {
        self.buffer.get(body.clone()).unwrap_or_default()
    }

    /// Makes room in the buffer for more of the record that misses `missing` bytes. Where that takes a
    /// larger one it waits for the memory. `false` when the record can never fit.
    async fn make_room(&mut self, connection: &Connection, missing: usize) -> bool {
        if self.is_empty() {
            self.rest();
            return true;
        }
        let arrived = self.buffer.len() - self.head;
        let wanted = arrived + missing;
        if self.head > 0 && (self.buffer.capacity() - self.head < wanted || self.buffer.len() == self.buffer.capacity())
        {
            self.buffer.drain(..self.head);
            self.head = 0;
        }
        if self.buffer.len() < self.buffer.capacity() {
            return true;
        }
        if self.buffer.capacity() >= self.core.buffers.large_bytes() {
            return false;
        }
        self.reserve(connection, wanted).await;
        let full = std::mem::take(&mut self.buffer);
        self.buffer = self.core.buffers.grown(full, self.head, self.reserved);
        self.head = 0;
        true
    }

    /// Takes from the core's budget what the record at `head` will need in the end: whoever has begun
    /// to read one does not wait for memory in the middle of it.
    async fn reserve(&mut self, connection: &Connection, wanted: usize) {
        let is_last = record::is_last_fragment(self.buffer.get(self.head..).unwrap_or_default());
        let wanted = if is_last { wanted } else { usize::MAX };
        let core = self.core.clone();
        if self.reserved == 0 {
            // The peer is not to blame for the time. It is where it holds memory while it waits.
            connection.receiving.stop();
        }
        let missing = || core.buffers.growth(wanted).saturating_sub(self.reserved);
        let has_room = || core.room() >= missing() || !connection.is_open();
        core.stats.stalls.add(u64::from(!has_room()));
        core.wait_for_memory(has_room).await;
        let bytes = missing();
        core.hold(bytes);
        self.reserved += bytes;
    }

    /// Everything is served: a large buffer goes back to the core.
    fn rest(&mut self) {
        self.buffer.clear();
        self.head = 0;
        if self.reserved > 0 {
            self.core.release(std::mem::take(&mut self.reserved));
            let large = std::mem::replace(&mut self.buffer, self.core.buffers.small());
            self.core.buffers.give_back(large);
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.core.release(self.reserved);
        self.core.buffers.give_back(std::mem::take(&mut self.buffer));
    }
}

/// Since when the peer owes something; 0 when it does not.
#[derive(Default)]
struct Stall {
    since: Cell<u32>,
    bytes: Cell<usize>,
}

impl Stall {
    fn start(&self, seconds: u32) {
        if self.since.get() == 0 {
            self.since.set(seconds);
            self.bytes.set(0);
        }
    }

    fn stop(&self) {
        self.since.set(0);
    }

    /// Some bytes moved. A trickle does not count: the time begins anew after [`PROGRESS_BYTES`].
    fn progress(&self, bytes: usize, seconds: u32) {
        let moved = self.bytes.get() + bytes;
        let counts = moved >= PROGRESS_BYTES;
        self.bytes.set(if counts { 0 } else { moved });
        if counts && self.since.get() != 0 {
            self.since.set(seconds);
        }
    }

    fn is_over(&self, seconds: u32, max_secs: u32) -> bool {
        let since = self.since.get();
        since != 0 && seconds.saturating_sub(since) > max_secs
    }
}

#[cfg(test)]
#[path = "conn_tests.rs"]
mod tests;
