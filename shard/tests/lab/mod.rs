//! A server on loopback over a pool in a temporary folder on the real disk, and a client that speaks to it with the
//! codecs of `wire`.

#![allow(dead_code, reason = "every test program uses its own part of it")]

mod client;

pub(crate) use client::*;

use cache::world::Time;
use shard::fs::filesystem::{Filesystem, Options};
use shard::ledger::store::RootDirectory;
use shard::net::core::Limits;
use shard::net::server::{Config, Server};
use shard::policy::{Access, Export, Exports, ExportsCell, FilesystemId, Rule, Squash, Who};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// A running server. Stopped, with everything on disk, when dropped.
pub(crate) struct Lab {
    folder: TempDir,
    setup: Setup,
    server: Option<Server>,
    address: SocketAddr,
}

/// What differs between tests.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) cores: u16,
    pub(crate) limits: Limits,
    pub(crate) connections_max: usize,
    /// The shares; each has a filesystem of its own.
    pub(crate) shares: Vec<(&'static str, Access, Squash)>,
    pub(crate) capacity_bytes: u64,
    pub(crate) unwritten_bytes_max: usize,
    pub(crate) ledger_memory: Option<u64>,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            cores: 1,
            limits: Limits::default(),
            connections_max: 64,
            shares: vec![("/share", Access::ReadWrite, Squash::None)],
            capacity_bytes: u64::MAX,
            unwritten_bytes_max: 16 << 20,
            ledger_memory: None,
        }
    }
}

impl Lab {
    pub(crate) fn new(setup: Setup) -> Lab {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (server, address) = start(&setup, folder.path().to_path_buf());
        Lab { folder, setup, server: Some(server), address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs")
    }

    /// A client on a connection of its own.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Stops the server and starts it again over the same pool, on another port.
    pub(crate) fn restart(&mut self) {
        self.stop();
        let (server, address) = start(&self.setup, self.folder.path().to_path_buf());
        (self.server, self.address) = (Some(server), address);
    }

    pub(crate) fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            assert_eq!(server.stop(), Ok(()));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

fn start(setup: &Setup, folder: PathBuf) -> (Server, SocketAddr) {
    let root = RootDirectory { mode: 0o755, uid: 0, gid: 0, now: Time { secs: 1_700_000_000, nanos: 0 } };
    let options = Options {
        segment_bytes: 4 << 20,
        reserve_bytes: 0,
        capacity_bytes: setup.capacity_bytes,
        unwritten_bytes_max: setup.unwritten_bytes_max,
        ledger_memory: setup.ledger_memory,
        ..Options::new(setup.cores, root)
    };
    let mut filesystems = Vec::new();
    let mut exports = Vec::new();
    for (index, (path, access, squash)) in setup.shares.iter().enumerate() {
        let directory = folder.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(&directory).expect("a folder for the filesystem");
        let filesystem = Filesystem::open(&directory, index as u32, options.clone()).expect("the filesystem opens");
        let rule = Rule { access: *access, squash: *squash, ..Rule::new(Who::Anyone) };
        let id = FilesystemId(filesystem.shared().id);
        exports.push(Export { path: path.parse().expect("a path"), filesystem: id, rules: vec![rule] });
        filesystems.push(filesystem);
    }
    let config = Config {
        sleep_limits: Vec::new(),
        processors: (0..usize::from(setup.cores)).collect(),
        cache_bytes: 64 << 20,
        filesystems,
        secret: [7; 16],
        exports: Arc::new(ExportsCell::new(Exports::new(exports).expect("the shares differ"))),
        connections_max: setup.connections_max,
        connections_per_client_max: setup.connections_max,
        limits: setup.limits,
        drain: Duration::from_secs(5),
    };
    let mut server = Server::start(config).expect("the cores start");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    server.listen(vec![listener]).expect("it listens");
    let address = server.addresses()[0];
    (server, address)
}
