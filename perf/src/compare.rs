//! Servers side by side: interleaved rounds (A B C, A B C...) of every test, each server alone on its core while it
//! is measured, started anew for each round with cold caches. The median of the rounds is the figure.

use crate::CompareArgs;
use crate::failure::{Failure, Outcome, While};
use crate::peer::{self, Description, Ground, Peer, Store};
use crate::probe;
use crate::report::{Column, Report, Row, machine};
use crate::run::{self, Figures, Place, Repeat};
use crate::site::{Site, Sizes, Verify};
use crate::work::{self, Kind, Test};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How a comparison goes.
struct Plan {
    peers: Vec<Description>,
    tests: Vec<&'static Test>,
    rounds: usize,
    ground: Ground,
    client_core: Option<usize>,
    sizes: Sizes,
    repeat: Repeat,
}

pub(crate) fn compare(args: &CompareArgs) -> Outcome<()> {
    let peers = choose(&args.peers, &args.peer_file)?;
    if !args.inside && peers.iter().any(|peer| peer.needs_root) {
        return isolate();
    }
    if args.inside {
        furnish()?;
    }
    fs::create_dir_all(&args.store)?;
    let store = args.store.canonicalize()?;
    let results = args.results.clone().unwrap_or_else(|| Path::new("perf/results").join(machine::today()));
    let time = Duration::from_secs_f64(args.seconds);
    let verify = if args.verify { Verify::Yes } else { Verify::No };
    let basaltd = args.basaltd.clone().map_or_else(|| peer::beside_us("basaltd"), Ok)?;
    let plan = Plan {
        peers,
        tests: work::named(&args.tests)?,
        rounds: args.rounds.max(1),
        ground: Ground { store: store.clone(), basaltd, server_cores: Some(args.server_core.to_string()) },
        client_core: Some(args.client_core),
        sizes: Sizes::FULL,
        repeat: Repeat { time, verify },
    };
    let probes = match args.no_probe {
        true => Vec::new(),
        false => probe::all(&store, Duration::from_secs_f64(PROBE_SECONDS))?,
    };
    let report = plan.run()?;
    let report = Report { probes, ..report };
    report.write(&results)?;
    println!("\n{}\nwritten to {}", report.markdown(), results.display());
    Ok(())
}

const PROBE_SECONDS: f64 = 2.0;

/// A short run of everything, verified where it can be.
pub(crate) fn smoke(names: &[String], basaltd: Option<&Path>) -> Outcome<()> {
    if let Some(missing) = basaltd.filter(|path| !path.is_file()) {
        return Err(Failure::Said(format!("{} is not there", missing.display())));
    }
    let basaltd = basaltd.map_or_else(|| peer::beside_us("basaltd"), |path| Ok(path.to_path_buf()))?;
    let store = std::env::temp_dir().join(format!("basalt-perf-{}", std::process::id()));
    fs::create_dir_all(&store)?;
    let ground = Ground { store: store.clone(), basaltd, server_cores: None };
    let mut peers = choose(names, &[])?;
    peers.retain(|peer| {
        let installed = peer.is_installed(&ground);
        if !installed {
            println!("{} is left out: it is not built or installed here", peer.name);
        }
        installed
    });
    if peers.is_empty() {
        return Err(Failure::said("none of the servers is here"));
    }
    let repeat = Repeat { time: Duration::from_millis(100), verify: Verify::Yes };
    let tests = work::named(&[])?;
    let plan = Plan { peers, tests, rounds: 1, ground, client_core: None, sizes: Sizes::SMALL, repeat };
    let done = plan.run().and_then(|report| {
        let probes = probe::all(&store, Duration::from_millis(50))?;
        let report = Report { probes, ..report };
        report.write(&store.join("report"))
    });
    fs::remove_dir_all(&store)?;
    done
}

fn choose(names: &[String], files: &[PathBuf]) -> Outcome<Vec<Description>> {
    let known = peer::descriptions(files)?;
    let find = |name: &String| known.iter().find(|peer| peer.name == *name).cloned();
    names.iter().map(|name| find(name).ok_or_else(|| Failure::Said(format!("no server is called {name}")))).collect()
}

