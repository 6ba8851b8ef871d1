//! The acceptor: one thread that takes connections from all listeners, checks the limits, and hands
//! each one to the core that has the fewest.
//!
//! Caller: [`super::server`]. Promises: a connection beyond a limit is closed at once; what a
//! connection counts is given back when its [`Seat`] is dropped; an exhausted descriptor table slows
//! it down and does not end it. However fast connections come, serving goes first: its thread is
//! [`NICE`], and it leaves them in the socket while a core has [`WAITING_MAX`] to open.

use super::core::Letter;
use super::mailbox::Mailbox;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// A connection on its way to a core.
pub(crate) struct Incoming {
    pub(crate) stream: TcpStream,
    pub(crate) peer: IpAddr,
    pub(crate) seat: Seat,
}

/// What a connection counts against; given back on drop.
pub(crate) struct Seat {
    counts: Vec<Arc<AtomicUsize>>,
}

impl Seat {
    /// Takes a place in each count.
    pub(crate) fn take(counts: Vec<Arc<AtomicUsize>>) -> Seat {
        for count in &counts {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Seat { counts }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        for count in &self.counts {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// How many connections are taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    /// Of all clients.
    pub(crate) total_max: usize,
    /// Of one client's address.
    pub(crate) client_max: usize,
}

/// A core as the acceptor sees it.
pub(crate) struct Place {
    pub(crate) mailbox: Arc<Mailbox<Letter>>,
    /// Connections that it serves.
    pub(crate) load: Arc<AtomicUsize>,
}

/// What the acceptor and the administration share.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// Connections closed because a limit was reached.
    pub(crate) count: AtomicU64,
}

/// The acceptor's state.
pub(crate) struct Acceptor {
    listeners: Vec<TcpListener>,
    places: Vec<Place>,
    quota: Quota,
    total: Arc<AtomicUsize>,
    clients: HashMap<IpAddr, Arc<AtomicUsize>>,
    refusals: Arc<Refusals>,
    /// Set, and the bell rung, when no more is to be accepted.
    stop: Arc<AtomicBool>,
    bell: OwnedFd,
}

impl Acceptor {
    /// Takes over listening sockets, which become non-blocking. `bell` is an eventfd that is written
    /// to after `stop` was set.
    pub(crate) fn new(
        listeners: Vec<TcpListener>,
        places: Vec<Place>,
        quota: Quota,
        refusals: Arc<Refusals>,
        stop: Arc<AtomicBool>,
        bell: OwnedFd,
    ) -> io::Result<Acceptor> {
        assert!(!places.is_empty());
        for listener in &listeners {
            listener.set_nonblocking(true)?;
        }
        let (total, clients) = (Arc::default(), HashMap::new());
        Ok(Acceptor { listeners, places, quota, total, clients, refusals, stop, bell })
    }

    /// Accepts until it is told to stop. The listening sockets are closed when it returns.
    pub(crate) fn run(mut self) {
        // Where it stays as it is, a flood of connections takes more from the cores.
        let _ = crate::system::step_back(NICE);
        while !self.stop.load(Ordering::Acquire) {
            let ready = self.wait();
            for index in ready {
                self.accept(index);
            }
        }
    }

    /// The listeners that have connections to accept.
    fn wait(&self) -> Vec<usize> {
        let mut fds: Vec<PollFd<'_>> = self.listeners.iter().map(|it| PollFd::new(it, PollFlags::IN)).collect();
        fds.push(PollFd::new(&self.bell, PollFlags::IN));
        if poll(&mut fds, None).is_err() {
            return Vec::new();
        }
        (0..self.listeners.len()).filter(|&index| !fds[index].revents().is_empty()).collect()
    }

    /// Accepts what waits at a listener, at most [`BURST_MAX`], so that the others get their turn.
    fn accept(&mut self, index: usize) {
        for _ in 0..BURST_MAX {
            if self.places.iter().any(|place| place.mailbox.len() >= WAITING_MAX) {
                return std::thread::sleep(CROWDED_PAUSE);
            }
            match self.listeners[index].accept() {
                Ok((stream, peer)) => self.place(stream, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The peer gave up while it waited.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => return std::thread::sleep(EXHAUSTED_PAUSE),
            }
        }
    }

    /// Hands a connection to the least loaded core, or counts and closes it.
    fn place(&mut self, stream: TcpStream, peer: SocketAddr) {
        let peer = peer.ip().to_canonical();
        let seat = self.seat(&stream, peer);
        // Counted before it is closed: whoever sees the end sees the count.
        let refuse = || self.refusals.count.fetch_add(1, Ordering::Relaxed);
        match seat {
            None => {
                refuse();
            }
            Some((mailbox, seat)) => {
                if let Err(full) = mailbox.post(Letter::Connection(Incoming { stream, peer, seat })) {
                    refuse();
                    drop(full);
                }
            }
        }
    }

    /// The core that a connection goes to, and what it counts there; `None` where a limit forbids it.
    fn seat(&mut self, stream: &TcpStream, peer: IpAddr) -> Option<(Arc<Mailbox<Letter>>, Seat)> {
        if self.total.load(Ordering::Relaxed) >= self.quota.total_max {
            return None;
        }
        let client = self.client(peer);
        if client.load(Ordering::Relaxed) >= self.quota.client_max {
            return None;
        }
        prepare(stream).ok()?;
        let place = self.places.iter().min_by_key(|place| place.load.load(Ordering::Relaxed))?;
        let seat = Seat::take(vec![self.total.clone(), client, place.load.clone()]);
        Some((place.mailbox.clone(), seat))
    }

    /// The count of a client's connections. Clients without any are forgotten now and then.
    fn client(&mut self, peer: IpAddr) -> Arc<AtomicUsize> {
        if self.clients.len() > self.quota.total_max.saturating_mul(2) {
            self.clients.retain(|_, count| count.load(Ordering::Relaxed) > 0);
        }
        self.clients.entry(peer).or_default().clone()
    }
}

/// Sets the options of an accepted socket.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    // The io_uring waits in the kernel, which a non-blocking socket would refuse.
    stream.set_nonblocking(false)?;
    // Replies leave when they are ready: they are gathered here already.
    stream.set_nodelay(true)?;
    // A client that vanished is noticed also when it owes nothing.
    sockopt::set_socket_keepalive(stream, true)?;
    Ok(())
}

/// Connections accepted from one listener before the next is looked at.
const BURST_MAX: usize = 64;
/// Letters before a core, beyond which connections wait in the listening socket.
const WAITING_MAX: usize = 64;
/// Rest while a core has as many.
const CROWDED_PAUSE: Duration = Duration::from_millis(1);
/// How much the acceptor's thread steps back from the cores' threads.
const NICE: i32 = 10;
/// Rest when the kernel has no descriptor left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn acceptor(quota: Quota) -> (Acceptor, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let place = || Place { mailbox: Arc::new(Mailbox::new(16).unwrap()), load: Arc::default() };
        let bell = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        let places = vec![place(), place()];
        let acceptor = Acceptor::new(vec![listener], places, quota, Arc::default(), Arc::default(), bell).unwrap();
        (acceptor, address)
    }

