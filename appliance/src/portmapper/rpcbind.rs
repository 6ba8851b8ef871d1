//! Registration with the rpcbind (or older portmapper) that runs on this machine: SET of version 4, and of version 2
//! where that is all it speaks. Over its local socket, where it sees who we are; else over loopback TCP from a
//! privileged port, as it demands.
//!
//! Another server's registration is left alone. One that nobody answers on any more (ours from before a crash on
//! another port) is replaced.

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use shard::portmap::Registration;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;
use wire::portmap::{
    Mapping, Netid, Owner, PORT, PROGRAM, PmapProcedure, Rpcb, RpcbProcedure, Uaddr, UaddrBuf, VERSION_2, VERSION_4,
};
use wire::record::{self, Step};
use wire::rpc::{Accepted, CallHeader, OpaqueAuth, ReplyBody, ReplyHeader};
use wire::{Decode, Encode, Reader, Writer};

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Longest reply that is read, in bytes: all of them are short.
const REPLY_BYTES_MAX: usize = 4096;
/// Source ports that prove privilege, as bindresvport(3) picks them.
const PRIVILEGED_PORTS: std::ops::RangeInclusive<u16> = 600..=1023;

/// Where an rpcbind is looked for.
#[derive(Clone, Debug)]
pub(super) struct Where {
    local: PathBuf,
    tcp: SocketAddr,
}

impl Where {
    /// The one of this machine.
    pub(super) fn machine() -> Where {
        let tcp = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
        Where { local: PathBuf::from("/run/rpcbind.sock"), tcp }
    }
}

/// Registrations that an rpcbind holds for us.
pub(crate) struct Rpcbind {
    place: Where,
    held: Vec<Registration>,
}

impl fmt::Display for Rpcbind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the rpcbind of this machine ({} entries)", self.held.len())
    }
}

/// Registers all of `programs`, or none.
pub(super) fn register(place: Where, programs: &[Registration]) -> Result<Rpcbind, String> {
    let mut client = Client::connect(&place).map_err(|error| error.to_string())?;
    let mut registered = Rpcbind { place, held: Vec::new() };
    for program in programs {
        if let Err(why) = register_one(&mut client, program) {
            registered.unregister();
            return Err(why);
        }
        registered.held.push(*program);
    }
    Ok(registered)
}

impl Rpcbind {
    /// Takes them back. What cannot be taken back is named in the log.
    pub(crate) fn unregister(self) {
        if self.held.is_empty() {
            return;
        }
        let outcome = Client::connect(&self.place).and_then(|mut client| {
            self.held.iter().try_for_each(|program| client.set(program, Change::Unset).map(|_| ()))
        });
        if let Err(error) = outcome {
            tracing::warn!(%error, "rpcbind still holds this server's registrations");
        }
    }
}

fn register_one(client: &mut Client, program: &Registration) -> Result<(), String> {
    let failed = |error: io::Error| error.to_string();
    if client.set(program, Change::Set).map_err(failed)? {
        return Ok(());
    }
    let taken = client.address(program).map_err(failed)?;
    if let Some(address) = taken
        && !somebody_answers(address)
    {
        client.set(program, Change::Unset).map_err(failed)?;
        if client.set(program, Change::Set).map_err(failed)? {
            return Ok(());
        }
    }
    let what = format!("program {} version {} on {}", program.program, program.version, program.netid.name());
    Err(match taken {
        Some(address) => format!("it already has {what} at {address}"),
        None => format!("it refuses {what}"),
    })
}

fn somebody_answers(mut address: SocketAddr) -> bool {
    if address.ip().is_unspecified() {
        let loopback: IpAddr = if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        address.set_ip(loopback);
    }
    TcpStream::connect_timeout(&address, ANSWER_MAX).is_ok()
}

#[derive(Clone, Copy)]
enum Change {
    Set,
    Unset,
}

