//! A stream of bytes with two ends, as a connection needs it. One implementation is monoio's TCP
//! stream; the tests of the connection have another one.
//!
//! Buffers are handed over and come back with the result: the kernel owns them in between.

use super::window::widen;
use cache::block::Sending;
use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRent, OwnedReadHalf, OwnedWriteHalf, Splitable};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, send, shutdown};
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// The two halves of a socket, and what ends both.
pub(crate) type Halves<R, S> = (R, S, Box<dyn Close>);

/// A socket before it is used.
pub(crate) trait Socket {
    /// The receiving half.
    type Receiver: Receive + 'static;
    /// The sending half.
    type Sender: Transmit + 'static;

    /// Takes it apart.
    fn split(self) -> io::Result<Halves<Self::Receiver, Self::Sender>>;
}

/// The receiving half of a socket.
pub(crate) trait Receive {
    /// Appends what arrives to the buffer's free capacity. 0 bytes: the peer has ended the stream.
    fn receive(&mut self, buffer: Vec<u8>) -> impl Future<Output = (io::Result<usize>, Vec<u8>)>;
}

/// The sending half of a socket.
pub(crate) trait Transmit {
    /// Sends some of it, and says how many bytes that were.
    fn send(&mut self, sending: Sending) -> impl Future<Output = (io::Result<usize>, Sending)>;
}

/// Ends a socket while its halves wait: both come back with an end or an error.
pub(crate) trait Close {
    /// Nothing more is received; what was is still answered.
    fn close_receiving(&self);
    /// Nothing is received or sent any more.
    fn close(&self);
    /// Lets the peer send much before it is read.
    fn widen(&self) -> io::Result<()>;
}

impl Socket for std::net::TcpStream {
    type Receiver = OwnedReadHalf<monoio::net::TcpStream>;
    type Sender = Sender;

    fn split(self) -> io::Result<Halves<Self::Receiver, Self::Sender>> {
        let stream = monoio::net::TcpStream::from_std(self)?;
        let descriptor = stream.as_raw_fd();
        let (receiver, sender) = stream.into_split();
        let closer = Closer { descriptor, _open: OwnedReadHalf(receiver.0.clone()) };
        Ok((receiver, Sender { descriptor, half: sender }, Box::new(closer)))
    }
}

/// The half that sends.
pub(crate) struct Sender {
    /// Of the stream, which `half` keeps open.
    descriptor: RawFd,
    half: OwnedWriteHalf<monoio::net::TcpStream>,
}

/// Ends what waits in the kernel for a stream, which monoio has no safe way to do. It needs no descriptor of its own.
struct Closer {
    descriptor: RawFd,
    /// Keeps the stream open: until then the number is its own.
    _open: OwnedReadHalf<monoio::net::TcpStream>,
}

impl Receive for OwnedReadHalf<monoio::net::TcpStream> {
    async fn receive(&mut self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        let free = buffer.len()..buffer.capacity().min(buffer.len() + RECEIVE_BYTES_MAX);
        let (result, filled) = self.read(buffer.slice_mut(free)).await;
        (result, filled.into_inner())
    }
}

impl Transmit for Sender {
    async fn send(&mut self, sending: Sending) -> (io::Result<usize>, Sending) {
        if let Some(bytes) = sending.plain().filter(|bytes| bytes.len() <= SEND_AT_ONCE_BYTES_MAX) {
            match send(self.descriptor, bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Err(Errno::EAGAIN) => {}
                result => return (result.map_err(io::Error::from), sending),
            }
        }
        self.half.writev(sending).await
    }
}

impl Close for Closer {
    fn close_receiving(&self) {
        // It fails only where the peer is gone already.
        let _ = shutdown(self.descriptor, Shutdown::Read);
    }

    fn close(&self) {
        let _ = shutdown(self.descriptor, Shutdown::Both);
    }

    fn widen(&self) -> io::Result<()> {
        widen(self.descriptor)
    }
}

/// Most bytes received at a time: what the kernel copies before other connections get their turn.
const RECEIVE_BYTES_MAX: usize = 64 << 10;
/// Answers of so few bytes leave at once. All else leaves when the core has done what it had to do: what came meanwhile may be
/// a WRITE of 1 MiB.
const SEND_AT_ONCE_BYTES_MAX: usize = 4 << 10;
