//! The assembly: filesystems, core threads and the acceptor become one server.
//!
//! Caller: the daemon and the tests. The filesystems were opened, and so recovered, before:
//! [`Server::start`] serves them on every core, [`Server::listen`] lets clients in, [`Server::stop`]
//! answers what was asked, brings everything to disk and joins every thread.

use super::accept::{Acceptor, Place, Quota, Refusals};
use super::core::{self, Letter, Limits, Plan};
use super::handle::HandleKey;
use super::mailbox::{LETTERS_MAX, Mailbox, ring};
use super::prepare::Preparer;
use crate::fs::Filesystem;
use crate::mount::MountList;
use crate::policy::ExportsCell;
use crate::stats::Snapshot;
use crate::status::Status;
use cache::block::Arena;
use cache::table::Directory;
use rustix::event::{EventfdFlags, eventfd};
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Most cores of a server: a log frame has 16 bits for one, and a machine far fewer.
pub const CORES_MAX: usize = 1024;

/// What a server is made of.
pub struct Config {
    /// The processors to serve on, one core each.
    pub processors: Vec<usize>,
    /// For each of them the sysfs attribute `pm_qos_resume_latency_us`, open for writing, with which its core keeps it
    /// awake while calls come. Without these the processors sleep as the kernel decides.
    pub sleep_limits: Vec<File>,
    /// Bytes of the block cache, all cores together.
    pub cache_bytes: usize,
    /// What is served; each was opened for as many cores as there are processors here.
    pub filesystems: Vec<Filesystem>,
    /// The key of the file handles' MACs.
    pub secret: [u8; 16],
    /// The shares. The id of [`crate::policy::FilesystemId`] is [`crate::fs::Shared::id`].
    pub exports: Arc<ExportsCell>,
    /// Connections of all clients.
    pub connections_max: usize,
    /// Connections of one client's address.
    pub connections_per_client_max: usize,
    /// What a core allows its connections.
    pub limits: Limits,
    /// How long requests under way may take after [`Server::stop`].
    pub drain: Duration,
}

/// A running server. Dropped without [`Server::stop`] it leaves its threads to the process's end.
pub struct Server {
    cores: Vec<CoreHandle>,
    preparer: Preparer,
    filesystems: Vec<Filesystem>,
    acceptors: Vec<AcceptorHandle>,
    quota: Quota,
    refusals: Arc<Refusals>,
    mounts: Arc<MountList>,
    addresses: Vec<SocketAddr>,
}

struct CoreHandle {
    mailbox: Arc<Mailbox<Letter>>,
    load: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

struct AcceptorHandle {
    stop: Arc<AtomicBool>,
    bell: OwnedFd,
    thread: JoinHandle<()>,
}

impl Server {
    /// Starts the cores. Serves nobody yet.
    pub fn start(config: Config) -> io::Result<Server> {
        let count = config.processors.len();
        if count == 0 || count > CORES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{count} processors to serve on")));
        }
        let mailboxes: Vec<_> =
            (0..count).map(|_| Mailbox::new(LETTERS_MAX).map(Arc::new)).collect::<io::Result<_>>()?;
        let mailboxes: Arc<[Arc<Mailbox<Letter>>]> = mailboxes.into();
        let mounts = Arc::new(MountList::default());
        let directory = Directory::new();
        let handles = HandleKey::new(&config.secret);
        let arenas: Vec<Arena> = (0..count).map(|_| Arena::new(config.cache_bytes / count)).collect();
        let mut cores = Vec::new();
        let mut starting = Vec::new();
        let mut sleep_limits = config.sleep_limits.into_iter();
        for (index, &processor) in config.processors.iter().enumerate() {
            let plan = Plan {
                // CORES_MAX fits.
                index: index as u16,
                processor,
                sleep_limit: sleep_limits.next(),
                mailboxes: mailboxes.clone(),
                limits: config.limits,
                exports: config.exports.clone(),
                mounts: mounts.clone(),
                handles: handles.clone(),
                seeds: config.filesystems.iter().map(|filesystem| filesystem.seed(index as u16)).collect(),
                directory: directory.clone(),
                arena: arenas[index].clone(),
                drain: config.drain,
            };
            let (started, start) = sync_channel(1);
            let name = format!("basalt-core-{index}");
            let thread = std::thread::Builder::new().name(name).spawn(move || core::run(plan, &started))?;
            cores.push(CoreHandle { mailbox: mailboxes[index].clone(), load: Arc::default(), thread });
            starting.push(start);
        }
        let preparer = Preparer::spawn(arenas)?;
        let quota = Quota { total_max: config.connections_max, client_max: config.connections_per_client_max };
        let (acceptors, refusals, addresses) = (Vec::new(), Arc::default(), Vec::new());
        let filesystems = config.filesystems;
        let server = Server { cores, preparer, filesystems, acceptors, quota, refusals, mounts, addresses };
        match starting.into_iter().try_for_each(|start: Receiver<io::Result<()>>| {
            start.recv().unwrap_or_else(|_| Err(io::Error::other("a core ended while it started")))
        }) {
            Ok(()) => Ok(server),
            Err(error) => {
                let _ = server.stop();
                Err(error)
            }
        }
    }

