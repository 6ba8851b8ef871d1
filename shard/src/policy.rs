//! Who may do what: the shares, their clients, squashing, and the one authorisation function that
//! every operation of every protocol asks before it touches a filesystem.
//!
//! Callers: each protocol's dispatch (with *all* handles of the operation), MOUNT (which share a
//! path belongs to), the appliance (builds the list, publishes a new one when names resolve
//! differently or the configuration was read again). Pure but for [`ExportsCell`].
//!
//! Default deny: a client that no rule names, a flavour that is not known, a filesystem without an
//! export and a host name that did not resolve are refused. Rules are tried in the order they were
//! written; the first that matches the client's address decides.

#![expect(clippy::disallowed_types, reason = "taken only when the list of shares has changed")]

use crate::cred::{Cred, GROUPS_MAX};
use parking_lot::Mutex;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most shares of one server.
pub const EXPORTS_MAX: usize = 1024;
/// Most client rules of one share.
pub const RULES_MAX: usize = 1024;
/// Most addresses kept of one host name.
pub const HOST_ADDRESSES_MAX: usize = 64;
/// Longest share path in bytes: what MOUNT can carry (RFC 1813 5.1.3, MNTPATHLEN).
pub const SHARE_PATH_MAX: usize = 1024;
/// Longest host name (RFC 1035 2.3.4).
const HOST_NAME_MAX: usize = 253;
/// The usual `nobody`.
pub const ANONYMOUS: u32 = 65534;

/// Names a filesystem of the pool: part of every file handle, never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilesystemId(pub u64);

/// What an operation is going to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Leaves everything as it is.
    Read,
    /// Changes data, attributes or names.
    Write,
}

/// What a client may do on a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read only.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// Whose identity is replaced by the anonymous one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Squash {
    /// The superuser's: user 0, and group 0 wherever it appears.
    #[default]
    Root,
    /// Everyone's.
    All,
    /// Nobody's.
    None,
}

/// The identity that a call claims, before squashing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim<'a> {
    /// AUTH_NONE (RFC 5531 10.1): nobody in particular. Acts as the anonymous user, whatever the
    /// share's squashing: it never gives more than AUTH_SYS would.
    Nobody,
    /// AUTH_SYS (RFC 5531 appendix A).
    Sys {
        /// User.
        uid: u32,
        /// Primary group.
        gid: u32,
        /// Auxiliary groups; those beyond [`GROUPS_MAX`] are left out.
        groups: &'a [u32],
    },
    /// A flavour that is not known here.
    Unknown,
}

/// Why an operation was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No rule names this client, or no share has this filesystem.
    NotListed,
    /// The flavour of the credential is not accepted (RFC 5531 9: AUTH_TOOWEAK).
    Flavour,
    /// The client may only read.
    ReadOnly,
}

/// A network: an address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: u128,
    mask: u128,
    shown: IpAddr,
    bits: u8,
}

impl Network {
    /// The network of `address` with `bits` leading bits; `None` where that is more than it has.
    pub fn new(address: IpAddr, bits: u8) -> Option<Network> {
        let address = address.to_canonical();
        let (width, offset) = match address {
            IpAddr::V4(_) => (32, 96),
            IpAddr::V6(_) => (128, 0),
        };
        if bits > width {
            return None;
        }
        let mask = u128::MAX.checked_shl(u32::from(128 - (bits + offset))).unwrap_or(0);
        let base = as_number(address) & mask;
        let low = base.to_be_bytes();
        let shown = match address {
            IpAddr::V4(_) => IpAddr::from([low[12], low[13], low[14], low[15]]),
            IpAddr::V6(_) => IpAddr::from(base.to_be_bytes()),
        };
        Some(Network { base, mask, shown, bits })
    }

    /// The network with this one address.
    pub fn of_address(address: IpAddr) -> Network {
        let bits = if address.to_canonical().is_ipv4() { 32 } else { 128 };
        Network::new(address, bits).expect("the full width is never too wide")
    }

