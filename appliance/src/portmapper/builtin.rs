//! The built-in portmapper's sockets: TCP and UDP on one address. One thread each, and one per TCP connection, at most
//! [`CONNECTIONS_MAX`]; a silent one is closed after [`SILENCE_MAX`].

use super::registry;
use shard::portmap::{CALL_BYTES_MAX, Context, Netid, Registration, Registry, answer};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wire::Writer;
use wire::record::{self, Step};

/// Connections at a time; one beyond is closed at once.
const CONNECTIONS_MAX: usize = 32;
/// How long a connection may keep its thread waiting.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How much its threads step back from those that serve files.
const NICE: i32 = 10;
/// Pause after a failed accept, such as too many open files.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A portmapper that answers until the process ends.
pub(crate) struct Builtin {
    address: SocketAddr,
}

impl Builtin {
    /// Where it answers.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Answers on `address` (TCP and UDP) with `programs` and itself. Fails when the port is taken or not permitted.
pub(super) fn start(address: SocketAddr, programs: Vec<Registration>) -> io::Result<Builtin> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    let socket = UdpSocket::bind(address)?;
    let registry = Arc::new(registry(address, programs));
    let for_udp = registry.clone();
    thread::Builder::new().name("portmap-udp".into()).spawn(move || serve_datagrams(&socket, &for_udp))?;
    thread::Builder::new().name("portmap-tcp".into()).spawn(move || serve_connections(&listener, &registry))?;
    Ok(Builtin { address })
}

fn serve_datagrams(socket: &UdpSocket, registry: &Registry) {
    step_back();
    let mut message = [0; CALL_BYTES_MAX];
    let mut reply = Vec::new();
    loop {
        // An error here belongs to an earlier reply (its peer is gone), not to the socket.
        let Ok((bytes, peer)) = socket.recv_from(&mut message) else { continue };
        let Ok(local) = own_address(socket, peer) else { continue };
        reply.clear();
        let cx = Context { registry, netid: Netid::udp(local.ip()), local, now_secs: now_secs() };
        if answer(&cx, &message[..bytes], &mut reply) {
            // A reply that cannot be sent is lost like any datagram: the client asks again.
            let _ = socket.send_to(&reply, peer);
        }
    }
}

/// The own address that a peer reaches, where the socket listens on all of them.
fn own_address(socket: &UdpSocket, peer: SocketAddr) -> io::Result<SocketAddr> {
    let local = socket.local_addr()?;
    if !local.ip().is_unspecified() {
        return Ok(local);
    }
    let probe = UdpSocket::bind(SocketAddr::new(local.ip(), 0))?;
    probe.connect(peer)?;
    Ok(SocketAddr::new(probe.local_addr()?.ip().to_canonical(), local.port()))
}

fn serve_connections(listener: &TcpListener, registry: &Arc<Registry>) {
    step_back();
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(RETRY_PAUSE);
            continue;
        };
        let Some(slot) = Slot::take(&open) else { continue };
        let registry = registry.clone();
        let serve = move || {
            let _slot = slot;
            // Whatever ended the connection, the client notices.
            let _ = serve_connection(stream, &registry);
        };
        // Without a thread the stream is dropped and the client tries again.
        let _ = thread::Builder::new().name("portmap-client".into()).spawn(serve);
    }
}

/// However much is asked, serving files goes first. The threads of connections are begun by one that has stepped back.
fn step_back() {
    // Where it stays as it is, a flood of calls takes more from the cores.
    let _ = shard::system::step_back(NICE);
}

/// One of [`CONNECTIONS_MAX`], given back when dropped.
struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn take(open: &Arc<AtomicUsize>) -> Option<Slot> {
        let slot = Slot(open.clone());
        // Counted first and given back by the drop: two takers cannot both have the last one.
        (open.fetch_add(1, Ordering::AcqRel) < CONNECTIONS_MAX).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn serve_connection(mut stream: TcpStream, registry: &Registry) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    let local = stream.local_addr()?;
    let mut received = Vec::new();
    loop {
        match record::next_record(&mut received, CALL_BYTES_MAX).map_err(io::Error::other)? {
            Step::More { .. } => {
                let mut part = [0; CALL_BYTES_MAX];
                let bytes = stream.read(&mut part)?;
                if bytes == 0 {
                    return Ok(());
                }
                received.extend_from_slice(&part[..bytes]);
            }
            Step::Record { body, consumed } => {
                let cx = Context { registry, netid: Netid::tcp(local.ip()), local, now_secs: now_secs() };
                let mut reply = Vec::new();
                let mark = record::begin(&mut Writer::new(&mut reply));
                if !answer(&cx, &received[body], &mut reply) {
                    return Ok(());
                }
                record::finish(&mut Writer::new(&mut reply), mark, 0);
                stream.write_all(&reply)?;
                received.drain(..consumed);
            }
        }
    }
}

/// Seconds since 1970, as GETTIME has them until 2106.
fn now_secs() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GETPORT for NFS version 3 over TCP.
    const GETPORT: [u32; 14] = [9, 0, 2, 100_000, 2, 3, 0, 0, 0, 0, 100_003, 3, 6, 0];

    fn running() -> Builtin {
        let programs = super::super::programs("127.0.0.1:2049".parse().unwrap());
        start("127.0.0.1:0".parse().unwrap(), programs).unwrap()
    }

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn port_in(reply: &[u8]) -> u32 {
        u32::from_be_bytes(reply[reply.len() - 4..].try_into().unwrap())
    }

    #[test]
    fn a_datagram_and_a_stream_get_the_port() {
        let builtin = running();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(SILENCE_MAX)).unwrap();
        socket.send_to(b"garbage", builtin.address()).unwrap();
        socket.send_to(&bytes(&GETPORT), builtin.address()).unwrap();
        let mut reply = [0; 64];
        let count = socket.recv(&mut reply).unwrap();
        assert_eq!(port_in(&reply[..count]), 2049);

        let mut stream = TcpStream::connect(builtin.address()).unwrap();
        let mut call = bytes(&[0x8000_0000 | 56]);
        call.extend(bytes(&GETPORT));
        let twice = call.repeat(2);
        stream.write_all(&twice).unwrap();
        let mut reply = [0; 64];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(port_in(&reply[..32]), 2049);
        assert_eq!(port_in(&reply), 2049);
    }

    #[test]
    fn connections_beyond_the_limit_are_closed_and_leave_room_again() {
        let builtin = running();
        let held: Vec<_> = (0..CONNECTIONS_MAX).map(|_| TcpStream::connect(builtin.address()).unwrap()).collect();
        let mut beyond = TcpStream::connect(builtin.address()).unwrap();
        assert!(matches!(beyond.read(&mut [0; 4]), Ok(0) | Err(_)));
        drop(held);
        let served = || {
            let mut stream = TcpStream::connect(builtin.address()).ok()?;
            let mut call = bytes(&[0x8000_0000 | 56]);
            call.extend(bytes(&GETPORT));
            stream.write_all(&call).ok()?;
            stream.read_exact(&mut [0; 32]).ok()
        };
        while served().is_none() {
            thread::yield_now();
        }
    }
}
