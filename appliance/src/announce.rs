//! What a start says on standard output: where it listens, and how to mount.

use crate::config::{Auto, Config};
use crate::machine::NFS_PORT;
use crate::portmapper::Portmapper;
use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;

/// Where everything answers.
pub(crate) struct Places<'a> {
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) portmapper: &'a Portmapper,
}

/// The start message.
pub(crate) fn message(config: &Config, places: &Places<'_>) -> String {
    let mut text = String::new();
    let listen = places.listen;
    let remark = match &config.server.listen {
        _ if listen.port() == NFS_PORT => "",
        Auto::Given(asked) if asked.0.port() == 0 => " (a free high port instead of 2049: clients have to name it)",
        _ => " (instead of NFS's usual port 2049: clients have to name it)",
    };
    let host = host(listen);
    let options = options(listen.port(), places.portmapper.is_there());
    // Writing into a String does not fail.
    let _ = writeln!(text, "basaltd {} serves the pool {}", env!("CARGO_PKG_VERSION"), config.pool.path.display());
    let _ = writeln!(text, "  NFS and MOUNT  {listen}{remark}");
    let _ = writeln!(text, "  portmapper     {}", places.portmapper.describe());
    let _ = writeln!(text, "  admin          http://{}/health, /metrics", places.admin);
    let _ = writeln!(text, "Mount, as root on a client:");
    for share in &config.share {
        let _ = writeln!(text, "  mount -t nfs -o {options} {host}:{} /mnt", share.name);
    }
    text
}

/// The options that this server needs.
fn options(port: u16, portmapper: bool) -> String {
    let ports = if port == NFS_PORT && portmapper { String::new() } else { format!(",port={port},mountport={port}") };
    format!("vers=3,proto=tcp{ports},nolock")
}

/// What a client calls this machine.
fn host(listen: SocketAddr) -> String {
    if listen.ip().is_unspecified() {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = name.trim();
        return if name.is_empty() { "SERVER".to_owned() } else { name.to_owned() };
    }
    if listen.is_ipv6() { format!("[{}]", listen.ip()) } else { listen.ip().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Root, Share, Store};

    fn message_on(listen: &str) -> String {
        let share = Share {
            name: "/a".parse().unwrap(),
            store: Store::Disk,
            size: Auto::Auto,
            root: Root::default(),
            clients: Vec::new(),
        };
        let mut config = Config { share: vec![share], ..Config::default() };
        config.server.listen = Auto::Given("127.0.0.1:0".parse().unwrap());
        let portmapper = Portmapper::Neither("port 111 is taken".into());
        let admin = "127.0.0.1:2050".parse().unwrap();
        message(&config, &Places { listen: listen.parse().unwrap(), admin, portmapper: &portmapper })
    }

    #[test]
    fn the_mount_command_names_the_ports_where_clients_cannot_find_them() {
        let text = message_on("127.0.0.1:34567");
        let command = "  mount -t nfs -o vers=3,proto=tcp,port=34567,mountport=34567,nolock 127.0.0.1:/a /mnt";
        assert!(text.lines().any(|line| line == command), "{text}");
        assert!(text.contains("a free high port"));
        assert!(!message_on("[::1]:2049").contains("port instead"));
        assert!(message_on("[::1]:2049").contains(" [::1]:/a /mnt"));
        assert_eq!(options(2049, true), "vers=3,proto=tcp,nolock");
        assert_eq!(options(2049, false), "vers=3,proto=tcp,port=2049,mountport=2049,nolock");
        assert_eq!(options(2050, true), "vers=3,proto=tcp,port=2050,mountport=2050,nolock");
    }
}