    /// Whether `address` lies in it. An IPv4 address written as IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        as_number(address) & self.mask == self.base
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let bad = || format!("'{text}' is not a network such as 10.0.0.0/8 or fd00::/8");
        let Some((address, bits)) = text.split_once('/') else {
            return Ok(Network::of_address(text.parse().map_err(|_| bad())?));
        };
        let address = address.parse().map_err(|_| bad())?;
        Network::new(address, bits.parse().map_err(|_| bad())?).ok_or_else(bad)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = if self.shown.is_ipv4() { 32 } else { 128 };
        if self.bits == width { write!(f, "{}", self.shown) } else { write!(f, "{}/{}", self.shown, self.bits) }
    }
}

/// All addresses on one line of numbers: IPv4 where IPv6 maps it (RFC 4291 2.5.5.2).
fn as_number(address: IpAddr) -> u128 {
    let mapped: Ipv6Addr = match address {
        IpAddr::V4(four) => four.to_ipv6_mapped(),
        IpAddr::V6(six) => six,
    };
    u128::from_be_bytes(mapped.octets())
}

/// Whom a rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Every client.
    Anyone,
    /// An address or a network.
    Network(Network),
    /// A host name and what it resolved to; with no addresses it matches nobody.
    Host {
        /// The name as configured.
        name: String,
        /// Its addresses, at most [`HOST_ADDRESSES_MAX`].
        addresses: Vec<IpAddr>,
    },
}

impl Who {
    fn matches(&self, peer: IpAddr) -> bool {
        match self {
            Who::Anyone => true,
            Who::Network(network) => network.contains(peer),
            Who::Host { addresses, .. } => addresses.iter().any(|&own| as_number(own) == as_number(peer)),
        }
    }
}

impl FromStr for Who {
    type Err = String;

    /// `*` or `anyone`, an address, a network, or a host name (without addresses yet).
    fn from_str(text: &str) -> Result<Who, String> {
        if text == "*" || text == "anyone" {
            return Ok(Who::Anyone);
        }
        let numeric = text.contains(['/', ':']) || text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if numeric {
            return Ok(Who::Network(text.parse()?));
        }
        if !is_host_name(text) {
            return Err(format!("'{text}' is not an address, a network, a host name or 'anyone'"));
        }
        Ok(Who::Host { name: text.to_owned(), addresses: Vec::new() })
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Anyone => f.write_str("*"),
            Who::Network(network) => network.fmt(f),
            Who::Host { name, .. } => f.write_str(name),
        }
    }
}

fn is_host_name(text: &str) -> bool {
    let label_is_good = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(inner) && !label.starts_with('-')
    };
    text.len() <= HOST_NAME_MAX && text.strip_suffix('.').unwrap_or(text).split('.').all(label_is_good)
}

/// What some clients may do, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The clients.
    pub who: Who,
    /// What they may do.
    pub access: Access,
    /// Whose identity is replaced.
    pub squash: Squash,
    /// User of the anonymous identity.
    pub anon_uid: u32,
    /// Group of the anonymous identity.
    pub anon_gid: u32,
}

impl Rule {
    /// A rule with the defaults: read and write, the superuser squashed to [`ANONYMOUS`].
    pub fn new(who: Who) -> Rule {
        let access = Access::ReadWrite;
        Rule { who, access, squash: Squash::Root, anon_uid: ANONYMOUS, anon_gid: ANONYMOUS }
    }

    /// The identity that a claim acts with, or why it may not.
    fn identity(&self, claim: Claim<'_>) -> Result<Cred, Denied> {
        let anonymous = Cred::new(self.anon_uid, self.anon_gid, &[]);
        let (uid, gid, groups) = match claim {
            Claim::Unknown => return Err(Denied::Flavour),
            Claim::Nobody => return Ok(anonymous),
            Claim::Sys { .. } if self.squash == Squash::All => return Ok(anonymous),
            Claim::Sys { uid, gid, groups } => (uid, gid, groups),
        };
        if self.squash == Squash::None {
            return Ok(Cred::new(uid, gid, groups));
        }
        let uid = if uid == 0 { self.anon_uid } else { uid };
        let squashed = |gid: u32| if gid == 0 { self.anon_gid } else { gid };
        let mut kept = [0; GROUPS_MAX];
        let count = groups.len().min(GROUPS_MAX);
        for (to, &from) in kept.iter_mut().zip(groups) {
            *to = squashed(from);
        }
        Ok(Cred::new(uid, squashed(gid), &kept[..count]))
    }
}

