//! How much of a stream the kernel takes before the server has read it: its receive window.
//!
//! Callers: the reader of a connection ([`Window`]), the socket ([`widen`]). Linux finds the size of a window by itself from
//! what is read in a round trip. Over a short way that is little: a client that streams large WRITEs is stopped and
//! started again whenever the core does something else for a while, and starting it is the core's work. So a
//! connection that has brought much gets a wide window, for as long as it lives. Only then, and only so many of a core,
//! because what lies in windows is memory of the kernel that nobody else has.

use super::core::Core;
use crate::system::set_low_water;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;

/// The window of one connection.
pub(super) struct Window {
    core: Rc<Core>,
    received: u64,
    is_wide: bool,
}

impl Window {
    pub(super) fn new(core: Rc<Core>) -> Window {
        Window { core, received: 0, is_wide: false }
    }

    /// Bytes have come. Answers whether the window should be made wide now.
    pub(super) fn opens(&mut self, bytes: usize) -> bool {
        self.received = self.received.saturating_add(bytes as u64);
        let wide = &self.core.wide_windows;
        if self.is_wide || self.received < WIDE_AFTER_BYTES || wide.get() >= WIDE_MAX {
            return false;
        }
        wide.set(wide.get() + 1);
        self.is_wide = true;
        true
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if self.is_wide {
            self.core.wide_windows.set(self.core.wide_windows.get() - 1);
        }
    }
}

/// Lets the peer send [`WIDE_BYTES`] ahead, or half of the system's limit (`net.ipv4.tcp_rmem`). Unlike with `SO_RCVBUF`
/// the kernel may make the window wider still: a low-water mark that does not fit the buffer makes the buffer grow,
/// and the mark is taken back at once.
pub(super) fn widen(socket: RawFd) -> io::Result<()> {
    set_low_water(socket, WIDE_BYTES)?;
    set_low_water(socket, 1)
}

/// A connection that has brought so many bytes gets a wide window.
pub(super) const WIDE_AFTER_BYTES: u64 = 8 << 20;
/// Connections of a core that have one.
pub(super) const WIDE_MAX: usize = 16;
const WIDE_BYTES: libc::c_int = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::net::sockopt::socket_recv_buffer_size;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    #[test]
    fn a_wide_window_takes_more_and_a_single_byte_is_still_received() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let before = socket_recv_buffer_size(&server).unwrap();
        widen(server.as_raw_fd()).unwrap();
        assert!(socket_recv_buffer_size(&server).unwrap() > before);
        // Where the kernel's own window is still small it tells of whatever there is.
        let mut part = vec![0; 64 << 10];
        for _ in 0..64 {
            client.write_all(&part).unwrap();
            server.read_exact(&mut part).unwrap();
        }
        client.write_all(b"x").unwrap();
        let mut waiting = [PollFd::new(&server, PollFlags::IN)];
        let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
        assert_eq!(poll(&mut waiting, Some(&limit)), Ok(1), "it is told of one byte");
        let mut byte = [0];
        server.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }
}
