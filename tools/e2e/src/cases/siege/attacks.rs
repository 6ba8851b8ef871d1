//! What the adversaries do. None of them cares what becomes of its connections: to be refused or closed is an answer.

use crate::client::{Call, Client};
use crate::failure::{Failure, While};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use wire::nfs3::{Cookieverf3, FileHandleBuf, GetattrArgs, LookupArgs, Procedure, ReadArgs, ReaddirplusArgs};
use wire::nfs3::{Diropargs3, Filename};

/// Whom they attack.
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) root: FileHandleBuf,
    /// A directory of many names.
    pub(super) many: FileHandleBuf,
    /// A file that does not fit the server's cache.
    pub(super) large: FileHandleBuf,
    pub(super) large_bytes: u64,
    /// Connections that a crowd opens.
    pub(super) crowd: usize,
}

pub(super) struct Attack {
    pub(super) name: &'static str,
    pub(super) threads: u32,
    /// Whether it keeps a whole crowd connected where the server admits it.
    pub(super) holds: bool,
    /// Goes on until it is told to end.
    pub(super) run: fn(&Target, &Lane<'_>) -> Result<(), Failure>,
}

/// What a thread of an attack is told, and tells.
pub(super) struct Lane<'a> {
    /// Tells the threads of an attack apart.
    pub(super) number: u32,
    pub(super) end: &'a AtomicBool,
    pub(super) high: &'a AtomicBool,
}

impl Lane<'_> {
    fn goes_on(&self) -> bool {
        !self.end.load(Ordering::Relaxed)
    }

    /// It has all that it wanted to have: from now on the attack is at its height.
    fn is_high(&self) {
        self.high.store(true, Ordering::Relaxed);
    }
}

pub(super) const ALL: &[Attack] = &[
    Attack { name: "10,000 connections with half a record", threads: 2, holds: true, run: crowd },
    Attack { name: "lengths of 4 GiB", threads: 1, holds: false, run: lengths },
    Attack { name: "calls without reading answers", threads: 2, holds: false, run: pipeline },
    Attack { name: "trickles", threads: 1, holds: false, run: trickle },
    Attack { name: "coming and going", threads: 2, holds: false, run: churn },
    Attack { name: "portmapper and admin floods", threads: 3, holds: false, run: floods },
];

/// Opens as many connections as it wants, each with the beginning of a record; those that are closed are opened anew.
fn crowd(target: &Target, lane: &Lane<'_>) -> Result<(), Failure> {
    let mark = |bytes: u32| (bytes | LAST_FRAGMENT).to_be_bytes();
    let begun: [Vec<u8>; 4] = [
        vec![0x80],
        [&mark(40)[..], &[0, 0, 0, 1, 0, 0]].concat(),
        // The longest record that is taken, and more of it than a small buffer holds.
        [&mark(1 << 20)[..], &[0; 48 << 10]].concat(),
        [&mark(20 << 10)[..], &[0; 19 << 10]].concat(),
    ];
    let mut open: Vec<TcpStream> = Vec::new();
    let mut number = lane.number;
    let mut looked = Instant::now();
    while lane.goes_on() {
        if open.len() < target.crowd / 2 {
            if let Ok(mut stream) = connect(target.address, number) {
                // What does not fit the socket at once is not sent.
                let _ = stream.write(&begun[open.len() % begun.len()]);
                open.push(stream);
            }
            number += 2;
        } else {
            lane.is_high();
            thread::sleep(Duration::from_millis(50));
        }
        if looked.elapsed() > LOOK_PAUSE {
            open.retain(is_open);
            looked = Instant::now();
        }
    }
    Ok(())
}

/// Marks and counts that claim what nobody has.
fn lengths(target: &Target, lane: &Lane<'_>) -> Result<(), Failure> {
    let whole =
        Client::new(target.address, 1).prepare(Procedure::Getattr, &GetattrArgs { object: target.root.handle() });
    let mut claims = vec![
        0xFFFF_FFFF_u32.to_be_bytes().to_vec(),
        [&0x7FFF_FFFF_u32.to_be_bytes()[..], &[0; 1000]].concat(),
        [0; 4096].to_vec(),
    ];
    // Every word of a call in turn becomes a count of 4 GiB.
    claims.extend((1..whole.bytes.len() / 4).map(|word| {
        let mut bytes = whole.bytes.clone();
        bytes[word * 4..word * 4 + 4].copy_from_slice(&[0xFF; 4]);
        bytes
    }));
    lane.is_high();
    for number in 0.. {
        if !lane.goes_on() {
            break;
        }
        let Ok(mut stream) = connect(target.address, number) else { continue };
        let claim = &claims[number as usize % claims.len()];
        let _ = stream.write(claim);
    }
    Ok(())
}

