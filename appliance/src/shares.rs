//! From configured shares to the list that every operation is judged by: host names become addresses, and again every
//! `server.resolve_interval`, on a thread of their own. A name that cannot be resolved denies.

use crate::config::Share;
use shard::policy::{Export, Exports, ExportsCell, FilesystemId, HOST_ADDRESSES_MAX, Rule, Who};
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A served share: what it is called and what it shows, and the configuration of its clients.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    /// The configuration.
    pub(crate) share: Share,
    /// Its filesystem.
    pub(crate) filesystem: FilesystemId,
}

/// How long the start waits for names: a dead name server must not keep everyone else waiting.
const FIRST_RESOLUTION_MAX: Duration = Duration::from_secs(5);

/// The list without any names resolved: those clients are denied until [`begin`] knows their addresses.
pub(crate) fn exports(shares: &[Served]) -> Result<Exports, String> {
    with_addresses(shares, &HashMap::new())
}

/// The thread that resolves names.
pub(crate) struct Resolver {
    /// Other shares to resolve for, from now on.
    news: Sender<Vec<Served>>,
}

impl Resolver {
    /// Replaces the shares, after the configuration was read again.
    pub(crate) fn replace(&self, shares: Vec<Served>) {
        self.news.send(shares).expect("the resolver lives as long as the process");
    }
}

/// Begins to resolve, and waits a little for the first results.
pub(crate) fn begin(shares: Vec<Served>, cell: Arc<ExportsCell>, interval: Duration) -> io::Result<Resolver> {
    let (news, receiver) = channel();
    let (first, done) = channel();
    thread::Builder::new().name("resolver".into()).spawn(move || {
        let mut state = State { shares, known: HashMap::new(), failed: HashSet::new() };
        state.resolve(&cell);
        // The start may have gone on without waiting any longer.
        let _ = first.send(());
        state.run(&cell, interval, &receiver);
    })?;
    if done.recv_timeout(FIRST_RESOLUTION_MAX).is_err() {
        tracing::warn!("host names of clients are still being resolved; until then they are denied");
    }
    Ok(Resolver { news })
}

struct State {
    shares: Vec<Served>,
    known: HashMap<String, Vec<IpAddr>>,
    /// Names that did not resolve last time: each is logged once until it does.
    failed: HashSet<String>,
}

impl State {
    fn run(&mut self, cell: &ExportsCell, interval: Duration, news: &Receiver<Vec<Served>>) {
        let mut next = Instant::now() + interval;
        loop {
            match news.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(shares) => self.shares = shares,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.resolve(cell);
            next = Instant::now() + interval;
        }
    }

    /// Resolves every name, and publishes the list when it changed.
    fn resolve(&mut self, cell: &ExportsCell) {
        let names: HashSet<String> = self.shares.iter().flat_map(|served| names(&served.share)).collect();
        self.known = names.into_iter().map(|name| self.addresses(name)).collect();
        match with_addresses(&self.shares, &self.known) {
            Ok(exports) if exports != *cell.current() => cell.publish(exports),
            Ok(_) => {}
            Err(why) => tracing::error!(why, "the shares cannot be published"),
        }
    }

    fn addresses(&mut self, name: String) -> (String, Vec<IpAddr>) {
        let found = resolve_bounded(&name);
        if let Err(error) = &found
            && self.failed.insert(name.clone())
        {
            tracing::warn!(name, %error, "a client's host name does not resolve and is denied");
        }
        let addresses = found.unwrap_or_default();
        if !addresses.is_empty() && self.failed.remove(&name) {
            tracing::info!(name, "a client's host name resolves again");
        }
        (name, addresses)
    }
}

fn resolve_bounded(name: &str) -> io::Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = (name, 0).to_socket_addrs()?.map(|found| found.ip().to_canonical()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(HOST_ADDRESSES_MAX);
    Ok(addresses)
}

fn names(share: &Share) -> impl Iterator<Item = String> {
    share.clients.iter().filter_map(|client| match &client.who.0 {
        Who::Host { name, .. } => Some(name.clone()),
        Who::Anyone | Who::Network(_) => None,
    })
}

fn with_addresses(shares: &[Served], known: &HashMap<String, Vec<IpAddr>>) -> Result<Exports, String> {
    let resolved = |mut rule: Rule| {
        if let Who::Host { name, addresses } = &mut rule.who {
            *addresses = known.get(name).cloned().unwrap_or_default();
        }
        rule
    };
    let export = |served: &Served| Export {
        path: served.share.name.0.clone(),
        filesystem: served.filesystem,
        rules: served.share.clients.iter().map(|client| resolved(client.rule())).collect(),
    };
    Exports::new(shares.iter().map(export).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AccessArg, Auto, Client, Root, SquashArg, Store};
    use shard::policy::{Claim, Intent};

    fn served(who: &str) -> Served {
        let client = Client {
            who: who.parse().unwrap(),
            access: AccessArg::Rw,
            squash: SquashArg::None,
            anonuid: 1,
            anongid: 1,
        };
        let name = "/a".parse().unwrap();
        let share = Share { name, store: Store::Disk, size: Auto::Auto, root: Root::default(), clients: vec![client] };
        Served { share, filesystem: FilesystemId(1) }
    }

    fn admits(cell: &ExportsCell, peer: &str) -> bool {
        let claim = Claim::Sys { uid: 1, gid: 1, groups: &[] };
        cell.current().authorize(peer.parse().unwrap(), claim, &[FilesystemId(1)], Intent::Write).is_ok()
    }

    #[test]
    fn a_name_is_denied_until_it_is_resolved_and_admitted_after() {
        let shares = vec![served("localhost")];
        let cell = Arc::new(ExportsCell::new(exports(&shares).unwrap()));
        assert!(!admits(&cell, "127.0.0.1"));
        let _resolver = begin(shares, cell.clone(), Duration::from_secs(3600)).unwrap();
        assert!(admits(&cell, "127.0.0.1"));
        assert!(!admits(&cell, "127.0.0.2"));
    }

    #[test]
    fn a_name_that_does_not_resolve_is_denied() {
        let shares = vec![served("no-such-host.invalid")];
        let cell = Arc::new(ExportsCell::new(exports(&shares).unwrap()));
        let _resolver = begin(shares, cell.clone(), Duration::from_secs(3600)).unwrap();
        assert!(!admits(&cell, "127.0.0.1"));
    }

    #[test]
    fn a_name_that_does_not_resolve_has_no_addresses_of_another_one() {
        let known = HashMap::from([("one.farm".to_owned(), vec!["10.0.0.1".parse().unwrap()])]);
        let admits_one = |name| {
            let cell = ExportsCell::new(with_addresses(&[served(name)], &known).unwrap());
            admits(&cell, "10.0.0.1")
        };
        assert!(admits_one("one.farm"));
        assert!(!admits_one("two.farm"));
    }

    #[test]
    fn other_shares_are_published_when_they_come() {
        let cell = Arc::new(ExportsCell::new(exports(&[served("10.0.0.0/8")]).unwrap()));
        let resolver = begin(vec![served("10.0.0.0/8")], cell.clone(), Duration::from_secs(3600)).unwrap();
        assert!(!admits(&cell, "192.0.2.1"));
        resolver.replace(vec![served("192.0.2.0/24")]);
        while !admits(&cell, "192.0.2.1") {
            thread::yield_now();
        }
        assert!(!admits(&cell, "10.0.0.1"));
    }
}