/// The path that clients mount a share by: absolute, without empty, `.` or `..` parts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharePath(String);

impl SharePath {
    /// The path as text; `/` alone for a share that is the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What remains of `path` below this share; `None` where it lies elsewhere.
    fn below<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        if self.0 == "/" {
            return path.starts_with(b"/").then_some(path);
        }
        let rest = path.strip_prefix(self.0.as_bytes())?;
        (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
    }
}

impl FromStr for SharePath {
    type Err = String;

    fn from_str(text: &str) -> Result<SharePath, String> {
        let bad = |why: &str| Err(format!("the share '{text}' {why}"));
        if text.len() > SHARE_PATH_MAX {
            return bad("is longer than 1024 bytes");
        }
        let Some(inner) = text.strip_prefix('/') else { return bad("does not begin with '/'") };
        if text.chars().any(char::is_control) {
            return bad("contains a control character");
        }
        if !inner.is_empty() && inner.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return bad("contains an empty part, '.' or '..'");
        }
        Ok(SharePath(text.to_owned()))
    }
}

impl fmt::Display for SharePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A share: a filesystem, the path it is mounted by, and its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Where clients find it.
    pub path: SharePath,
    /// What it shows.
    pub filesystem: FilesystemId,
    /// Its clients; the first rule that matches decides.
    pub rules: Vec<Rule>,
}

impl Export {
    /// The rule for a client.
    fn rule(&self, peer: IpAddr) -> Result<&Rule, Denied> {
        self.rules.iter().find(|rule| rule.who.matches(peer)).ok_or(Denied::NotListed)
    }

    /// Whether a client may mount it at all.
    pub fn admits(&self, peer: IpAddr) -> bool {
        self.rule(peer).is_ok()
    }

    /// Whether a client may change anything on it.
    pub fn admits_writes(&self, peer: IpAddr) -> bool {
        self.rule(peer).is_ok_and(|rule| rule.access == Access::ReadWrite)
    }
}

/// All shares of the server. Immutable; a change is a new list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    /// Sorted by filesystem.
    list: Vec<Export>,
}

impl Exports {
    /// The list; refuses two shares with one path or one filesystem, and lists beyond the limits.
    pub fn new(mut list: Vec<Export>) -> Result<Exports, String> {
        if list.len() > EXPORTS_MAX {
            return Err(format!("{} shares; at most {EXPORTS_MAX} can be served", list.len()));
        }
        if let Some(export) = list.iter().find(|export| export.rules.len() > RULES_MAX) {
            return Err(format!("the share {} has more than {RULES_MAX} clients", export.path));
        }
        list.sort_by(|a, b| a.path.cmp(&b.path));
        if let Some(pair) = list.windows(2).find(|pair| pair[0].path == pair[1].path) {
            return Err(format!("the share {} is defined twice", pair[0].path));
        }
        list.sort_by_key(|export| export.filesystem);
        if let Some(pair) = list.windows(2).find(|pair| pair[0].filesystem == pair[1].filesystem) {
            return Err(format!("the shares {} and {} have one filesystem", pair[0].path, pair[1].path));
        }
        Ok(Exports { list })
    }

    /// The authorisation of an operation: `handles` are the filesystems of *all* its handles.
    ///
    /// Every one of them must be exported to `peer`, and writable when `intent` says so. The
    /// identity is that of the first handle's share; an operation that spans two shares is refused
    /// by the verb ([`crate::status::Status::XDev`]). Allocates nothing.
    pub fn authorize(
        &self,
        peer: IpAddr,
        claim: Claim<'_>,
        handles: &[FilesystemId],
        intent: Intent,
    ) -> Result<(Cred, &Export), Denied> {
        let (&first, others) = handles.split_first().ok_or(Denied::NotListed)?;
        let (export, rule) = self.permitted(peer, first, intent)?;
        for &other in others {
            if other != first {
                self.permitted(peer, other, intent)?;
            }
        }
        Ok((rule.identity(claim)?, export))
    }

