//! The configuration: every key, its default and its limits. `config/basalt.toml` explains each to the operator; a
//! test holds the two together.
//!
//! Callers: `main` (once), the re-reading of the shares on SIGHUP. Values are parsed where they are read, so that an
//! error names the line; what only makes sense together is checked in [`Config::check`]. An unknown key is an error.

mod environment;
mod quantity;
mod read;

pub use quantity::{Auto, CoreList, GIB, KIB, MIB, Mode, Size, Span};
pub use read::{from_environment, parse, read};

use serde::{Deserialize, Serialize};
use shard::policy::{ANONYMOUS, Access, Rule, SharePath, Squash, Who};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub server: Server,
    pub admin: Admin,
    pub log: Log,
    pub portmap: Portmap,
    pub pool: Pool,
    pub share: Vec<Share>,
}

/// What faces the clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where NFS and MOUNT answer; automatic: `machine::listen_address`.
    pub listen: Auto<SocketArg>,
    /// Processors to serve on; automatic: all that the process may use.
    pub cores: Auto<CoreList>,
    /// When the processors that serve may sleep.
    pub sleep: Sleep,
    /// Memory for cached blocks and inodes, all cores together; automatic: a quarter of the machine's.
    pub memory: Auto<Size>,
    pub connections_max: u32,
    pub connections_per_client_max: u32,
    /// Requests of one connection that may be served at a time.
    pub requests_in_flight_max: u32,
    /// Bytes of requests and replies of one connection that may be held at a time.
    pub bytes_in_flight_max: Size,
    /// A connection that is silent for so long is closed.
    pub idle_timeout: Span,
    /// A connection whose request or reply does not move for so long is closed.
    pub stall_timeout: Span,
    /// How long a stop may take until it is forced.
    pub stop_timeout: Span,
    /// How often host names are resolved again.
    pub resolve_interval: Span,
}

impl Default for Server {
    fn default() -> Server {
        Server {
            listen: Auto::Auto,
            cores: Auto::Auto,
            sleep: Sleep::WhenIdle,
            memory: Auto::Auto,
            connections_max: 4096,
            connections_per_client_max: 256,
            requests_in_flight_max: 64,
            bytes_in_flight_max: Size(16 * MIB),
            idle_timeout: Span(Duration::from_secs(15 * 60)),
            stall_timeout: Span(Duration::from_secs(60)),
            stop_timeout: Span(Duration::from_secs(10)),
            resolve_interval: Span(Duration::from_secs(60)),
        }
    }
}

/// When a processor may sleep between two calls, from which it takes time to wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sleep {
    /// When no call has come for a second or two.
    WhenIdle,
    /// Whenever the kernel decides.
    AnyTime,
}

/// Health and metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// A loopback address: the server behind it is not made for networks.
    pub listen: SocketArg,
}

impl Default for Admin {
    fn default() -> Admin {
        Admin { listen: SocketArg(SocketAddr::from(([127, 0, 0, 1], ADMIN_PORT))) }
    }
}

/// Port of the admin address.
const ADMIN_PORT: u16 = 2050;

/// The daemon's own log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub format: LogFormat,
    pub level: LogLevel,
    /// Appended to; empty for standard error.
    pub file: PathBuf,
}

impl Default for Log {
    fn default() -> Log {
        Log { format: LogFormat::Text, level: LogLevel::Info, file: PathBuf::new() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// The portmapper that clients without `port=` ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Portmap {
    pub mode: PortmapMode,
}

impl Default for Portmap {
    fn default() -> Portmap {
        Portmap { mode: PortmapMode::Auto }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortmapMode {
    /// The built-in one where port 111 is free and permitted, else registration, else neither.
    Auto,
    /// The built-in one or no start.
    Builtin,
    /// Registration with the rpcbind of this machine or no start.
    Register,
    /// Neither.
    Off,
}

/// Where data is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    pub path: PathBuf,
    /// Bytes of one log segment; automatic: 64 MiB, less on a small file system.
    pub segment: Auto<Size>,
    /// Bytes of the pool's file system that are left alone; automatic: 256 MiB, less on a small one.
    pub reserve: Auto<Size>,
}

impl Default for Pool {
    fn default() -> Pool {
        Pool { path: PathBuf::from("/var/lib/basalt"), segment: Auto::Auto, reserve: Auto::Auto }
    }
}

/// A share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    pub name: ShareName,
    #[serde(default)]
    pub store: Store,
    /// What it may use; automatic: all free space of the pool, or [`MEMORY_SHARE_BYTES`].
    #[serde(default = "automatic")]
    pub size: Auto<Size>,
    /// Owner and mode that the root directory gets when the share is made.
    #[serde(default)]
    pub root: Root,
    pub clients: Vec<Client>,
}

/// The root directory of a new share. Later it is changed over NFS like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Root {
    pub uid: u32,
    pub gid: u32,
    pub mode: Mode,
}

impl Default for Root {
    fn default() -> Root {
        Root { uid: 0, gid: 0, mode: Mode(0o755) }
    }
}

/// Size of a share in memory that does not say.
pub const MEMORY_SHARE_BYTES: u64 = GIB;

fn automatic() -> Auto<Size> {
    Auto::Auto
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// In the pool, durable.
    #[default]
    Disk,
    /// In memory; nothing is kept over a stop.
    Memory,
}

/// Some clients of a share. The first that matches decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    pub who: WhoArg,
    pub access: AccessArg,
    #[serde(default)]
    pub squash: SquashArg,
    #[serde(default = "anonymous")]
    pub anonuid: u32,
    #[serde(default = "anonymous")]
    pub anongid: u32,
}

