//! `basalt-fuzz`: makes hostile inputs for the decoders, replays them, and keeps the corpus small.
//! Callers: people, through `cargo xtask fuzz`, which builds it with coverage; `cargo xtask check`.
#![forbid(unsafe_code)]

use clap::{Args, Parser, Subcommand};
use fuzz::engine::{Campaign, Watch, least, shrink};
use fuzz::{TARGETS, Target, corpus, execute, probe, target};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

#[derive(Parser)]
#[command(about = "Hostile bytes for every decoder of Basalt")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Name every target.
    List,
    /// Make inputs for the named targets, or for all.
    Run {
        #[command(flatten)]
        budget: Budget,
        /// Leave a target out.
        #[arg(long, value_name = "TARGET")]
        without: Vec<String>,
        targets: Vec<String>,
    },
    /// Run a target on files, such as those that a run reported.
    Replay { target: String, files: Vec<PathBuf> },
    /// Make an input that breaks something shorter; the result goes beside it.
    Shrink { target: String, file: PathBuf },
    /// Take what runs found into the corpus of the repository, as few inputs as reach the same.
    Merge { targets: Vec<String> },
    /// Show that coverage guides: find the way through a maze that chance would not find.
    Selftest,
}

/// How much to do, over all targets together; each gets the same share of time.
#[derive(Args, Clone, Copy)]
struct Budget {
    /// Stop after so many executions.
    #[arg(long)]
    executions: Option<u64>,
    /// Stop after so many seconds; 60 where nothing is said.
    #[arg(long)]
    seconds: Option<u64>,
    /// Repeat the run with this seed, and this corpus.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    // A panic is an outcome here: its message and place are enough.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let outcome = match Cli::parse().command {
        Command::List => {
            TARGETS.iter().for_each(|target| println!("{:<12} {}", target.name, target.about));
            Ok(())
        }
        Command::Run { budget, without, targets } => {
            chosen(&targets).and_then(|targets| run(&left(targets, &without)?, budget))
        }
        Command::Replay { target, files } => named(&target).and_then(|target| replay(target, &files)),
        Command::Shrink { target, file } => named(&target).and_then(|target| shrink_file(target, &file)),
        Command::Merge { targets } => chosen(&targets).and_then(|targets| merge(&targets)),
        Command::Selftest => selftest(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("basalt-fuzz: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Turns over the targets, a slice of time each, until the budget is spent.
fn run(targets: &[&'static Target], budget: Budget) -> Result<(), String> {
    guided()?;
    let seed = budget.seed.unwrap_or_else(fresh_seed);
    let seconds = budget.seconds.unwrap_or(if budget.executions.is_some() { u64::MAX } else { 60 });
    println!("seed {seed}, {} edges instrumented", probe::edge_count());
    let watch = watched();
    let mut campaigns = Vec::new();
    for target in targets {
        campaigns.push(Campaign::new(target, corpus::all(target).map_err(text)?, seed, &watch));
    }
    let began = Instant::now();
    let time = Duration::from_secs(seconds);
    let slice = SLICE.min(time / targets.len() as u32);
    loop {
        let executed: u64 = campaigns.iter().map(|campaign| campaign.totals.executions).sum();
        let left = budget.executions.unwrap_or(u64::MAX).saturating_sub(executed);
        let going = campaigns.iter_mut().filter(|campaign| campaign.failure.is_none());
        let Some(next) = going.min_by_key(|campaign| campaign.totals.took) else { break };
        if left == 0 || began.elapsed() >= time {
            break;
        }
        next.run(left, slice, &watch);
    }
    for campaign in &campaigns {
        corpus::write(&corpus::found(campaign.target), &campaign.corpus[campaign.corpus_given..]).map_err(text)?;
    }
    print!("{}", table(&campaigns));
    failures(&campaigns)
}

/// How long one target has its turn.
const SLICE: Duration = Duration::from_secs(2);
/// An execution that takes more processor time hangs.
const HANG: Duration = Duration::from_secs(20);

fn table(campaigns: &[Campaign]) -> String {
    let mut table = format!(
        "{:<12} {:>13} {:>9} {:>10} {:>7} {:>7} {:>7} {:>11} {:>12}\n",
        "target", "executions", "cpu s", "per cpu s", "corpus", "new", "edges", "longest ms", "most bytes"
    );
    let mut executions = 0;
    for campaign in campaigns {
        let totals = &campaign.totals;
        let seconds = totals.processor.as_secs_f64();
        executions += totals.executions;
        table += &format!(
            "{:<12} {:>13} {:>9.1} {:>10.0} {:>7} {:>7} {:>7} {:>11.2} {:>12}\n",
            campaign.target.name,
            totals.executions,
            seconds,
            totals.executions as f64 / seconds.max(1e-9),
            campaign.corpus_given,
            campaign.corpus.len() - campaign.corpus_given,
            campaign.edges(),
            totals.longest.as_secs_f64() * 1e3,
            totals.peak_bytes_max,
        );
    }
    table + &format!("{:<12} {executions:>13}\n", "all")
}

/// Keeps the inputs that broke something, and says where.
fn failures(campaigns: &[Campaign]) -> Result<(), String> {
    let mut broken = Vec::new();
    for campaign in campaigns {
        let Some(failure) = &campaign.failure else { continue };
        let file = corpus::keep_failure(campaign.target.name, &failure.input).map_err(text)?;
        println!("{}: {}\n  input: {}", campaign.target.name, failure.reason, file.display());
        broken.push(campaign.target.name);
    }
    match broken.is_empty() {
        true => Ok(()),
        false => Err(format!("broken: {}", broken.join(", "))),
    }
}

fn replay(target: &'static Target, files: &[PathBuf]) -> Result<(), String> {
    for file in files {
        let input = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let peak_bytes = execute(target, &input).map_err(|reason| format!("{}: {reason}", file.display()))?;
        println!("{}: holds, {peak_bytes} bytes allocated at most", file.display());
    }
    Ok(())
}

fn shrink_file(target: &'static Target, file: &PathBuf) -> Result<(), String> {
    let input = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    if execute(target, &input).is_ok() {
        return Err(format!("{} breaks nothing", file.display()));
    }
    let shorter = shrink(target, input);
    let path = file.with_extension("small");
    std::fs::write(&path, &shorter).map_err(text)?;
    println!("{}: {} bytes: {shorter:02x?}", path.display(), shorter.len());
    Ok(())
}

fn merge(targets: &[&'static Target]) -> Result<(), String> {
    guided()?;
    for target in targets {
        let all = corpus::all(target).map_err(text)?;
        let count = all.len();
        let mut least = least(target, all);
        let mut bytes = 0;
        least.retain(|input| {
            bytes += input.len();
            bytes <= corpus::CORPUS_BYTES_MAX
        });
        corpus::replace(&corpus::kept(target), &least).map_err(text)?;
        println!("{:<12} {count} inputs, {} kept", target.name, least.len());
    }
    Ok(())
}

fn selftest() -> Result<(), String> {
    guided()?;
    let watch = watched();
    let mut campaign = Campaign::new(&target::MAZE, Vec::new(), 1, &watch);
    campaign.run(SELFTEST_EXECUTIONS_MAX, Duration::MAX, &watch);
    match campaign.failure {
        Some(_) => {
            println!("the maze took {} executions", campaign.totals.executions);
            Ok(())
        }
        None => Err(format!("no way through the maze in {SELFTEST_EXECUTIONS_MAX} executions: nothing guides")),
    }
}

/// By chance alone the way takes some 2^48.
const SELFTEST_EXECUTIONS_MAX: u64 = 5_000_000;

/// A thread that ends the program, with the input, when an execution hangs.
fn watched() -> Arc<Watch> {
    let watch = Arc::new(Watch::default());
    let seen = watch.clone();
    std::thread::spawn(move || {
        let (name, input) = seen.hang(HANG);
        match corpus::keep_failure(name, &input) {
            Ok(file) => eprintln!("{name}: hangs\n  input: {}", file.display()),
            Err(error) => eprintln!("{name}: hangs on {input:02x?}; the input could not be kept: {error}"),
        }
        std::process::exit(1);
    });
    watch
}

fn guided() -> Result<(), String> {
    match probe::edge_count() {
        0 => Err("built without coverage, so that nothing guides: use cargo xtask fuzz".into()),
        _ => Ok(()),
    }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Target>, String> {
    match names.is_empty() {
        true => Ok(TARGETS.iter().collect()),
        false => names.iter().map(|name| named(name)).collect(),
    }
}

/// All but those that are not wanted.
fn left(mut targets: Vec<&'static Target>, without: &[String]) -> Result<Vec<&'static Target>, String> {
    for name in without {
        let unwanted = named(name)?;
        targets.retain(|target| target.name != unwanted.name);
    }
    match targets.is_empty() {
        true => Err("no target is left".into()),
        false => Ok(targets),
    }
}

fn named(name: &str) -> Result<&'static Target, String> {
    let target = TARGETS.iter().find(|target| target.name == name);
    target.ok_or_else(|| format!("there is no target {name}; 'list' names them"))
}

fn fresh_seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(1, |since| since.as_nanos() as u64)
}

fn text(error: io::Error) -> String {
    error.to_string()
}