    fn permitted(&self, peer: IpAddr, id: FilesystemId, intent: Intent) -> Result<(&Export, &Rule), Denied> {
        let export = self.by_filesystem(id).ok_or(Denied::NotListed)?;
        let rule = export.rule(peer)?;
        if intent == Intent::Write && rule.access == Access::ReadOnly {
            return Err(Denied::ReadOnly);
        }
        Ok((export, rule))
    }

    /// The share with this filesystem.
    pub fn by_filesystem(&self, id: FilesystemId) -> Option<&Export> {
        let at = self.list.binary_search_by_key(&id, |export| export.filesystem).ok()?;
        self.list.get(at)
    }

    /// The share that `path` lies in and what remains of the path below it (empty at its root).
    /// Of shares within shares the innermost wins.
    pub fn by_path<'a>(&self, path: &'a [u8]) -> Option<(&Export, &'a [u8])> {
        let candidates = self.list.iter().filter_map(|export| Some((export, export.path.below(path)?)));
        candidates.max_by_key(|(export, _)| export.path.as_str().len())
    }

    /// All shares.
    pub fn iter(&self) -> impl Iterator<Item = &Export> {
        self.list.iter()
    }
}

/// The list that all cores read and the control plane replaces.
#[derive(Debug)]
pub struct ExportsCell {
    generation: AtomicU64,
    current: Mutex<Arc<Exports>>,
}

impl ExportsCell {
    /// A cell with a first list.
    pub fn new(first: Exports) -> ExportsCell {
        ExportsCell { generation: AtomicU64::new(1), current: Mutex::new(Arc::new(first)) }
    }

    /// Replaces the list for every operation that begins from now on.
    pub fn publish(&self, next: Exports) {
        *self.current.lock() = Arc::new(next);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The list as of now. For the control plane; cores use [`ExportsView`].
    pub fn current(&self) -> Arc<Exports> {
        self.current.lock().clone()
    }
}

/// One core's (or connection's) look at the list: one atomic load per operation while it does not
/// change.
#[derive(Clone, Debug)]
pub struct ExportsView {
    cell: Arc<ExportsCell>,
    generation: u64,
    current: Arc<Exports>,
}

impl ExportsView {
    /// A view of the cell.
    pub fn new(cell: Arc<ExportsCell>) -> ExportsView {
        let generation = cell.generation.load(Ordering::Acquire);
        let current = cell.current();
        ExportsView { cell, generation, current }
    }

    /// The list as of now.
    pub fn get(&mut self) -> &Arc<Exports> {
        let generation = self.cell.generation.load(Ordering::Acquire);
        if generation != self.generation {
            self.generation = generation;
            self.current = self.cell.current();
        }
        &self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOTS: FilesystemId = FilesystemId(1);
    const ASSETS: FilesystemId = FilesystemId(2);
    const USER: Claim<'static> = Claim::Sys { uid: 1000, gid: 100, groups: &[0, 27] };
    const ROOT: Claim<'static> = Claim::Sys { uid: 0, gid: 0, groups: &[0, 27] };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn rule(who: &str) -> Rule {
        Rule::new(who.parse().unwrap())
    }

    fn export(path: &str, filesystem: FilesystemId, rules: Vec<Rule>) -> Export {
        Export { path: path.parse().unwrap(), filesystem, rules }
    }

    fn one(rules: Vec<Rule>) -> Exports {
        Exports::new(vec![export("/shots", SHOTS, rules)]).unwrap()
    }

    #[test]
    fn a_client_that_no_rule_names_is_denied() {
        let exports = one(vec![rule("10.0.0.0/8")]);
        assert!(exports.authorize(ip("10.255.0.1"), USER, &[SHOTS], Intent::Write).is_ok());
        let denied = exports.authorize(ip("11.0.0.1"), USER, &[SHOTS], Intent::Read);
        assert_eq!(denied.err(), Some(Denied::NotListed));
        assert_eq!(one(vec![]).authorize(ip("10.0.0.1"), USER, &[SHOTS], Intent::Read).err(), Some(Denied::NotListed));
    }

