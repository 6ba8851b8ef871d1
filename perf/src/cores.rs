//! Two cores against one: what an operation costs the server in CPU time when both serve the same file, the same
//! folder, or each its own. Interleaved rounds; the median counts. The client takes whatever is left of the machine
//! and is not in the figures; so is the floor, which shares nothing between its connections and shows what of a
//! difference comes from the network path alone (smaller batches, more wake-ups).

use crate::CoresArgs;
use crate::failure::{Outcome, While};
use crate::peer::{self, Description, Ground};
use crate::report::{grouped, machine, micros};
use crate::run::{self, Figures, Place, Repeat};
use crate::site::{Site, Sizes, Verify};
use crate::work::{self, Test, hot};
use std::fs;
use std::time::Duration;

/// The servers, as their descriptions name them.
const SERVERS: [&str; 2] = ["basalt", "floor"];

/// The runs of one test on one server: with the first core alone, and with all.
#[derive(Clone, Default)]
struct Pair {
    one: Vec<Figures>,
    all: Vec<Figures>,
}

pub(crate) fn compare(args: &CoresArgs) -> Outcome<()> {
    fs::create_dir_all(&args.store)?;
    let store = args.store.canonicalize()?;
    let basaltd = args.basaltd.clone().map_or_else(|| peer::beside_us("basaltd"), Ok)?;
    let known = peer::descriptions(&[])?;
    let find = |name| known.iter().find(|known| known.name == name).cloned();
    let servers: Vec<_> = SERVERS.into_iter().filter_map(find).collect();
    let tests = work::named_in(hot::TESTS, &args.tests)?;
    let repeat = Repeat { time: Duration::from_secs_f64(args.seconds), verify: Verify::No };
    let first = args.cores.split(',').next().unwrap_or("0").to_string();
    let mut pairs = vec![vec![Pair::default(); tests.len()]; servers.len()];
    for round in 1..=args.rounds.max(1) {
        for (server, pairs) in servers.iter().zip(&mut pairs) {
            for cores in [&first, &args.cores] {
                println!("\nround {round}, {} on {cores}\n{}", server.title, Figures::HEADING);
                let ground =
                    Ground { store: store.clone(), basaltd: basaltd.clone(), server_cores: Some(cores.clone()) };
                let figures = run(server, &ground, &tests, repeat).during(&server.name)?;
                for (pair, figures) in pairs.iter_mut().zip(figures) {
                    let runs = if *cores == first { &mut pair.one } else { &mut pair.all };
                    runs.push(figures);
                }
            }
        }
    }
    println!("\n{}\n\n{}", machine::Machine::this(&store).line(), table(&servers, &tests, &pairs));
    Ok(())
}

fn run(server: &Description, ground: &Ground, tests: &[&'static Test], repeat: Repeat) -> Outcome<Vec<Figures>> {
    server.wipe(ground)?;
    let peer = server.start(ground)?;
    let mut site = Site::open(peer.address.clone(), Sizes::SMALL, repeat.verify)?;
    let place = Place { pid: Some(peer.pid()), client_core: None };
    let run = |test: &&'static Test| {
        let figures = run::once(&mut site, test, test.shape(), place, repeat).during(test.name)?;
        println!("{}", figures.line(test));
        Ok(figures)
    };
    let figures = tests.iter().map(run).collect::<Outcome<_>>();
    let figures = figures.during(peer.last_words())?;
    peer.stop()?;
    server.wipe(ground)?;
    Ok(figures)
}

/// CPU for an operation on one core and on all, and how much more that is.
fn table(servers: &[Description], tests: &[&Test], pairs: &[Vec<Pair>]) -> String {
    let mut text = "| server CPU, µs (operations/s) |".to_string();
    for server in servers {
        text += &format!(" {}: one core | all | more |", server.title);
    }
    text += &format!("\n|---|{}\n", "---:|---:|---:|".repeat(servers.len()));
    for (row, test) in tests.iter().enumerate() {
        text += &format!("| {} |", test.title);
        for pairs in pairs {
            let [one, all] = [&pairs[row].one, &pairs[row].all].map(|runs| Figures::median(runs));
            let cell = |figures: &Figures| format!("{} ({})", micros(figures.server_us), grouped(figures.rate));
            let more = (all.server_us / one.server_us - 1.0) * 100.0;
            text += &format!(" {} | {} | {more:+.0} % |", cell(&one), cell(&all));
        }
        text += "\n";
    }
    text
}

/// More than one, or there is nothing to compare.
pub(crate) fn parse_cores(text: &str) -> Result<String, String> {
    let are_numbers = text.split(',').all(|core| core.parse::<usize>().is_ok());
    match are_numbers && text.contains(',') {
        true => Ok(text.to_string()),
        false => Err("two or more cores, such as 0,1".to_string()),
    }
}
