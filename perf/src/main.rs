//! `basalt-perf`: how fast is it, against what the machine can do and against others?
//!
//! `compare` runs servers side by side in interleaved rounds and writes a report; `load` asks one server that runs
//! already; `floor` serves canned replies; `probe` measures the machine itself; `smoke` shows in a few seconds that
//! all of this works, and times nothing.
#![forbid(unsafe_code)]

mod client;
mod compare;
mod cores;
mod cpu;
mod failure;
mod fill;
mod fio;
mod floor;
mod histogram;
mod load;
mod mount;
mod pattern;
mod peer;
mod pipe;
mod probe;
mod report;
mod run;
mod site;
mod work;

use clap::{Args, Parser, Subcommand};
use failure::{Outcome, While};
use run::{Place, Repeat};
use site::{Address, Sizes, Verify};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
#[command(version, about = "Measures NFSv3 servers against each other and against the machine.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs servers in interleaved rounds and writes a report with tables and charts.
    Compare(CompareArgs),
    /// Shows that every test and the report work, on small sizes and without judging times.
    Smoke(SmokeArgs),
    /// Asks a server that runs already.
    Load(LoadArgs),
    /// Two cores against one: the server's CPU for an operation on hot and on separate files.
    Cores(CoresArgs),
    /// Runs the fio jobs, and pjdfstest, in a folder that is mounted already.
    Mount(MountArgs),
    /// Makes very many empty files in a pool whose daemon does not run.
    Fill(FillArgs),
    /// Serves canned replies from memory until it is stopped.
    Floor {
        #[arg(long, default_value = "127.0.0.1:12049")]
        listen: SocketAddr,
    },
    /// Measures the machine: loopback, disk, flushes, commits of LMDB.
    Probe {
        /// A folder on the disk to be measured.
        #[arg(long, default_value = ".")]
        store: PathBuf,
        /// Of each probe.
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
    },
}

#[derive(Args)]
pub(crate) struct CompareArgs {
    /// The servers, comma separated: built in are floor, basalt, ganesha and ganesha-durable.
    #[arg(long, value_delimiter = ',', default_values = ["floor", "basalt", "ganesha", "ganesha-durable"])]
    pub(crate) peers: Vec<String>,
    /// Describes a further server; see perf/peers/ for examples.
    #[arg(long)]
    pub(crate) peer_file: Vec<PathBuf>,
    /// The tests, comma separated; all of them if none is named.
    #[arg(long, value_delimiter = ',')]
    pub(crate) tests: Vec<String>,
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Of each test in each round.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// A folder on the disk that the servers keep their files on.
    #[arg(long, default_value = "target/perf")]
    pub(crate) store: PathBuf,
    /// Where the report goes; a folder named after the day if not given.
    #[arg(long)]
    pub(crate) results: Option<PathBuf>,
    #[arg(long, default_value_t = 0)]
    pub(crate) server_core: usize,
    #[arg(long, default_value_t = 1)]
    pub(crate) client_core: usize,
    /// Also compares everything that was written and read with what should be there.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Leaves out the probes of the machine.
    #[arg(long)]
    pub(crate) no_probe: bool,
    /// The daemon; the one beside this program if not given.
    #[arg(long)]
    pub(crate) basaltd: Option<PathBuf>,
    /// Set by this program when it has given itself a network and processes of its own.
    #[arg(long, hide = true)]
    pub(crate) inside: bool,
}

#[derive(Args)]
struct SmokeArgs {
    /// The servers; basalt is left out when its daemon is not built.
    #[arg(long, value_delimiter = ',', default_values = ["floor", "basalt"])]
    peers: Vec<String>,
    /// The daemon, which then has to be there; the one beside this program if not given.
    #[arg(long)]
    basaltd: Option<PathBuf>,
}