    #[test]
    fn a_filesystem_without_an_export_and_an_empty_list_of_handles_are_denied() {
        let exports = one(vec![rule("anyone")]);
        assert_eq!(exports.authorize(ip("::1"), USER, &[ASSETS], Intent::Read).err(), Some(Denied::NotListed));
        assert_eq!(exports.authorize(ip("::1"), USER, &[], Intent::Read).err(), Some(Denied::NotListed));
    }

    #[test]
    fn every_handle_of_an_operation_is_checked() {
        let mut read_only = rule("anyone");
        read_only.access = Access::ReadOnly;
        let list = vec![export("/shots", SHOTS, vec![rule("anyone")]), export("/assets", ASSETS, vec![read_only])];
        let exports = Exports::new(list).unwrap();
        let peer = ip("192.0.2.7");
        assert!(exports.authorize(peer, USER, &[SHOTS, SHOTS], Intent::Write).is_ok());
        assert!(exports.authorize(peer, USER, &[SHOTS, ASSETS], Intent::Read).is_ok());
        assert_eq!(exports.authorize(peer, USER, &[SHOTS, ASSETS], Intent::Write).err(), Some(Denied::ReadOnly));
        let unknown = FilesystemId(9);
        assert_eq!(exports.authorize(peer, USER, &[SHOTS, unknown], Intent::Read).err(), Some(Denied::NotListed));
    }

    #[test]
    fn a_read_only_client_may_read_and_not_write() {
        let mut first = rule("10.1.0.0/16");
        first.access = Access::ReadOnly;
        let exports = one(vec![first, rule("10.0.0.0/8")]);
        assert!(exports.authorize(ip("10.1.2.3"), USER, &[SHOTS], Intent::Read).is_ok());
        assert_eq!(exports.authorize(ip("10.1.2.3"), USER, &[SHOTS], Intent::Write).err(), Some(Denied::ReadOnly));
        assert!(exports.authorize(ip("10.2.2.3"), USER, &[SHOTS], Intent::Write).is_ok());
    }

    #[test]
    fn the_superuser_is_squashed_unless_the_rule_says_otherwise() {
        let cred = |squash: Squash, claim: Claim<'_>| {
            let mut rule = rule("anyone");
            rule.squash = squash;
            rule.anon_uid = 700;
            rule.anon_gid = 701;
            one(vec![rule]).authorize(ip("::1"), claim, &[SHOTS], Intent::Read).unwrap().0
        };
        assert_eq!(cred(Squash::Root, ROOT), Cred::new(700, 701, &[701, 27]));
        assert_eq!(cred(Squash::Root, USER), Cred::new(1000, 100, &[701, 27]));
        assert_eq!(cred(Squash::None, ROOT), Cred::new(0, 0, &[0, 27]));
        assert_eq!(cred(Squash::All, USER), Cred::new(700, 701, &[]));
        assert_eq!(Rule::new(Who::Anyone).squash, Squash::Root);
        assert_eq!(Rule::new(Who::Anyone).anon_uid, 65534);
    }

    #[test]
    fn auth_none_acts_as_the_anonymous_user_and_an_unknown_flavour_is_denied() {
        let mut open = rule("anyone");
        open.squash = Squash::None;
        let exports = one(vec![open]);
        let (cred, _) = exports.authorize(ip("::1"), Claim::Nobody, &[SHOTS], Intent::Read).unwrap();
        assert_eq!(cred, Cred::new(ANONYMOUS, ANONYMOUS, &[]));
        let denied = exports.authorize(ip("::1"), Claim::Unknown, &[SHOTS], Intent::Read);
        assert_eq!(denied.err(), Some(Denied::Flavour));
    }

    #[test]
    fn more_groups_than_auth_sys_can_carry_are_left_out() {
        let groups: Vec<u32> = (1..=40).collect();
        let claim = Claim::Sys { uid: 1, gid: 1, groups: &groups };
        let (cred, _) = one(vec![rule("anyone")])
            .authorize(ip("::1"), claim, &[SHOTS], Intent::Read)
            .map(|(c, e)| (c, e.filesystem))
            .unwrap();
        assert!(cred.is_member(16));
        assert!(!cred.is_member(17));
    }

