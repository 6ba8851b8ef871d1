//! The little of HTTP/1.1 that the admin address speaks (RFC 9112): one request without a body a connection, one
//! answer, the end.
//!
//! Caller: [`crate::admin`]. One thread, whatever comes: at most [`CONNECTIONS_MAX`] at a time, and where one more
//! comes the oldest is closed, so that silent ones keep nobody out. Nothing is kept of a request beyond its first line.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Connections at a time.
pub(crate) const CONNECTIONS_MAX: usize = 64;
/// Bytes of a request.
const REQUEST_BYTES_MAX: usize = 8192;
/// How long a connection may take for its request and its answer.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Rest after an answer: looking at the cores takes time of theirs.
const ANSWER_PAUSE: Duration = Duration::from_millis(1);
/// Rest after a failed accept, such as too many open files.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How much the thread steps back from those that serve files.
const NICE: i32 = 10;

/// An answer.
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) body: String,
}

/// Answers until the process ends. `page` gets the path without its query.
pub(crate) fn serve(listener: &TcpListener, page: impl Fn(&str) -> Page) {
    // Where it stays as it is, a flood of requests takes more from the cores.
    let _ = shard::system::step_back(NICE);
    let mut open = VecDeque::new();
    loop {
        let ready = wait(listener, &open);
        let now = Instant::now();
        let mut ready = ready.into_iter();
        if ready.next() == Some(true) {
            accept(listener, &mut open, now);
        }
        // Those that were just accepted have no sign of readiness: they are looked at next time.
        open.retain_mut(|connection| {
            let goes_on = match ready.next() {
                Some(true) => connection.step(&page),
                _ => Ok(true),
            };
            goes_on.unwrap_or(false) && now.duration_since(connection.since) < TIME_MAX
        });
    }
}

/// Which can go on: the listener first, then the connections in their order.
fn wait(listener: &TcpListener, open: &VecDeque<Connection>) -> Vec<bool> {
    let mut fds = vec![PollFd::new(listener, PollFlags::IN)];
    fds.extend(open.iter().map(|connection| PollFd::new(&connection.stream, connection.awaits())));
    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
    match poll(&mut fds, Some(&second)) {
        Ok(_) => fds.iter().map(|fd| !fd.revents().is_empty()).collect(),
        Err(_) => Vec::new(),
    }
}

/// One connection. The oldest goes where there are too many; it is the first, and its sign goes with it to the next,
/// which then has nothing to read and waits.
fn accept(listener: &TcpListener, open: &mut VecDeque<Connection>, now: Instant) {
    match listener.accept() {
        Ok((stream, _)) if stream.set_nonblocking(true).is_ok() => {
            open.push_back(Connection { stream, since: now, request: Vec::new(), answer: None });
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(_) => thread::sleep(RETRY_PAUSE),
    }
    if open.len() > CONNECTIONS_MAX {
        open.pop_front();
    }
}

struct Connection {
    stream: TcpStream,
    since: Instant,
    request: Vec<u8>,
    /// What is to be sent, and how much of it was.
    answer: Option<(Vec<u8>, usize)>,
}

impl Connection {
    fn awaits(&self) -> PollFlags {
        if self.answer.is_some() { PollFlags::OUT } else { PollFlags::IN }
    }

    /// Reads or writes what can be; `false` when it is over.
    fn step(&mut self, page: &impl Fn(&str) -> Page) -> io::Result<bool> {
        if self.answer.is_none() {
            let mut part = [0; 1024];
            let bytes = match self.stream.read(&mut part) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                read => read?,
            };
            self.request.extend_from_slice(&part[..bytes]);
            let complete = self.request.windows(4).any(|end| end == b"\r\n\r\n");
            if !complete {
                return Ok(bytes > 0 && self.request.len() < REQUEST_BYTES_MAX);
            }
            self.answer = Some((answer(&self.request, page), 0));
            thread::sleep(ANSWER_PAUSE);
        }
        let Some((answer, sent)) = &mut self.answer else { return Ok(true) };
        match self.stream.write(&answer[*sent..]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            written => *sent += written?,
        }
        Ok(*sent < answer.len())
    }
}

/// Status line, fields and body.
fn answer(request: &[u8], page: &impl Fn(&str) -> Page) -> Vec<u8> {
    let line = request.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let plain = |status, body: &str| Page { status, kind: "text/plain; charset=utf-8", body: body.to_owned() };
    let page = match (method, words.next()) {
        (_, None) => plain(400, "this is no HTTP request\n"),
        ("GET" | "HEAD", Some(_)) => page(target.split(['?', '#']).next().unwrap_or_default()),
        _ => plain(405, "only GET\n"),
    };
    let head = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nAllow: GET, HEAD\r\nConnection: close\r\n\r\n",
        page.status,
        reason(page.status),
        page.kind,
        page.body.len()
    );
    let body = if method == "HEAD" { String::new() } else { page.body };
    (head + &body).into_bytes()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Service Unavailable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn running() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let page = |path: &str| Page { status: 200, kind: "text/plain", body: path.repeat(1000) };
        thread::spawn(move || serve(&listener, page));
        address
    }

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn silent_connections_keep_nobody_out() {
        let address = running();
        let mut silent: Vec<_> = (0..3 * CONNECTIONS_MAX).map(|_| TcpStream::connect(address).unwrap()).collect();
        assert!(ask(address, "GET /path?query HTTP/1.1\r\n\r\n").ends_with("/path/path"));
        assert_eq!(silent[0].read(&mut [0; 1]).unwrap(), 0, "the oldest is closed");
    }

    #[test]
    fn what_is_no_request_is_refused_and_a_long_one_ended() {
        let address = running();
        assert!(ask(address, "rubbish\r\n\r\n").starts_with("HTTP/1.1 400 "));
        assert!(ask(address, "PUT / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
        let mut stream = TcpStream::connect(address).unwrap();
        let sent = (0..1000).try_for_each(|_| stream.write_all(&[b'x'; 1024]));
        assert!(sent.is_err() || matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
}
