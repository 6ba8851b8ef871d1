//! The portmapper, RFC 1833: version 2 (PMAP), versions 3 and 4 (RPCBIND), and universal addresses.
//!
//! Callers: `shard`'s portmap door, `appliance` when it registers with an rpcbind that runs already, `perf`.
//! Indirect calls (CALLIT, BCAST, INDIRECT) have a number here and no types: they are answered PROC_UNAVAIL,
//! because they make a server call others in a stranger's name.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::xdr::List;

/// The program's number, in every version.
pub const PROGRAM: u32 = 100_000;
/// The portmapper's port, TCP and UDP.
pub const PORT: u16 = 111;
/// PMAP, RFC 1833 3.
pub const VERSION_2: u32 = 2;
/// RPCBIND, RFC 1833 2.
pub const VERSION_3: u32 = 3;
/// RPCBIND with GETVERSADDR and statistics, RFC 1833 2.
pub const VERSION_4: u32 = 4;

/// `prot` of a [`Mapping`].
pub const IPPROTO_TCP: u32 = 6;
/// `prot` of a [`Mapping`].
pub const IPPROTO_UDP: u32 = 17;

/// The most bytes of a network's name, such as `tcp6`. The RFC has no limit; this one is ours.
pub const NETID_MAX: usize = 32;
/// The most bytes of a universal address. The RFC has no limit; this one is ours, above what IPv6 can need.
pub const UADDR_MAX: usize = 128;
/// The most bytes of an owner's name. The RFC has no limit; this one is ours.
pub const OWNER_MAX: usize = 255;

xdr_enum! {
    /// The procedures of version 2, RFC 1833 3.2.
    pub enum PmapProcedure {
        Null = 0 "NULL",
        Set = 1 "SET",
        Unset = 2 "UNSET",
        Getport = 3 "GETPORT",
        Dump = 4 "DUMP",
        Callit = 5 "CALLIT",
    }
}

xdr_struct! {
    /// `mapping`, RFC 1833 3.1: the argument of SET, UNSET and GETPORT, and an item of DUMP.
    /// SET and UNSET answer a bool, GETPORT a `u32` that is 0 when there is none.
    pub struct Mapping {
        pub prog: u32,
        pub vers: u32,
        pub prot: u32,
        pub port: u32,
    }
}

/// `pmaplist`: the answer to DUMP of version 2.
pub type Pmaplist<'a> = List<'a, Mapping>;

xdr_enum! {
    /// The procedures of versions 3 and 4, RFC 1833 2.2. Version 3 ends with TADDR2UADDR.
    pub enum RpcbProcedure {
        Null = 0 "NULL",
        Set = 1 "SET",
        Unset = 2 "UNSET",
        Getaddr = 3 "GETADDR",
        Dump = 4 "DUMP",
        /// CALLIT in version 3.
        Bcast = 5 "BCAST",
        Gettime = 6 "GETTIME",
        Uaddr2taddr = 7 "UADDR2TADDR",
        Taddr2uaddr = 8 "TADDR2UADDR",
        Getversaddr = 9 "GETVERSADDR",
        Indirect = 10 "INDIRECT",
        Getaddrlist = 11 "GETADDRLIST",
        Getstat = 12 "GETSTAT",
    }
}

xdr_bytes! {
    /// `r_netid`: `tcp`, `udp`, `tcp6`, `udp6`.
    pub struct Netid<NETID_MAX>
}

xdr_bytes! {
    /// A universal address, RFC 1833 2.1 and RFC 5665 5.2.3; empty for none. The answer to GETADDR and GETVERSADDR.
    pub struct Uaddr<UADDR_MAX>
}

xdr_bytes! {
    /// `r_owner`: who registered it.
    pub struct Owner<OWNER_MAX>
}