fn anonymous() -> u32 {
    ANONYMOUS
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessArg {
    Ro,
    Rw,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SquashArg {
    #[default]
    Root,
    All,
    None,
}

impl Client {
    /// As the policy has it; a host name is without addresses yet.
    pub fn rule(&self) -> Rule {
        Rule {
            who: self.who.0.clone(),
            access: match self.access {
                AccessArg::Ro => Access::ReadOnly,
                AccessArg::Rw => Access::ReadWrite,
            },
            squash: match self.squash {
                SquashArg::Root => Squash::Root,
                SquashArg::All => Squash::All,
                SquashArg::None => Squash::None,
            },
            anon_uid: self.anonuid,
            anon_gid: self.anongid,
        }
    }
}

impl Config {
    /// Whether `next` is this configuration but for the clients of its shares, which take effect without a restart.
    pub fn differs_in_clients_alone(&self, next: &Config) -> bool {
        let without_clients = |config: &Config| {
            let mut config = config.clone();
            config.share.iter_mut().for_each(|share| share.clients.clear());
            config
        };
        without_clients(self) == without_clients(next)
    }

    /// What no single value can tell.
    pub fn check(&self) -> Result<(), String> {
        let server = &self.server;
        if self.share.is_empty() {
            return Err("no share is defined: add a [[share]]".into());
        }
        for (at, share) in self.share.iter().enumerate() {
            let clash = self.share[..at].iter().find(|other| other.name == share.name);
            if clash.is_some() {
                return Err(format!("the share {} is defined twice", share.name.0));
            }
            share.check()?;
        }
        if !self.admin.listen.0.ip().is_loopback() {
            let address = self.admin.listen.0;
            return Err(format!("admin.listen is {address}: it must be a loopback address such as 127.0.0.1:2050"));
        }
        if !self.pool.path.is_absolute() {
            return Err(format!("pool.path is '{}': it must be an absolute path", self.pool.path.display()));
        }
        within("server.connections_max", server.connections_max.into(), 1, 1 << 20)?;
        within("server.connections_per_client_max", server.connections_per_client_max.into(), 1, 1 << 20)?;
        within("server.requests_in_flight_max", server.requests_in_flight_max.into(), 1, 4096)?;
        within_size("server.bytes_in_flight_max", server.bytes_in_flight_max, Size(4 * MIB), Size(GIB))?;
        if let Auto::Given(memory) = server.memory {
            within_size("server.memory", memory, Size(MEMORY_BYTES_MIN), Size(1 << 50))?;
        }
        if let Auto::Given(segment) = self.pool.segment {
            within_size("pool.segment", segment, Size(4 * MIB), Size(GIB))?;
            if !segment.0.is_multiple_of(SEGMENT_STEP) {
                return Err(format!("pool.segment is {segment}: it must be a multiple of 64KiB"));
            }
        }
        if let Auto::Given(reserve) = self.pool.reserve {
            within_size("pool.reserve", reserve, Size(0), Size(1 << 50))?;
        }
        within_span("server.idle_timeout", server.idle_timeout, 1, 7 * 86_400)?;
        within_span("server.stall_timeout", server.stall_timeout, 1, 86_400)?;
        within_span("server.stop_timeout", server.stop_timeout, 1, 600)?;
        within_span("server.resolve_interval", server.resolve_interval, 1, 86_400)
    }
}

/// Least memory that a server works with.
pub const MEMORY_BYTES_MIN: u64 = 64 * MIB;
/// Segments are cut into cache chunks of this size.
const SEGMENT_STEP: u64 = 64 * KIB;
/// Least size of a share: a few segments of log and the reserve.
const SHARE_BYTES_MIN: u64 = 64 * MIB;

impl Share {
    fn check(&self) -> Result<(), String> {
        let name = &self.name.0;
        if self.clients.is_empty() {
            return Err(format!("the share {name} has no clients: nobody could mount it"));
        }
        match self.size {
            Auto::Given(size) => {
                within_size(&format!("the size of {name}"), size, Size(SHARE_BYTES_MIN), Size(1 << 60))
            }
            Auto::Auto => Ok(()),
        }
    }
}

fn within(key: &str, value: u64, least: u64, most: u64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("{key} is {value}: it must be between {least} and {most}"))
}

fn within_size(key: &str, value: Size, least: Size, most: Size) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("{key} is {value}: it must be between {least} and {most}"))
}

fn within_span(key: &str, value: Span, least_secs: u64, most_secs: u64) -> Result<(), String> {
    let (least, most) = (Span(Duration::from_secs(least_secs)), Span(Duration::from_secs(most_secs)));
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("{key} is {value}: it must be between {least} and {most}"))
}

/// A type of another crate that is written as text.
macro_rules! text_argument {
    ($(#[$meta:meta])* $name:ident($inner:ty), $what:literal) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub $inner);

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<$name, String> {
                match text.parse::<$inner>() {
                    Ok(value) => Ok($name(value)),
                    Err(why) => Err(format!("{why}; expected {}", $what)),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<$name, String> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0.to_string()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

text_argument!(
    /// An address and port.
    SocketArg(SocketAddr), "ADDRESS:PORT such as 0.0.0.0:2049 or [::]:2049"
);
text_argument!(
    /// The path of a share.
    ShareName(SharePath), "a path such as /projects"
);
text_argument!(
    /// The clients of a rule.
    WhoArg(Who), "an address, a network such as 10.0.0.0/8, a host name, or 'anyone'"
);

#[cfg(test)]
mod tests;
