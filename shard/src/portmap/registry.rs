//! What a portmapper knows: which program listens where. Made once at start, read by every procedure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use wire::portmap::{self, IPPROTO_TCP, IPPROTO_UDP};

/// Most registrations: MOUNT, NFS and the portmapper in all their versions over four networks, with room.
pub const REGISTRATIONS_MAX: usize = 64;

/// A network as RFC 5665 5.2.3 names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Netid {
    /// TCP over IPv4.
    Tcp,
    /// UDP over IPv4.
    Udp,
    /// TCP over IPv6.
    Tcp6,
    /// UDP over IPv6.
    Udp6,
}

impl Netid {
    /// TCP on the family of `address`.
    pub fn tcp(address: IpAddr) -> Netid {
        if address.to_canonical().is_ipv4() { Netid::Tcp } else { Netid::Tcp6 }
    }

    /// UDP on the family of `address`.
    pub fn udp(address: IpAddr) -> Netid {
        if address.to_canonical().is_ipv4() { Netid::Udp } else { Netid::Udp6 }
    }

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Netid::Tcp => "tcp",
            Netid::Udp => "udp",
            Netid::Tcp6 => "tcp6",
            Netid::Udp6 => "udp6",
        }
    }

    pub(super) fn on_the_wire(self) -> portmap::Netid<'static> {
        portmap::Netid::new(self.name().as_bytes()).expect("every name is shorter than the type's maximum")
    }

    /// The IP protocol as version 2 has it; `None` for IPv6, which version 2 does not know.
    pub fn protocol(self) -> Option<u32> {
        match self {
            Netid::Tcp => Some(IPPROTO_TCP),
            Netid::Udp => Some(IPPROTO_UDP),
            Netid::Tcp6 | Netid::Udp6 => None,
        }
    }
}

/// One program, version and network, and where it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Program.
    pub program: u32,
    /// Version.
    pub version: u32,
    /// Network.
    pub netid: Netid,
    /// Address; unspecified when it listens on all of them.
    pub address: SocketAddr,
}

impl Registration {
    /// A program's registrations on one listening socket over TCP or UDP: one per version, and for a socket on
    /// `::` one more per version on IPv4, which it serves too.
    pub fn of_listener(
        program: u32,
        versions: &[u32],
        listen: SocketAddr,
        netid: impl Fn(IpAddr) -> Netid,
    ) -> Vec<Registration> {
        let mut addresses = vec![listen];
        if listen.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            addresses.push(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), listen.port()));
        }
        let of = |address: SocketAddr, version: u32| {
            let netid = netid(address.ip());
            Registration { program, version, netid, address }
        };
        addresses.iter().flat_map(|&address| versions.iter().map(move |&version| of(address, version))).collect()
    }

    /// The address to tell a caller that came to `local`: all-addresses becomes the one it used.
    pub(super) fn reachable_from(&self, local: SocketAddr) -> SocketAddr {
        let local_ip = local.ip().to_canonical();
        let same_family = local_ip.is_ipv4() == self.address.is_ipv4();
        if self.address.ip().is_unspecified() && same_family {
            return SocketAddr::new(local_ip, self.address.port());
        }
        self.address
    }
}

/// All registrations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    list: Vec<Registration>,
}

impl Registry {
    /// The list; what is beyond [`REGISTRATIONS_MAX`] is left out.
    pub fn new(mut list: Vec<Registration>) -> Registry {
        list.truncate(REGISTRATIONS_MAX);
        Registry { list }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Registration> {
        self.list.iter()
    }

    /// The very version, or any other of the program: the client then learns the right one from the program
    /// itself (PROG_MISMATCH), as RFC 1833 2.2.1 has it.
    pub(super) fn nearest(&self, program: u32, version: u32, netid: Netid) -> Option<&Registration> {
        let any = || self.list.iter().find(|entry| entry.program == program && entry.netid == netid);
        self.exact(program, version, netid).or_else(any)
    }

    /// The very version.
    pub(super) fn exact(&self, program: u32, version: u32, netid: Netid) -> Option<&Registration> {
        self.list.iter().find(|entry| entry.program == program && entry.version == version && entry.netid == netid)
    }
}