#[derive(Args)]
struct LoadArgs {
    /// Address and port of NFS.
    #[arg(long)]
    server: SocketAddr,
    /// Port of MOUNT, if it is another one.
    #[arg(long)]
    mount_port: Option<u16>,
    #[arg(long, default_value = "/share")]
    share: String,
    #[arg(long, value_delimiter = ',')]
    tests: Vec<String>,
    /// Instead of the test's own.
    #[arg(long)]
    connections: Option<usize>,
    /// On each connection, instead of the test's own.
    #[arg(long)]
    in_flight: Option<usize>,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    #[arg(long)]
    verify: bool,
    /// The server's process, to measure its CPU.
    #[arg(long)]
    pid: Option<u32>,
    /// The core of the client.
    #[arg(long)]
    client_core: Option<usize>,
    /// Uses the sizes of `smoke`.
    #[arg(long)]
    small: bool,
    /// Files that `fill` made in the pool before: runs the tests of many files instead of the others.
    #[arg(long)]
    bulk: Option<u64>,
    /// Runs the tests of `cores` instead of the others.
    #[arg(long)]
    hot: bool,
    /// As `fill` was told.
    #[arg(long, default_value_t = 1000)]
    per_folder: u64,
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct CoresArgs {
    /// All of them; the comparison is with the first alone.
    #[arg(long, default_value = "0,1", value_parser = cores::parse_cores)]
    pub(crate) cores: String,
    #[arg(long, value_delimiter = ',')]
    pub(crate) tests: Vec<String>,
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Of each test in each round.
    #[arg(long, default_value_t = 2.0)]
    pub(crate) seconds: f64,
    /// A folder on the disk that the server keeps its files on.
    #[arg(long, default_value = "target/perf-cores")]
    pub(crate) store: PathBuf,
    /// The daemon; the one beside this program if not given.
    #[arg(long)]
    pub(crate) basaltd: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct MountArgs {
    /// Where the share is mounted.
    pub(crate) folder: PathBuf,
    /// The program; its tests are left out if it is not given.
    #[arg(long)]
    pub(crate) pjdfstest: Option<PathBuf>,
    /// Of each fio job that has a time, instead of its own.
    #[arg(long)]
    pub(crate) seconds: Option<u32>,
    /// Where the report goes; a folder named after the day if not given.
    #[arg(long)]
    pub(crate) results: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct FillArgs {
    /// The pool, made by the daemon.
    #[arg(long)]
    pub(crate) pool: PathBuf,
    /// The folder of the share's filesystem in the pool.
    #[arg(long, default_value = "share")]
    pub(crate) filesystem: String,
    #[arg(long, default_value_t = 10_000_000)]
    pub(crate) files: u64,
    #[arg(long, default_value_t = 1000)]
    pub(crate) per_folder: u64,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Compare(args) => compare::compare(&args),
        Command::Smoke(args) => compare::smoke(&args.peers, args.basaltd.as_deref()),
        Command::Cores(args) => cores::compare(&args),
        Command::Load(args) => load(&args),
        Command::Fill(args) => fill::fill(&args),
        Command::Mount(args) => mount::measure(&args),
        Command::Floor { listen } => floor(listen),
        Command::Probe { store, seconds } => probe::show(&store, Duration::from_secs_f64(seconds)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("basalt-perf: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn floor(listen: SocketAddr) -> Outcome<()> {
    let listener = TcpListener::bind(listen).during(listen)?;
    println!("listening on {}", listener.local_addr()?);
    floor::serve(&listener)
}

fn load(args: &LoadArgs) -> Outcome<()> {
    let mut mount = args.server;
    mount.set_port(args.mount_port.unwrap_or(args.server.port()));
    let address = Address { nfs: args.server, mount, share: args.share.clone() };
    let sizes = if args.small { Sizes::SMALL } else { Sizes::FULL };
    let verify = if args.verify { Verify::Yes } else { Verify::No };
    let mut site = site::Site::open(address, sizes, verify)?;
    let place = Place { pid: args.pid, client_core: args.client_core };
    let repeat = Repeat { time: Duration::from_secs_f64(args.seconds), verify };
    if !args.json {
        println!("{}", run::Figures::HEADING);
    }
    site.bulk = args.bulk.map(|files| fill::Bulk { files, per_folder: args.per_folder });
    let tests = match site.bulk {
        Some(_) => work::bulk::TESTS,
        None if args.hot => work::hot::TESTS,
        None => work::TESTS,
    };
    for test in work::named_in(tests, &args.tests)? {
        let own = test.shape();
        let shape = work::Shape {
            connections: args.connections.unwrap_or(own.connections),
            in_flight: args.in_flight.unwrap_or(own.in_flight),
        };
        let figures = run::once(&mut site, test, shape, place, repeat).during(test.name)?;
        match args.json {
            true => println!("{}", figures.json(test)),
            false => println!("{}", figures.line(test)),
        }
    }
    Ok(())
}
