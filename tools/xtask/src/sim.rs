//! Builds and runs the simulator: `basalt-sim` of crate shard, optimised and with every assertion.

use crate::steps::Steps;
use clap::Args;
use std::process::Command;

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct What {
    /// One exact history, event by event.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// That many histories.
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// Histories until that many crash points were judged.
    #[arg(long, value_name = "N")]
    points: Option<u64>,
    /// All sequences of that many operations over a small namespace.
    #[arg(long, value_name = "LENGTH")]
    sequences: Option<u64>,
}

#[derive(Args)]
pub(crate) struct Run {
    #[command(flatten)]
    what: What,
    /// The first seed or sequence of many.
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// At most that many sequences.
    #[arg(long, value_name = "N", default_value_t = u64::MAX)]
    count: u64,
    /// Histories at the same time.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: u64,
}

pub(crate) fn simulate(steps: &mut Steps, run: &Run) -> Result<(), String> {
    let build = ["build", "--profile", "fuzz", "--quiet", "-p", "shard", "--features", "sim", "--bin", "basalt-sim"];
    steps.cargo("build", &build)?;
    let Run { what: What { seed, seeds, points, sequences }, from, count, threads } = run;
    let (what, numbers) = match (seed, seeds, points, sequences) {
        (Some(seed), ..) => ("seed", vec![*seed]),
        (_, Some(seeds), ..) => ("seeds", vec![*from, *seeds, *threads]),
        (_, _, Some(points), _) => ("points", vec![*from, *points, *threads]),
        (.., Some(length)) => ("sequences", vec![*length, *from, *count, *threads]),
        _ => return Err("nothing to simulate".to_string()),
    };
    let program = steps.target_folder().join("fuzz/basalt-sim");
    steps.run("simulate", Command::new(program).arg(what).args(numbers.iter().map(u64::to_string)))
}