/// Tens of thousands of calls on each of many connections, and not one answer is read.
fn pipeline(target: &Target, lane: &Lane<'_>) -> Result<(), Failure> {
    let bursts = [getattrs(target), reads(target), listings(target)?];
    let mut open: Vec<(TcpStream, usize, usize)> = Vec::new();
    let mut number = lane.number;
    while lane.goes_on() {
        if open.len() < PIPELINES {
            if let Ok(stream) = connect(target.address, number) {
                open.push((stream, number as usize / 2 % bursts.len(), 0));
            }
            number += 2;
        }
        let mut moved = false;
        open.retain_mut(|(stream, kind, sent)| {
            let burst = &bursts[*kind];
            match stream.write(&burst[*sent % burst.len()..]) {
                Ok(bytes) => {
                    moved |= bytes > 0;
                    *sent += bytes;
                    true
                }
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            }
        });
        if !moved && open.len() == PIPELINES {
            lane.is_high();
            thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}

fn getattrs(target: &Target) -> Vec<u8> {
    let mut client = Client::new(target.address, 1);
    (0..10_000)
        .flat_map(|_| client.prepare(Procedure::Getattr, &GetattrArgs { object: target.root.handle() }).bytes)
        .collect()
}

/// Every part of the large file, a MiB at a time and a byte at a time.
fn reads(target: &Target) -> Vec<u8> {
    let mut client = Client::new(target.address, 1);
    let file = target.large.handle();
    let mut read = |offset, count| client.prepare(Procedure::Read, &ReadArgs { file, offset, count }).bytes;
    (0..target.large_bytes >> 16).flat_map(|part| [read(part << 16, 1), read(part << 16, 1 << 20)].concat()).collect()
}

fn listings(target: &Target) -> Result<Vec<u8>, Failure> {
    let mut client = Client::new(target.address, 1);
    let (cookie, cookieverf) = (0, Cookieverf3::default());
    let args = ReaddirplusArgs { dir: target.many.handle(), cookie, cookieverf, dircount: 1 << 20, maxcount: 1 << 20 };
    let name = Filename::new(b"no such name").during("a name")?;
    let what = Diropargs3 { dir: target.many.handle(), name };
    let mut calls = || -> Vec<Call> {
        vec![client.prepare(Procedure::Readdirplus, &args), client.prepare(Procedure::Lookup, &LookupArgs { what })]
    };
    Ok((0..10_000).flat_map(|_| calls()).flat_map(|call| call.bytes).collect())
}

/// A byte now and then, on connections that are not quite silent.
fn trickle(target: &Target, lane: &Lane<'_>) -> Result<(), Failure> {
    let call = getattrs(target);
    let mut open: Vec<(TcpStream, usize)> = Vec::new();
    let mut number = 0;
    while lane.goes_on() {
        if open.len() < TRICKLES {
            open.extend(connect(target.address, number).map(|stream| (stream, 0)));
            number += 1;
        } else {
            lane.is_high();
            thread::sleep(Duration::from_millis(20));
        }
        open.retain_mut(|(stream, sent)| {
            let wrote = stream.write(&call[*sent % call.len()..][..1]);
            *sent += 1;
            wrote.is_ok()
        });
    }
    Ok(())
}

/// Connections that ask for a long listing and are gone, some with a reset.
fn churn(target: &Target, lane: &Lane<'_>) -> Result<(), Failure> {
    let asked = listings(target)?;
    lane.is_high();
    let mut number = lane.number;
    while lane.goes_on() {
        if let Ok(mut stream) = connect(target.address, number) {
            match number / 2 % 3 {
                0 => {}
                1 => drop(stream.write(&asked[..200])),
                _ => {
                    let _ = stream.write(&asked[..4000]);
                    // It fails only where the connection is gone already.
                    let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
                }
            }
        }
        number += 2;
    }
    Ok(())
}

/// By lane: datagrams to the portmapper, connections to it, requests to the admin address.
fn floods(_: &Target, lane: &Lane<'_>) -> Result<(), Failure> {
    let getport: Vec<u8> =
        [9, 0, 2, 100_000, 2, 3, 0, 0, 0, 0, 100_003, 3, 6, 0_u32].iter().flat_map(|word| word.to_be_bytes()).collect();
    let record = [&(LAST_FRAGMENT | getport.len() as u32).to_be_bytes()[..], &getport].concat();
    let portmapper = SocketAddr::from((Ipv4Addr::LOCALHOST, 111));
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut held: Vec<TcpStream> = Vec::new();
    lane.is_high();
    for number in 0.. {
        if !lane.goes_on() {
            break;
        }
        let (to, bytes) = match (lane.number, number % 3) {
            (0, _) => {
                let _ = socket.send_to(&getport, portmapper);
                continue;
            }
            (1, 0) => (portmapper, &record[..9]),
            (1, _) => (portmapper, &record[..]),
            (_, 0) => (super::ADMIN, &b"GET /metrics HTTP/1.1\r\n\r\n"[..]),
            (_, 1) => (super::ADMIN, &b"GET /met"[..]),
            (_, _) => (super::ADMIN, &[b'x'; 16 << 10][..]),
        };
        if let Ok(mut stream) = connect(to, number) {
            let _ = stream.write(bytes);
            held.push(stream);
        }
        if held.len() > HELD {
            held.clear();
        }
    }
    Ok(())
}

/// A connection that never waits, from one of [`SOURCES`] addresses.
fn connect(to: SocketAddr, number: u32) -> io::Result<TcpStream> {
    let from = Ipv4Addr::new(127, 0, 1 + (number % SOURCES / 200) as u8, 1 + (number % SOURCES % 200) as u8);
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(from, 0))?;
    rustix::net::connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Whether the peer has not closed it.
fn is_open(stream: &TcpStream) -> bool {
    matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

const LAST_FRAGMENT: u32 = 1 << 31;
pub(super) const CROWD: usize = 10_000;
/// How often a crowd looks which of its connections were closed.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
/// Addresses that they come from: more than the usual limits admit together.
const SOURCES: u32 = 400;
/// Of one thread; more than its memory for replies would do for.
const PIPELINES: usize = 200;
const TRICKLES: usize = 300;
/// Connections to the portmapper and the admin address that are left open together.
const HELD: usize = 500;