    #[test]
    fn networks_match_by_their_leading_bits() {
        let net: Network = "192.168.4.0/23".parse().unwrap();
        assert!(net.contains(ip("192.168.5.255")));
        assert!(!net.contains(ip("192.168.6.0")));
        assert!(net.contains(ip("::ffff:192.168.4.9")));
        let six: Network = "fd00:1::/32".parse().unwrap();
        assert!(six.contains(ip("fd00:1:ffff::1")));
        assert!(!six.contains(ip("fd00:2::1")));
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains(ip("255.0.0.1")));
        assert!(!all.contains(ip("fd00::1")));
        assert!("::/0".parse::<Network>().unwrap().contains(ip("10.0.0.1")));
        assert_eq!("10.9.8.7/8".parse::<Network>().unwrap().to_string(), "10.0.0.0/8");
        assert_eq!("::ffff:10.9.8.7".parse::<Network>().unwrap().to_string(), "10.9.8.7");
    }

    #[test]
    fn networks_that_are_none_are_refused() {
        for bad in ["10.0.0.0/33", "10.0.0/8", "fd00::/129", "10.0.0.0/-1", "10.0.0.0/", "/8", "", "999.1.1.1"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        for bad in ["10.0.0.0/33", "*.farm", "a b", "-x", "a..b", "", "1.2.3"] {
            assert!(bad.parse::<Who>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_host_name_admits_only_what_it_resolved_to() {
        let mut named = rule("render-1.farm");
        assert!(one(vec![named.clone()]).authorize(ip("10.0.0.5"), USER, &[SHOTS], Intent::Read).is_err());
        named.who = Who::Host { name: "render-1.farm".into(), addresses: vec![ip("10.0.0.5")] };
        let exports = one(vec![named]);
        assert!(exports.authorize(ip("::ffff:10.0.0.5"), USER, &[SHOTS], Intent::Read).is_ok());
        assert!(exports.authorize(ip("10.0.0.6"), USER, &[SHOTS], Intent::Read).is_err());
    }

    #[test]
    fn the_innermost_share_of_a_path_is_found_on_part_boundaries() {
        let list = vec![export("/a", FilesystemId(1), vec![]), export("/a/b", FilesystemId(2), vec![])];
        let exports = Exports::new(list).unwrap();
        let found = |path: &'static str| {
            let found = exports.by_path(path.as_bytes());
            found.map(|(export, rest)| (export.filesystem.0, std::str::from_utf8(rest).unwrap()))
        };
        assert_eq!(found("/a"), Some((1, "")));
        assert_eq!(found("/a/x"), Some((1, "/x")));
        assert_eq!(found("/a/b/c"), Some((2, "/c")));
        assert_eq!(found("/ab"), None);
        assert_eq!(found("/"), None);
        let root = Exports::new(vec![export("/", FilesystemId(3), vec![])]).unwrap();
        assert_eq!(root.by_path(b"/x/y").map(|(_, rest)| rest), Some(&b"/x/y"[..]));
    }

    #[test]
    fn share_paths_are_absolute_and_plain() {
        for good in ["/", "/a", "/a/b.c", "/with space"] {
            assert!(good.parse::<SharePath>().is_ok(), "{good}");
        }
        for bad in ["", "a", "/a/", "//a", "/a/../b", "/.", "/a\n"] {
            assert!(bad.parse::<SharePath>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_share_that_is_defined_twice_is_refused() {
        let list = vec![export("/a", FilesystemId(1), vec![]), export("/a", FilesystemId(2), vec![])];
        assert!(Exports::new(list).unwrap_err().contains("/a is defined twice"));
        let list = vec![export("/a", FilesystemId(1), vec![]), export("/b", FilesystemId(1), vec![])];
        assert!(Exports::new(list).is_err());
    }

    #[test]
    fn a_published_list_is_seen_by_every_view() {
        let cell = Arc::new(ExportsCell::new(one(vec![])));
        let mut view = ExportsView::new(cell.clone());
        assert!(view.get().authorize(ip("::1"), USER, &[SHOTS], Intent::Read).is_err());
        cell.publish(one(vec![rule("::1")]));
        assert!(view.get().authorize(ip("::1"), USER, &[SHOTS], Intent::Read).is_ok());
    }
}
