//! The running server: assembled, observed, given other clients, stopped.

use crate::admin::Observer;
use crate::config::Config;
use crate::machine;
use crate::observe::Observed;
use crate::pool::Pool;
use crate::shares::{self, Resolver, Served};
use crate::signals::FORCED;
use crate::stores::{self, Budget, Watched};
use shard::net::core::Limits;
use shard::net::dispatch;
use shard::net::server::{self, Server};
use shard::policy::ExportsCell;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What serves, from the start of the process to its end.
#[derive(Default)]
pub(crate) struct Running {
    parts: Mutex<Parts>,
}

#[derive(Default)]
struct Parts {
    server: Option<Server>,
    stores: Vec<Watched>,
    served: Vec<Served>,
    ready: bool,
}

/// How long metrics wait for a busy core.
const STATS_PATIENCE: Duration = Duration::from_secs(1);

impl Running {
    /// Opens and recovers the filesystems, starts the cores and lets clients in.
    pub(crate) fn start(&self, config: &Config, pool: &Pool, listener: TcpListener) -> Result<Resolver, String> {
        let processors = machine::cores(config)?.0;
        let budget = Budget::of(machine::memory_bytes(config), processors.len(), config.share.len());
        let filesystems = stores::open(config, pool, processors.len(), budget)?;
        let served = stores::served(config, &filesystems);
        let watched = Watched::all(config, &filesystems);

        let cell = Arc::new(ExportsCell::new(shares::exports(&served)?));
        let interval = config.server.resolve_interval.0;
        let resolver = shares::begin(served.clone(), cell.clone(), interval).map_err(|error| error.to_string())?;
        let server = server::Config {
            sleep_limits: machine::sleep_limits(config, &processors),
            processors,
            cache_bytes: usize::try_from(budget.cache_bytes).unwrap_or(usize::MAX),
            filesystems,
            secret: *pool.secret(),
            exports: cell,
            connections_max: connections_max(config, budget),
            connections_per_client_max: config.server.connections_per_client_max as usize,
            limits: limits(config, budget),
            drain: config.server.stop_timeout.0 / 2,
        };
        let mut server = Server::start(server).map_err(|error| format!("the cores: {error}"))?;
        server.listen(vec![listener]).map_err(|error| format!("accepting connections: {error}"))?;

        let mut parts = self.parts();
        *parts = Parts { server: Some(server), stores: watched, served, ready: true };
        Ok(resolver)
    }

    /// Other clients for the shares that are served. A share that is new or gone is left to a restart.
    pub(crate) fn reload(&self, next: &Config, resolver: &Resolver) -> Result<(), String> {
        let mut parts = self.parts();
        for served in &mut parts.served {
            let same = next.share.iter().find(|share| share.name == served.share.name);
            let share = same.ok_or_else(|| format!("the share {} is gone: that needs a restart", served.share.name))?;
            served.share.clients.clone_from(&share.clients);
        }
        resolver.replace(parts.served.clone());
        Ok(())
    }

    /// Answers what was asked, brings everything to disk and ends the cores.
    pub(crate) fn stop(&self) -> Result<(), String> {
        let server = {
            let mut parts = self.parts();
            parts.ready = false;
            parts.server.take()
        };
        let Some(server) = server else { return Ok(()) };
        server
            .stop()
            .map_err(|_| "not everything could be brought to disk: the next start recovers the rest".to_owned())
    }

    /// Looks at it, for the admin's thread.
    pub(crate) fn observer(self: &Arc<Running>) -> Observer {
        let running = self.clone();
        let started_secs = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Box::new(move || running.observe(started_secs))
    }

    fn observe(&self, started_secs: u64) -> Observed {
        let parts = self.parts();
        let (cores, silent) = parts.server.as_ref().map(|server| server.stats(STATS_PATIENCE)).unwrap_or_default();
        Observed {
            ready: parts.ready,
            started_secs,
            names: dispatch::row_names().collect(),
            cores,
            silent_cores: silent as u64,
            refused: parts.server.as_ref().map_or(0, Server::refused_connections),
            stores: parts.stores.iter().map(Watched::state).collect(),
        }
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        // A panic aborts the process: nobody sees a poisoned lock.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As configured, or as many as there is memory for.
fn connections_max(config: &Config, budget: Budget) -> usize {
    let wanted = u64::from(config.server.connections_max);
    if wanted > budget.connections {
        tracing::warn!(wanted, taken = budget.connections, "server.memory is too small for server.connections_max");
    }
    usize::try_from(wanted.min(budget.connections)).unwrap_or(usize::MAX)
}

fn limits(config: &Config, budget: Budget) -> Limits {
    let server = &config.server;
    let secs = |span: crate::config::Span| u32::try_from(span.0.as_secs()).unwrap_or(u32::MAX).max(1);
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Limits {
        requests_max: server.requests_in_flight_max as usize,
        connection_bytes_max: bytes(server.bytes_in_flight_max.0),
        core_bytes_max: bytes(budget.core_bytes),
        record_stall_secs: secs(server.stall_timeout),
        send_stall_secs: secs(server.stall_timeout),
        idle_secs: secs(server.idle_timeout),
    }
}

/// Ends the process when a stop takes longer than it may. What was acknowledged as stable is on disk; the next start
/// recovers the rest.
pub(crate) fn end_after(time: Duration) {
    let force = move || {
        thread::sleep(time);
        tracing::error!("the stop took longer than server.stop_timeout: ended by force");
        std::process::exit(FORCED);
    };
    // Without a thread the stop is waited for, however long it takes.
    let _ = thread::Builder::new().name("stop-limit".into()).spawn(force);
}