/// A connection to an rpcbind.
struct Client {
    stream: Box<dyn Stream>,
    xid: u32,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Client {
    fn connect(place: &Where) -> io::Result<Client> {
        if let Ok(stream) = UnixStream::connect(&place.local) {
            stream.set_read_timeout(Some(ANSWER_MAX))?;
            return Ok(Client { stream: Box::new(stream), xid: 0 });
        }
        let stream = connect_privileged(place.tcp)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(Client { stream: Box::new(stream), xid: 0 })
    }

    /// SET or UNSET; whether it was done.
    fn set(&mut self, program: &Registration, change: Change) -> io::Result<bool> {
        let (new, old) = match change {
            Change::Set => (RpcbProcedure::Set, PmapProcedure::Set),
            Change::Unset => (RpcbProcedure::Unset, PmapProcedure::Unset),
        };
        let address = UaddrBuf::new(program.address);
        let answer = self.call(VERSION_4, new as u32, &rpcb(program, address.uaddr())?)?;
        let protocol = program.netid.protocol();
        let (Answer::NotSpoken, Some(prot)) = (&answer, protocol) else { return answer.value() };
        let port = u32::from(program.address.port());
        let mapping = Mapping { prog: program.program, vers: program.version, prot, port };
        self.call(VERSION_2, old as u32, &mapping)?.value()
    }

    /// Where the program is registered now.
    fn address(&mut self, program: &Registration) -> io::Result<Option<SocketAddr>> {
        let nowhere = rpcb(program, Uaddr::default())?;
        match self.call(VERSION_4, RpcbProcedure::Dump as u32, &())? {
            Answer::Results(bytes) => {
                let list: wire::portmap::Rpcblist<'_> = Reader::new(&bytes).decode().map_err(invalid)?;
                let same = |entry: &Rpcb<'_>| {
                    (entry.r_prog, entry.r_vers, entry.r_netid) == (nowhere.r_prog, nowhere.r_vers, nowhere.r_netid)
                };
                Ok(list.iter().find(same).and_then(|entry| entry.r_addr.parse()))
            }
            Answer::NotSpoken => {
                let Some(prot) = program.netid.protocol() else { return Ok(None) };
                let mapping = Mapping { prog: program.program, vers: program.version, prot, port: 0 };
                let port: u32 = self.call(VERSION_2, PmapProcedure::Getport as u32, &mapping)?.value()?;
                let port = u16::try_from(port).unwrap_or(0);
                Ok((port != 0).then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))))
            }
        }
    }

    fn call(&mut self, version: u32, procedure: u32, arguments: &impl Encode) -> io::Result<Answer> {
        self.xid = self.xid.wrapping_add(1);
        let mut bytes = Vec::new();
        let mut w = Writer::new(&mut bytes);
        let mark = record::begin(&mut w);
        let (cred, verf) = (OpaqueAuth::NONE, OpaqueAuth::NONE);
        w.encode(&CallHeader { xid: self.xid, program: PROGRAM, version, procedure, cred, verf });
        w.encode(arguments);
        record::finish(&mut w, mark, 0);
        self.stream.write_all(&bytes)?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let mut received = Vec::new();
        loop {
            if let Step::Record { body, .. } = record::next_record(&mut received, REPLY_BYTES_MAX).map_err(invalid)? {
                let mut reader = Reader::new(&received[body]);
                let header: ReplyHeader<'_> = reader.decode().map_err(invalid)?;
                return match header.body {
                    _ if header.xid != self.xid => Err(invalid("a reply to another call")),
                    ReplyBody::Accepted { stat: Accepted::Success, .. } => Ok(Answer::Results(reader.rest().to_vec())),
                    ReplyBody::Accepted { .. } => Ok(Answer::NotSpoken),
                    ReplyBody::Denied(why) => Err(invalid(format!("denied: {why:?}"))),
                };
            }
            let mut part = [0; REPLY_BYTES_MAX];
            match self.stream.read(&mut part)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                bytes => received.extend_from_slice(&part[..bytes]),
            }
        }
    }
}

enum Answer {
    /// The encoded results.
    Results(Vec<u8>),
    /// The version or procedure is not spoken there.
    NotSpoken,
}

impl Answer {
    fn value<T: for<'a> Decode<'a>>(self) -> io::Result<T> {
        match self {
            Answer::Results(bytes) => Reader::new(&bytes).decode().map_err(invalid),
            Answer::NotSpoken => Err(invalid("it does not speak the procedure")),
        }
    }
}

fn rpcb<'a>(program: &Registration, r_addr: Uaddr<'a>) -> io::Result<Rpcb<'a>> {
    let r_netid = Netid::new(program.netid.name().as_bytes()).map_err(invalid)?;
    Ok(Rpcb { r_prog: program.program, r_vers: program.version, r_netid, r_addr, r_owner: Owner::default() })
}

fn invalid(why: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}

