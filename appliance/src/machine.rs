//! What the machine offers: processors and their sleep, memory, port, io_uring, open files.

use crate::config::{Auto, Config, CoreList, MEMORY_BYTES_MIN, MIB, Sleep, SocketArg};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shard::memory;
use shard::policy::Who;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// NFS's port.
pub(crate) const NFS_PORT: u16 = 2049;
/// Part of the memory that `auto` takes.
const MEMORY_SHARE: u64 = 4;
/// What is taken where the machine's memory is not known.
const MEMORY_UNKNOWN: u64 = 1024 * MIB;

/// Where to listen: the usual port when the configuration leaves it open, and loopback alone when no client from
/// elsewhere could come.
pub(crate) fn listen_address(config: &Config) -> SocketAddr {
    if let Auto::Given(SocketArg(address)) = config.server.listen {
        return address;
    }
    let clients = config.share.iter().flat_map(|share| &share.clients);
    let only_here = clients.clone().all(|client| is_loopback(&client.who.0));
    let address = if only_here { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    SocketAddr::new(IpAddr::V4(address), NFS_PORT)
}

fn is_loopback(who: &Who) -> bool {
    let Who::Network(network) = who else { return false };
    let text = network.to_string();
    text == "::1" || text.starts_with("127.")
}

/// The processors to serve on: those named, or all that the process may use.
pub(crate) fn cores(config: &Config) -> Result<CoreList, String> {
    let usable = usable_cores().map_err(|error| format!("the processors of this machine: {error}"))?;
    let Auto::Given(named) = &config.server.cores else { return Ok(usable) };
    match named.0.iter().find(|core| !usable.0.contains(core)) {
        Some(core) => Err(format!("processor {core} cannot be used here; usable are {usable}")),
        None => Ok(named.clone()),
    }
}

fn usable_cores() -> io::Result<CoreList> {
    let status = fs::read_to_string("/proc/self/status")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let list = list.ok_or_else(|| io::Error::other("the kernel does not say which"))?;
    list.trim().parse().map_err(io::Error::other)
}

/// Of each processor the attribute that limits its sleep, or none at all, as the configuration wants it and the machine
/// permits.
pub(crate) fn sleep_limits(config: &Config, processors: &[usize]) -> Vec<File> {
    if config.server.sleep == Sleep::AnyTime {
        return Vec::new();
    }
    let opened: io::Result<Vec<File>> = processors.iter().map(|&processor| sleep_limit(processor)).collect();
    opened.unwrap_or_else(|error| {
        tracing::info!(%error, "processors sleep between calls, which makes each slower: see server.sleep");
        Vec::new()
    })
}

fn sleep_limit(processor: usize) -> io::Result<File> {
    let path = format!("/sys/devices/system/cpu/cpu{processor}/power/pm_qos_resume_latency_us");
    let file = File::options().write(true).open(&path);
    file.map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
}

/// Bytes for caches.
pub(crate) fn memory_bytes(config: &Config) -> u64 {
    match config.server.memory {
        Auto::Given(size) => size.0,
        Auto::Auto => (memory::total_bytes().unwrap_or(MEMORY_UNKNOWN) / MEMORY_SHARE).max(MEMORY_BYTES_MIN),
    }
}

/// Fails where the kernel does not let this process use io_uring: the errors of its first use would not say so.
pub(crate) fn require_io_uring() -> Result<(), String> {
    let setting = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    io_uring_permitted(setting.trim(), rustix::process::geteuid().is_root())
}

/// 0 permits it to everyone, 1 to privileged processes and those of a group, 2 to nobody. Older kernels have no such
/// setting and permit it.
fn io_uring_permitted(setting: &str, superuser: bool) -> Result<(), String> {
    match setting {
        "2" => Err("io_uring is switched off on this machine: sysctl kernel.io_uring_disabled=0 permits it".into()),
        "1" if !superuser => {
            tracing::warn!("kernel.io_uring_disabled is 1: only members of kernel.io_uring_group may use io_uring");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Lets the process open as many files as it may: one a connection. What cannot be raised stays.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AccessArg, Client, Root, Share, Size, SquashArg, Store};
    use shard::policy::ANONYMOUS;

    fn config(who: &[&str]) -> Config {
        let client = |who: &&str| Client {
            who: who.parse().unwrap(),
            access: AccessArg::Rw,
            squash: SquashArg::Root,
            anonuid: ANONYMOUS,
            anongid: ANONYMOUS,
        };
        let clients = who.iter().map(client).collect();
        let share =
            Share { name: "/a".parse().unwrap(), store: Store::Disk, size: Auto::Auto, root: Root::default(), clients };
        Config { share: vec![share], ..Config::default() }
    }

    #[test]
    fn an_automatic_address_is_loopback_unless_a_client_may_come_from_elsewhere() {
        assert!(listen_address(&config(&["127.0.0.0/8", "::1"])).ip().is_loopback());
        assert!(listen_address(&config(&["127.0.0.1", "10.0.0.0/8"])).ip().is_unspecified());
        assert!(listen_address(&config(&["localhost"])).ip().is_unspecified());
        let mut given = config(&["anyone"]);
        given.server.listen = Auto::Given("[::1]:7".parse().unwrap());
        assert_eq!(listen_address(&given), "[::1]:7".parse().unwrap());
    }

    #[test]
    fn a_processor_that_cannot_be_used_is_refused() {
        let mut config = config(&["anyone"]);
        let usable = cores(&config).unwrap();
        assert!(!usable.0.is_empty());
        config.server.cores = Auto::Given("8000".parse().unwrap());
        assert!(cores(&config).unwrap_err().contains("processor 8000"));
        config.server.cores = Auto::Given(CoreList(vec![usable.0[0]]));
        assert_eq!(cores(&config).unwrap().0, [usable.0[0]]);
    }

    #[test]
    fn a_machine_without_io_uring_is_told_how_to_permit_it() {
        assert!(io_uring_permitted("2", true).unwrap_err().contains("sysctl"));
        assert!(io_uring_permitted("1", true).is_ok());
        assert!(io_uring_permitted("0", false).is_ok());
        assert!(io_uring_permitted("", false).is_ok());
    }

    #[test]
    fn automatic_memory_is_a_part_of_the_machines() {
        let mut config = config(&["anyone"]);
        assert!(memory_bytes(&config) >= MEMORY_BYTES_MIN);
        config.server.memory = Auto::Given(Size(128 * MIB));
        assert_eq!(memory_bytes(&config), 128 * MIB);
    }
}
