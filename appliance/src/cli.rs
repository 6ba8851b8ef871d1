//! The command line. Either `--config FILE`, or `--pool` and `--share` for trying it; the help teaches both.

use crate::config::{
    AccessArg, Admin, Auto, Client, Config, CoreList, Root, Share, ShareName, Size, SocketArg, SquashArg, Store, WhoArg,
};
use clap::Parser;
use shard::policy::{ANONYMOUS, Network, Who};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// What was asked for.
#[derive(Debug, Parser)]
#[command(name = "basaltd", version, about = "Basalt: serves shares over NFSv3.", after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// Configuration file; config/basalt.toml explains every key
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pool", "share", "listen", "admin", "allow", "cores", "memory"])]
    pub(crate) config: Option<PathBuf>,

    /// With --config: say whether the configuration is valid, and end
    #[arg(long, requires = "config", conflicts_with_all = ["pool", "share"])]
    pub(crate) check: bool,

    /// Folder that holds the data; made when missing
    #[arg(long, value_name = "DIR", required_unless_present = "config", requires = "share")]
    pool: Option<PathBuf>,

    /// Path that clients mount
    #[arg(long, value_name = "/NAME", required_unless_present = "config", requires = "pool")]
    share: Option<ShareName>,

    /// Where NFS and MOUNT answer [default: port 2049 as root, a free port otherwise; loopback unless --allow is given]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketArg>,

    /// Where /health and /metrics answer, a loopback address [default: a free port of 127.0.0.1]
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: Option<SocketArg>,

    /// Clients besides those of this machine, such as 10.0.0.0/8; repeatable
    #[arg(long, value_name = "NETWORK")]
    allow: Vec<Network>,

    /// Processors to serve on, such as 0-3,6 [default: all]
    #[arg(long, value_name = "LIST")]
    cores: Option<CoreList>,

    /// Memory for caches, such as 4GiB [default: a quarter of the machine's]
    #[arg(long, value_name = "SIZE")]
    memory: Option<Size>,
}

const EXAMPLES: &str = "\
Examples:
  Serve a folder to this machine (root on a client is root here: for trying it):
      basaltd --pool /tmp/pool --share /try
  The same for a network, on the usual port:
      basaltd --pool /srv/pool --share /try --listen 0.0.0.0:2049 --allow 10.0.0.0/8
  Serve what a configuration says, after checking it:
      basaltd --config /etc/basalt/basalt.toml --check
      basaltd --config /etc/basalt/basalt.toml

Variables BASALT_<SECTION>_<KEY>, such as BASALT_PORTMAP_MODE=off, set single keys of the configuration.
Ctrl-C or SIGTERM ends it cleanly; a second one at once. SIGHUP reads the clients of the shares again.";

impl Arguments {
    /// What the flags make of `base` (the defaults and the environment): one share, the superuser not squashed. Used
    /// without `--config`.
    /// The superuser gets the usual port, everyone else a free one.
    pub(crate) fn without_file(&self, base: Config, pool: &Path, share: &ShareName, superuser: bool) -> Config {
        let mut config = base;
        config.pool.path = absolute(pool);
        match &self.admin {
            Some(admin) => config.admin.listen = admin.clone(),
            // Another basaltd may run on this machine: any free port, unless one is named.
            None if config.admin == Admin::default() => config.admin.listen.0.set_port(0),
            None => {}
        }
        match &self.listen {
            Some(listen) => config.server.listen = Auto::Given(listen.clone()),
            None if config.server.listen == Auto::Auto && !superuser => {
                config.server.listen = Auto::Given(self.free_port());
            }
            None => {}
        }
        if let Some(cores) = &self.cores {
            config.server.cores = Auto::Given(cores.clone());
        }
        if let Some(memory) = self.memory {
            config.server.memory = Auto::Given(memory);
        }
        let networks = loopback().into_iter().chain(self.allow.iter().copied());
        let clients = networks.map(unsquashed).collect();
        config.share =
            vec![Share { name: share.clone(), store: Store::Disk, size: Auto::Auto, root: Root::default(), clients }];
        config
    }