/// From a privileged port where that is permitted, from any otherwise.
fn connect_privileged(to: SocketAddr) -> io::Result<TcpStream> {
    let local = if to.is_ipv4() { IpAddr::from(Ipv4Addr::LOCALHOST) } else { Ipv6Addr::LOCALHOST.into() };
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    for port in PRIVILEGED_PORTS.rev() {
        let fd = socket(family, SocketType::STREAM, None)?;
        match bind(&fd, &SocketAddr::new(local, port)) {
            Ok(()) => {}
            Err(rustix::io::Errno::ADDRINUSE) => continue,
            Err(_) => break,
        }
        match connect(&fd, &to) {
            Ok(()) => return Ok(TcpStream::from(fd)),
            // This port's last connection to there is not yet forgotten.
            Err(rustix::io::Errno::ADDRNOTAVAIL | rustix::io::Errno::ADDRINUSE) => {}
            Err(error) => return Err(error.into()),
        }
    }
    TcpStream::connect_timeout(&to, ANSWER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;

    /// An rpcbind that answers each call with the next of `answers`, and tells what it was asked.
    fn scripted(answers: Vec<Vec<u8>>) -> (Where, Receiver<(u32, u32, Vec<u8>)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = listener.local_addr().unwrap();
        let (tell, told) = channel();
        thread::spawn(move || {
            let mut answers = answers.into_iter();
            let mut stream = listener.accept().unwrap().0;
            let mut received = Vec::new();
            loop {
                match record::next_record(&mut received, 4096).unwrap() {
                    Step::More { .. } => {
                        let mut part = [0; 512];
                        match stream.read(&mut part) {
                            Ok(bytes) if bytes > 0 => received.extend_from_slice(&part[..bytes]),
                            // The client has gone; the next one connects to unregister.
                            _ => stream = listener.accept().unwrap().0,
                        }
                    }
                    Step::Record { body, consumed } => {
                        let mut reader = Reader::new(&received[body]);
                        let call = CallHeader::parse(&mut reader).unwrap();
                        let Some(answer) = answers.next() else { return };
                        let mut reply = Vec::new();
                        let mut w = Writer::new(&mut reply);
                        let mark = record::begin(&mut w);
                        w.u32(call.xid);
                        w.raw(&answer);
                        record::finish(&mut w, mark, 0);
                        stream.write_all(&reply).unwrap();
                        tell.send((call.version, call.procedure, reader.rest().to_vec())).unwrap();
                        received.drain(..consumed);
                    }
                }
            }
        });
        (Where { local: PathBuf::from("/nonexistent"), tcp }, told)
    }

    /// A reply without its xid: accepted, with these words of status and results.
    fn accepted(words: &[u32]) -> Vec<u8> {
        [1, 0, 0, 0].iter().chain(words).flat_map(|word| word.to_be_bytes()).collect()
    }

    fn program(port: u16) -> Registration {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        Registration { program: 100_003, version: 3, netid: shard::portmap::Netid::Tcp, address }
    }

    #[test]
    fn a_program_is_set_with_version_four_and_unset_again() {
        let (place, told) = scripted(vec![accepted(&[0, 1]), accepted(&[0, 1])]);
        register(place, &[program(2049)]).unwrap().unregister();
        let (version, procedure, arguments) = told.recv().unwrap();
        assert_eq!((version, procedure), (4, 1));
        let asked: Rpcb<'_> = Reader::new(&arguments).decode().unwrap();
        assert_eq!((asked.r_prog, asked.r_vers, &*asked.r_addr), (100_003, 3, &b"0.0.0.0.8.1"[..]));
        let (version, procedure, _) = told.recv().unwrap();
        assert_eq!((version, procedure), (4, 2));
    }

    #[test]
    fn an_old_portmapper_is_told_with_version_two() {
        let (place, told) = scripted(vec![accepted(&[2, 2, 2]), accepted(&[0, 1])]);
        register(place, &[program(2049)]).unwrap();
        assert_eq!(told.recv().unwrap().0, 4);
        let (version, procedure, arguments) = told.recv().unwrap();
        assert_eq!((version, procedure), (2, 1));
        let mapping: Mapping = Reader::new(&arguments).decode().unwrap();
        assert_eq!(mapping, Mapping { prog: 100_003, vers: 3, prot: 6, port: 2049 });
    }

    /// What DUMP answers for NFS over TCP at `address`.
    fn dump(address: SocketAddr) -> Vec<u8> {
        let mut answer = accepted(&[0]);
        let mut w = Writer::new(&mut answer);
        let at = UaddrBuf::new(address);
        w.list([rpcb(&program(1), at.uaddr()).unwrap()]);
        answer
    }

    #[test]
    fn a_living_servers_registration_is_left_alone() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let (place, told) = scripted(vec![accepted(&[0, 0]), dump(other.local_addr().unwrap())]);
        let refused = register(place, &[program(2049)]).err().unwrap();
        assert!(refused.contains("already has program 100003"), "{refused}");
        assert_eq!(told.recv().unwrap().1, 1);
        assert_eq!(told.recv().unwrap().1, 4);
        assert!(told.try_recv().is_err());
    }

    #[test]
    fn a_dead_servers_registration_is_replaced() {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let answers = vec![accepted(&[0, 0]), dump(gone), accepted(&[0, 1]), accepted(&[0, 1])];
        let (place, told) = scripted(answers);
        register(place, &[program(2049)]).unwrap();
        let procedures: Vec<u32> = (0..4).map(|_| told.recv().unwrap().1).collect();
        assert_eq!(procedures, [1, 4, 2, 1]);
    }

    #[test]
    fn no_rpcbind_is_an_error() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(register(Where { local: PathBuf::from("/nonexistent"), tcp }, &[program(1)]).is_err());
    }
}