xdr_struct! {
    /// `rpcb`, RFC 1833 2.1: the argument of SET, UNSET, GETADDR and GETVERSADDR, and an item of DUMP.
    /// SET and UNSET answer a bool, GETTIME the seconds since 1970 as a `u32`.
    pub struct Rpcb<'a> {
        pub r_prog: u32,
        pub r_vers: u32,
        pub r_netid: Netid<'a>,
        pub r_addr: Uaddr<'a>,
        pub r_owner: Owner<'a>,
    }
}

/// `rpcblist_ptr`: the answer to DUMP of versions 3 and 4.
pub type Rpcblist<'a> = List<'a, Rpcb<'a>>;

impl Uaddr<'_> {
    /// The address that is meant: `h1.h2.h3.h4.p1.p2`, or an IPv6 address in front of `.p1.p2`. `None` for
    /// anything else. A scope (`%eth0`) is not taken.
    pub fn parse(self) -> Option<SocketAddr> {
        let text = std::str::from_utf8(self.bytes()).ok()?;
        let (rest, low) = text.rsplit_once('.')?;
        let (host, high) = rest.rsplit_once('.')?;
        let port = u16::from_be_bytes([octet(high)?, octet(low)?]);
        let host = match host.contains(':') {
            true => IpAddr::V6(Ipv6Addr::from_str(host).ok()?),
            false => IpAddr::V4(Ipv4Addr::from_str(host).ok()?),
        };
        Some(SocketAddr::new(host, port))
    }
}

/// One to three digits up to 255; no sign, which `u8::from_str` would take.
fn octet(text: &str) -> Option<u8> {
    let is_plain = (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    match is_plain {
        true => text.parse().ok(),
        false => None,
    }
}

/// A universal address of our own making, without heap.
#[derive(Clone, Copy)]
pub struct UaddrBuf {
    bytes: [u8; UADDR_MAX],
    len: usize,
}

impl UaddrBuf {
    /// The universal address of a socket's address; a scope is left out.
    pub fn new(address: SocketAddr) -> Self {
        let mut text = Self { bytes: [0; UADDR_MAX], len: 0 };
        let [high, low] = address.port().to_be_bytes();
        write!(text, "{}.{high}.{low}", address.ip()).expect("an IPv6 address and two octets have 53 bytes at most");
        text
    }

    pub fn uaddr(&self) -> Uaddr<'_> {
        Uaddr::new(&self.bytes[..self.len]).expect("the buffer is as long as the type's maximum")
    }
}

impl fmt::Write for UaddrBuf {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        let place = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

impl fmt::Debug for UaddrBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uaddr().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<SocketAddr> {
        Uaddr::new(text.as_bytes()).unwrap().parse()
    }

    #[test]
    fn a_universal_address_ends_with_the_two_bytes_of_the_port() {
        for (text, address) in [
            ("10.0.0.7.8.1", "10.0.0.7:2049"),
            ("0.0.0.0.0.111", "0.0.0.0:111"),
            ("::.0.111", "[::]:111"),
            ("fd99::1.255.255", "[fd99::1]:65535"),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(parse(text), Some(address), "{text}");
            assert_eq!(&*UaddrBuf::new(address).uaddr(), text.as_bytes());
        }
    }

    #[test]
    fn the_longest_address_fits() {
        let address: SocketAddr = "[1111:2222:3333:4444:5555:6666:255.255.255.255]:65535".parse().unwrap();
        assert_eq!(UaddrBuf::new(address).uaddr().parse(), Some(address));
    }

    #[test]
    fn what_is_no_universal_address_is_refused() {
        for text in [
            "",
            ".",
            "..",
            "1.2.3.4",
            "1.2.3.4.5",
            "1.2.3.4.5.256",
            "1.2.3.4.+5.6",
            "1.2.3.4.5.",
            "1.2.3.4.5.6.7",
            "::1",
            "fe80::1%eth0.0.111",
            "1.2.3.4.0005.6",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(Uaddr::new(&[0xFF; 8]).unwrap().parse(), None);
    }
}