    fn free_port(&self) -> SocketArg {
        let address = if self.allow.is_empty() { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        SocketArg(SocketAddr::from((address, 0)))
    }

    /// Pool and share, which clap sees to that they are there without `--config`.
    pub(crate) fn pool_and_share(&self) -> Option<(&Path, &ShareName)> {
        Some((self.pool.as_deref()?, self.share.as_ref()?))
    }
}

/// The networks of this machine's own clients.
pub(crate) fn loopback() -> [Network; 2] {
    ["127.0.0.0/8", "::1"].map(|text| text.parse().expect("both are networks"))
}

fn unsquashed(network: Network) -> Client {
    Client {
        who: WhoArg(Who::Network(network)),
        access: AccessArg::Rw,
        squash: SquashArg::None,
        anonuid: ANONYMOUS,
        anongid: ANONYMOUS,
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("basaltd").chain(line.split(' ')))
    }

    fn config(line: &str) -> Config {
        let arguments = parse(line).unwrap();
        let (pool, share) = arguments.pool_and_share().unwrap();
        let config = arguments.without_file(Config::default(), pool, share, true);
        config.check().unwrap();
        config
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_pool_and_a_share_are_served_to_this_machine_with_root_not_squashed() {
        let config = config("--pool /p --share /a");
        assert_eq!(config.share.len(), 1);
        assert_eq!(config.share[0].clients.len(), 2);
        assert!(config.share[0].clients.iter().all(|client| client.squash == SquashArg::None));
        assert_eq!(config.server.listen, Auto::Auto);
        assert_eq!(config.admin.listen.0.port(), 0);
    }

    #[test]
    fn an_ordinary_user_gets_a_free_port_on_loopback_unless_others_are_allowed() {
        let listen = |line: &str| {
            let arguments = parse(line).unwrap();
            let (pool, share) = arguments.pool_and_share().unwrap();
            arguments.without_file(Config::default(), pool, share, false).server.listen.to_string()
        };
        assert_eq!(listen("--pool /p --share /a"), "127.0.0.1:0");
        assert_eq!(listen("--pool /p --share /a --allow 10.0.0.0/8"), "0.0.0.0:0");
        assert_eq!(listen("--pool /p --share /a --listen [::]:9"), "[::]:9");
    }

    #[test]
    fn a_flag_goes_before_the_environment() {
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let variables = [variable("BASALT_SERVER_LISTEN", "[::]:9"), variable("BASALT_ADMIN_LISTEN", "[::1]:8")];
        let base = crate::config::from_environment(&variables).unwrap();
        let config = |line: &str| {
            let arguments = parse(line).unwrap();
            let (pool, share) = arguments.pool_and_share().unwrap();
            arguments.without_file(base.clone(), pool, share, false)
        };
        assert_eq!(config("--pool /p --share /a").server.listen.to_string(), "[::]:9");
        assert_eq!(config("--pool /p --share /a").admin.listen.to_string(), "[::1]:8");
        assert_eq!(config("--pool /p --share /a --listen 127.0.0.1:7").server.listen.to_string(), "127.0.0.1:7");
    }

    #[test]
    fn every_flag_reaches_the_configuration() {
        let line = "--pool /p --share /a --listen [::]:5 --admin 127.0.0.1:6 --allow 10.0.0.0/8 --allow fd00::/8 \
                    --cores 1,0 --memory 256MiB";
        let config = config(line);
        assert_eq!(config.server.listen.to_string(), "[::]:5");
        assert_eq!(config.admin.listen.to_string(), "127.0.0.1:6");
        assert_eq!(config.server.cores.to_string(), "0,1");
        assert_eq!(config.server.memory.to_string(), "256MiB");
        assert_eq!(config.share[0].clients[3].who.to_string(), "fd00::/8");
    }

    #[test]
    fn flags_that_do_not_go_together_are_refused() {
        for line in [
            "--pool /p",
            "--share /a",
            "--config /c --pool /p --share /a",
            "--config /c --cores 0",
            "--pool /p --share /a --check",
            "--pool /p --share a",
            "--pool /p --share /a --allow 10.0.0.0/40",
            "--pool /p --share /a --memory lots",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("--config /c --check").is_ok());
    }
}
