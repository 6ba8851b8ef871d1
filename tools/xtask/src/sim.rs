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
}

#[derive(Args)]
pub(crate) struct Run {
    #[command(flatten)]
    what: What,
    /// The first seed of many.
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// Histories at the same time.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: u64,
}

pub(crate) fn simulate(steps: &mut Steps, run: &Run) -> Result<(), String> {
    let build = ["build", "--profile", "fuzz", "--quiet", "-p", "shard", "--features", "sim", "--bin", "basalt-sim"];
    steps.cargo("build", &build)?;
    let Run { what: What { seed, seeds, points }, from, threads } = run;
    let mut words = Vec::new();
    match (seed, seeds, points) {
        (Some(seed), ..) => words.extend(["seed".to_string(), seed.to_string()]),
        (_, Some(count), _) => words.extend(many("seeds", *from, *count, *threads)),
        (_, _, Some(count)) => words.extend(many("points", *from, *count, *threads)),
        _ => return Err("nothing to simulate".to_string()),
    }
    let program = steps.target_folder().join("fuzz/basalt-sim");
    steps.run("simulate", Command::new(program).args(words))
}

fn many(what: &str, from: u64, count: u64, threads: u64) -> [String; 4] {
    [what.to_string(), from.to_string(), count.to_string(), threads.to_string()]
}