    /// Lets clients in by these sockets, which listen already.
    pub fn listen(&mut self, listeners: Vec<TcpListener>) -> io::Result<()> {
        for listener in &listeners {
            self.addresses.push(listener.local_addr()?);
        }
        let places = self.cores.iter().map(|core| Place { mailbox: core.mailbox.clone(), load: core.load.clone() });
        let bell = eventfd(0, EventfdFlags::CLOEXEC)?;
        let stop = Arc::new(AtomicBool::new(false));
        let own = bell.try_clone()?;
        let acceptor =
            Acceptor::new(listeners, places.collect(), self.quota, self.refusals.clone(), stop.clone(), own)?;
        let thread = std::thread::Builder::new().name("basalt-accept".to_owned()).spawn(move || acceptor.run())?;
        self.acceptors.push(AcceptorHandle { stop, bell, thread });
        Ok(())
    }

    /// What is served.
    pub fn filesystems(&self) -> &[Filesystem] {
        &self.filesystems
    }

    /// Where it listens, in the order of the sockets given to [`Server::listen`].
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Who has mounted what.
    pub fn mounts(&self) -> &Arc<MountList> {
        &self.mounts
    }

    /// Connections that were closed at once because a limit was reached.
    pub fn refused_connections(&self) -> u64 {
        self.refusals.count.load(Ordering::Relaxed)
    }

    /// What all cores counted. A core that does not answer within `patience` is left out, and
    /// counted in the second part.
    pub fn stats(&self, patience: Duration) -> (Snapshot, usize) {
        let deadline = Instant::now() + patience;
        let asked: Vec<_> = self.cores.iter().map(CoreHandle::ask_stats).collect();
        let mut sum = Snapshot::default();
        let mut silent = 0;
        for answer in asked {
            let left = deadline.saturating_duration_since(Instant::now());
            match answer.and_then(|answer| answer.recv_timeout(left).ok()) {
                Some(snapshot) => sum.add(&snapshot),
                None => silent += 1,
            }
        }
        (sum, silent)
    }

    /// What one core counted; `None` when there is no such core or it does not answer within `patience`.
    pub fn core_stats(&self, core: usize, patience: Duration) -> Option<Snapshot> {
        self.cores.get(core)?.ask_stats()?.recv_timeout(patience).ok()
    }

    /// Accepts nobody any more, answers what was asked, brings everything to disk, joins all threads.
    /// [`Status::Io`] when something could not be brought to disk: it is recovered at the next start
    /// as after a crash.
    pub fn stop(self) -> Result<(), Status> {
        for acceptor in &self.acceptors {
            acceptor.stop.store(true, Ordering::Release);
            ring(&acceptor.bell);
        }
        for acceptor in self.acceptors {
            let _ = acceptor.thread.join();
        }
        let stopping: Vec<_> = self.cores.iter().map(|core| (core, core.ask_stop())).collect();
        let stopped = stopping.into_iter().map(|(core, answer)| core.stopped(&answer));
        let result = stopped.fold(Ok(()), Result::and);
        for core in &self.cores {
            core.post(Letter::End);
        }
        for core in self.cores {
            let _ = core.thread.join();
        }
        self.preparer.stop();
        self.filesystems.into_iter().for_each(Filesystem::close);
        result
    }
}

impl CoreHandle {
    fn ask_stats(&self) -> Option<Receiver<Snapshot>> {
        let (post, answer) = sync_channel(1);
        self.mailbox.post(Letter::Stats(post)).ok().map(|()| answer)
    }

    fn ask_stop(&self) -> Receiver<Result<(), Status>> {
        let (post, answer) = sync_channel(1);
        self.post(Letter::Stop(post));
        answer
    }

    /// Waits until the core has stopped; one that has ended cannot.
    fn stopped(&self, answer: &Receiver<Result<(), Status>>) -> Result<(), Status> {
        loop {
            match answer.recv_timeout(ENDED_PAUSE) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Timeout) if !self.thread.is_finished() => {}
                Err(_) => return Err(Status::Io),
            }
        }
    }

    /// Waits for room: the core empties its mailbox while it lives.
    fn post(&self, letter: Letter) {
        let mut letter = Some(letter);
        while let Some(full) = letter.take().and_then(|letter| self.mailbox.post(letter).err()) {
            if self.thread.is_finished() {
                return;
            }
            letter = Some(full);
            std::thread::sleep(FULL_PAUSE);
        }
    }
}

/// How often it is looked whether a stopping core has ended.
const ENDED_PAUSE: Duration = Duration::from_millis(100);
/// Rest while a core's mailbox is full.
const FULL_PAUSE: Duration = Duration::from_millis(1);
