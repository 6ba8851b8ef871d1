//! A simulated network: connections are two streams of bytes, each in order, cut into random segments that take
//! random time. A link may be cut at any moment: bytes under way are lost, and each end notices later.
//!
//! Callers: [`super::server`] (its end is a [`Socket`]) and [`super::client`] (its end is [`Link`] itself).

use crate::net::gate::Gate;
use crate::net::socket::{Close, Halves, Receive, Socket, Transmit};
use cache::block::Sending;
use cache::sim::{Rng, SimWorld};
use cache::world::World;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Most time that a segment takes.
    pub(crate) latency_us_max: u64,
    /// Once in so many sends the link is cut in the middle of it; 0 for never.
    pub(crate) cut_one_in: u64,
    /// Whether streams are cut into segments.
    pub(crate) is_choppy: bool,
    /// Once in so many a WRITE comes once more, late: maybe after its answer, and after others; 0 for never.
    pub(crate) late_one_in: u64,
}

impl Weather {
    /// Nothing is lost and hardly anything takes time.
    pub(crate) const FAIR: Weather = Weather { latency_us_max: 20, cut_one_in: 0, is_choppy: false, late_one_in: 0 };
}

/// One connection.
pub(crate) struct Link {
    world: SimWorld,
    rng: RefCell<Rng>,
    weather: Weather,
    to_server: Way,
    to_client: Way,
    /// The server has let go of it, with every request that came by it.
    is_over: Cell<bool>,
}

/// One direction.
#[derive(Default)]
struct Way {
    segments: RefCell<VecDeque<(Duration, Segment)>>,
    /// When the newest segment arrives.
    newest: Cell<Duration>,
    /// What is sent from now on goes nowhere.
    is_lost: Cell<bool>,
    changed: Gate,
}

enum Segment {
    Bytes(Vec<u8>),
    End,
}

impl Link {
    /// A connection that is established.
    pub(crate) fn new(world: &SimWorld, weather: Weather) -> Rc<Link> {
        Rc::new(Link {
            world: world.clone(),
            rng: RefCell::new(Rng::new(world.random())),
            weather,
            to_server: Way::default(),
            to_client: Way::default(),
            is_over: Cell::new(false),
        })
    }

    /// Sends to the server.
    pub(crate) fn send(&self, bytes: &[u8]) {
        self.push(&self.to_server, bytes);
    }

    /// What is sent to the server from now on takes so long at least.
    pub(crate) fn delay(&self, by: Duration) {
        self.to_server.newest.set(self.world.monotonic() + by);
    }

    /// What the server sent next; `None` when the connection has ended.
    pub(crate) async fn receive(&self) -> Option<Vec<u8>> {
        self.take(&self.to_client, usize::MAX).await
    }

    /// The client ends the connection. What it sent before still arrives.
    pub(crate) fn close(&self) {
        self.end(&self.to_server);
        self.to_client.drop_bytes();
        self.end(&self.to_client);
    }

    /// The connection breaks. Bytes under way are lost.
    pub(crate) fn cut(&self) {
        for way in [&self.to_server, &self.to_client] {
            way.drop_bytes();
            self.end(way);
        }
    }

    /// Whether nothing that was sent by it can take effect any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// The client may go on sending and never hear of the end.
    pub(crate) fn is_lost(&self) -> bool {
        self.to_server.is_lost.get()
    }

    /// The server is off: it will not let go of anything in order.
    pub(crate) fn abandon(&self) {
        self.cut();
        self.is_over.set(true);
    }