    fn accept_one(acceptor: &mut Acceptor) {
        assert_eq!(acceptor.wait(), [0]);
        acceptor.accept(0);
    }

    #[test]
    fn each_connection_goes_to_the_core_that_has_the_fewest() {
        let (mut acceptor, address) = acceptor(Quota { total_max: 8, client_max: 8 });
        let _clients: Vec<TcpStream> = (0..4)
            .map(|_| {
                let client = TcpStream::connect(address).unwrap();
                accept_one(&mut acceptor);
                client
            })
            .collect();
        let loads: Vec<usize> = acceptor.places.iter().map(|place| place.load.load(Ordering::Relaxed)).collect();
        assert_eq!(loads, [2, 2]);
    }

    #[test]
    fn a_connection_beyond_the_limit_is_closed_and_a_freed_seat_is_used_again() {
        let (mut acceptor, address) = acceptor(Quota { total_max: 8, client_max: 1 });
        let _first = TcpStream::connect(address).unwrap();
        accept_one(&mut acceptor);
        let mut second = TcpStream::connect(address).unwrap();
        accept_one(&mut acceptor);
        assert_eq!(second.read(&mut [0; 1]).unwrap(), 0);
        assert_eq!(acceptor.refusals.count.load(Ordering::Relaxed), 1);
        for place in &acceptor.places {
            while place.mailbox.take().is_some() {}
        }
        let _third = TcpStream::connect(address).unwrap();
        accept_one(&mut acceptor);
        assert_eq!(acceptor.refusals.count.load(Ordering::Relaxed), 1);
        assert_eq!(acceptor.total.load(Ordering::Relaxed), 1);
    }
}