impl Plan {
    fn run(&self) -> Outcome<Report> {
        for peer in &self.peers {
            peer.wipe(&self.ground)?;
        }
        self.make_cold_files()?;
        let mut rows: Vec<Row> = self.tests.iter().map(|test| Row::new(test, self.peers.len())).collect();
        let mut are_caches_cold = true;
        for round in 1..=self.rounds {
            for (column, peer) in self.peers.iter().enumerate() {
                println!("\nround {round}, {}\n{}", peer.title, Figures::HEADING);
                are_caches_cold &= drop_caches();
                self.round_of(peer, |row, figures| rows[row].runs[column].push(figures)).during(&peer.name)?;
            }
        }
        for peer in &self.peers {
            peer.wipe(&self.ground)?;
        }
        Ok(Report {
            columns: self.peers.iter().map(Column::of).collect(),
            rows,
            probes: Vec::new(),
            rounds: self.rounds,
            seconds: self.repeat.time.as_secs_f64(),
            are_caches_cold,
            machine: machine::Machine::this(&self.ground.store),
        })
    }

    /// All tests of one server once, those that want cold caches first.
    fn round_of(&self, description: &Description, mut done: impl FnMut(usize, Figures)) -> Outcome<()> {
        let peer = description.start(&self.ground)?;
        let repeat = Repeat { verify: self.verify(description), ..self.repeat };
        let ran = self.tests_of(&peer, repeat, &mut done);
        ran.during(peer.last_words())?;
        peer.stop()
    }

    fn tests_of(&self, peer: &Peer, repeat: Repeat, done: &mut impl FnMut(usize, Figures)) -> Outcome<()> {
        let mut site = Site::open(peer.address.clone(), self.sizes, repeat.verify)?;
        let place = Place { pid: Some(peer.pid()), client_core: self.client_core };
        let (cold, others): (Vec<_>, Vec<_>) =
            self.tests.iter().enumerate().partition(|(_, test)| test.kind == Kind::Cold);
        for (row, test) in cold.into_iter().chain(others) {
            let figures = run::once(&mut site, test, test.shape(), place, repeat).during(test.name)?;
            println!("{}", figures.line(test));
            done(row, figures);
        }
        Ok(())
    }

    /// What is read from the disk has to be there before the first round, and out of every cache.
    fn make_cold_files(&self) -> Outcome<()> {
        let cold: Vec<_> = self.tests.iter().filter(|test| test.kind == Kind::Cold).collect();
        for description in self.peers.iter().filter(|peer| peer.store != Store::None && !cold.is_empty()) {
            println!("making files: {}", description.title);
            let peer = description.start(&self.ground).during(&description.name)?;
            let mut site = Site::open(peer.address.clone(), self.sizes, self.verify(description))?;
            for test in &cold {
                test.prepare(&mut site, test.shape()).during(&description.name)?;
            }
            peer.stop()?;
        }
        Ok(())
    }

    fn verify(&self, peer: &Description) -> Verify {
        if peer.verifiable { self.repeat.verify } else { Verify::No }
    }
}

/// Writes back and empties the page cache; false when that is not allowed.
fn drop_caches() -> bool {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "1").is_ok()
}

/// Starts this program again with a network, processes and mounts of its own, so that servers that want well-known
/// ports and a port mapper meet nothing of the machine's, and nothing of theirs is left.
fn isolate() -> Outcome<()> {
    let program = std::env::current_exe()?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    command.arg(program).args(std::env::args_os().skip(1)).arg("--inside");
    match command.status().during("unshare")?.success() {
        true => Ok(()),
        false => Err(Failure::said("the comparison failed (it needs root for one of the servers)")),
    }
}

/// A working loopback and an empty /run.
fn furnish() -> Outcome<()> {
    for words in [&["ip", "link", "set", "lo", "up"][..], &["mount", "-t", "tmpfs", "tmpfs", "/run"]] {
        let done = Command::new(words[0]).args(&words[1..]).status().during(words[0])?;
        if !done.success() {
            return Err(Failure::Said(format!("{} failed", words.join(" "))));
        }
    }
    Ok(())
}