    fn push(&self, way: &Way, bytes: &[u8]) {
        if way.is_lost.get() {
            return;
        }
        let mut rng = self.rng.borrow_mut();
        let is_cut = self.weather.cut_one_in > 0 && rng.one_in(self.weather.cut_one_in);
        let arriving = if is_cut { rng.below(bytes.len() as u64 + 1) as usize } else { bytes.len() };
        let mut rest = &bytes[..arriving];
        while !rest.is_empty() {
            let length = match self.weather.is_choppy && rng.one_in(2) {
                true => 1 + rng.below(rest.len() as u64) as usize,
                false => rest.len(),
            };
            let (segment, left) = rest.split_at(length);
            rest = left;
            let at = self.arrival(way, &mut rng);
            way.segments.borrow_mut().push_back((at, Segment::Bytes(segment.to_vec())));
        }
        drop(rng);
        if is_cut {
            self.end(&self.to_server);
            self.end(&self.to_client);
        }
        way.changed.notify();
    }

    fn end(&self, way: &Way) {
        if way.is_lost.replace(true) {
            return;
        }
        let at = self.arrival(way, &mut self.rng.borrow_mut());
        way.segments.borrow_mut().push_back((at, Segment::End));
        way.changed.notify();
    }

    fn arrival(&self, way: &Way, rng: &mut Rng) -> Duration {
        let latency = Duration::from_micros(1 + rng.below(self.weather.latency_us_max));
        let at = way.newest.get().max(self.world.monotonic() + latency);
        way.newest.set(at);
        at
    }

    async fn take(&self, way: &Way, bytes_max: usize) -> Option<Vec<u8>> {
        loop {
            way.changed.until(|| !way.segments.borrow().is_empty()).await;
            let now = self.world.monotonic();
            let at = way.segments.borrow().front().map_or(now, |(at, _)| *at);
            if at > now {
                self.world.sleep(at - now).await;
                continue;
            }
            let mut segments = way.segments.borrow_mut();
            match segments.pop_front() {
                None => {}
                Some((_, Segment::End)) => {
                    segments.push_front((at, Segment::End));
                    return None;
                }
                Some((_, Segment::Bytes(mut bytes))) => {
                    if bytes.len() > bytes_max {
                        segments.push_front((at, Segment::Bytes(bytes.split_off(bytes_max))));
                    }
                    return Some(bytes);
                }
            }
        }
    }
}

impl Way {
    /// What is under way is lost. An end stays an end.
    fn drop_bytes(&self) {
        self.segments.borrow_mut().retain(|(_, segment)| matches!(segment, Segment::End));
    }
}

/// The server's end of a link.
pub(crate) struct ServerEnd(pub(crate) Rc<Link>);

/// Dropped when the server has let go of the connection.
struct Closer(Rc<Link>);

impl Socket for ServerEnd {
    type Receiver = ServerEnd;
    type Sender = ServerEnd;

    fn split(self) -> io::Result<Halves<ServerEnd, ServerEnd>> {
        Ok((ServerEnd(self.0.clone()), ServerEnd(self.0.clone()), Box::new(Closer(self.0))))
    }
}

impl Receive for ServerEnd {
    async fn receive(&mut self, mut buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        let free = buffer.capacity() - buffer.len();
        let taken = self.0.take(&self.0.to_server, free).await.unwrap_or_default();
        buffer.extend_from_slice(&taken);
        (Ok(taken.len()), buffer)
    }
}

impl Transmit for ServerEnd {
    async fn send(&mut self, sending: Sending) -> (io::Result<usize>, Sending) {
        let link = &self.0;
        let bytes = sending.copied();
        let is_partial = link.weather.is_choppy && link.rng.borrow_mut().one_in(4);
        let taken = if is_partial { 1 + link.rng.borrow_mut().below(bytes.len() as u64) as usize } else { bytes.len() };
        link.push(&link.to_client, &bytes[..taken]);
        (Ok(taken), sending)
    }
}

impl Close for Closer {
    fn close_receiving(&self) {
        self.0.end(&self.0.to_server);
    }

    fn close(&self) {
        self.0.end(&self.0.to_server);
        self.0.end(&self.0.to_client);
    }

    fn widen(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.is_over.set(true);
    }
}
