//! Damage in the ledger's pages, before a start and while it runs. LMDB trusts its pages, when it begins and when it
//! writes: some damage may end the process, so each batch of corruptions runs in a process of its own, this program again, which tells what came of each.

use super::image::{Copied, Ended, Image};
use super::log::outcome;
use super::oracle::Oracle;
use super::{DAMAGES, Damage, Outcome, Tally, campaign};
use cache::sim::Rng;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const PAGE_BYTES: usize = 4096;
/// Tells the program that it is such a process: the seeds that it has to do.
const CHILD: &str = "BASALT_CORRUPTION_CHILD";
/// Begins its lines.
const LINE: &str = "corruption ";
/// A corruption that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(20);
/// Those that a process tells.
const OUTCOMES: [Outcome; 4] = [Outcome::Harmless, Outcome::Error, Outcome::Refused, Outcome::Wrong];

/// Which of its files is damaged.
#[derive(Clone, Copy)]
enum Target {
    Pages,
    Root,
}

impl Target {
    fn of(seed: u64) -> Target {
        if seed % 16 == 14 { Target::Root } else { Target::Pages }
    }

    fn file(self) -> &'static str {
        match self {
            Target::Pages => "data.mdb",
            Target::Root => "root",
        }
    }

    fn place(self, seed: u64) -> &'static str {
        match self {
            Target::Root => "ledger's root, before",
            Target::Pages if is_before(seed) => "ledger's pages, before",
            Target::Pages => "ledger's pages, running",
        }
    }
}

/// Damages pages of a file.
fn damage(copied: &Copied, image: &Image, target: Target, damage: Damage, rng: &mut Rng) {
    let (content, length) = &image.ledger[target.file()];
    let (earlier, _) = &image.earlier_ledger[target.file()];
    let page_of = |bytes: &[u8], at: usize| {
        let mut page = bytes.get(at..bytes.len().min(at + PAGE_BYTES)).unwrap_or_default().to_vec();
        page.resize(PAGE_BYTES.min(*length as usize - at), 0);
        page
    };
    let pages = length.div_ceil(PAGE_BYTES as u64);
    let one = rng.below(pages) as usize * PAGE_BYTES;
    let other = rng.below(pages) as usize * PAGE_BYTES;
    let file = File::options().write(true).open(copied.ledger_file(target.file())).unwrap();
    let mut page = page_of(content, one);
    if damage == Damage::Misdirected {
        file.write_all_at(&page, other as u64).unwrap();
        page = page_of(earlier, one);
    } else {
        damage.apply(&mut page, rng);
    }
    file.write_all_at(&page, one as u64).unwrap();
}

fn is_before(seed: u64) -> bool {
    seed.is_multiple_of(2)
}

fn corrupt(image: &Image, oracle: &Oracle, seed: u64) -> Outcome {
    let mut rng = Rng::new(seed);
    let kind = Damage::any(&mut rng);
    let copied = image.copy();
    if is_before(seed) {
        damage(&copied, image, Target::of(seed), kind, &mut rng);
    }
    let Ok(rig) = copied.open() else { return Outcome::Refused };
    if !is_before(seed) {
        damage(&copied, image, Target::of(seed), kind, &mut rng);
    }
    let judged = oracle.ask(&rig);
    if std::env::var_os("BASALT_CORRUPTION_SHOW").is_some() {
        oracle.show(&rig, &judged);
    }
    outcome(&judged)
}

/// The other process: does the seeds that it is given.
#[test]
#[ignore = "started by the campaign below"]
fn child() {
    let Ok(seeds) = std::env::var(CHILD) else { return };
    let (first, end) = seeds.split_once("..").unwrap();
    let image = Image::make(Ended::Stopped);
    let oracle = Oracle::of(&image);
    for seed in first.parse().unwrap()..end.parse::<u64>().unwrap() {
        let outcome = corrupt(&image, &oracle, seed);
        let which = OUTCOMES.iter().position(|it| *it == outcome).unwrap();
        // Not by the macro: the test harness would keep it.
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n{LINE}{seed} {which}").unwrap();
        out.flush().unwrap();
    }
}

/// A process that does seeds, and what it tells.
struct Worker {
    child: Child,
    told: Receiver<(u64, Outcome)>,
}

impl Worker {
    fn start(seeds: &std::ops::Range<u64>) -> Worker {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "fs::tests::corrupt::ledger::child", "--ignored", "--nocapture", "--test-threads=1"])
            .env(CHILD, format!("{}..{}", seeds.start, seeds.end))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(if std::env::var_os("BASALT_CORRUPTION_SHOW").is_some() { Stdio::inherit() } else { Stdio::null() })
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let Some((seed, which)) = line.strip_prefix(LINE).and_then(|text| text.split_once(' ')) else {
                    continue;
                };
                let outcome = OUTCOMES[which.parse::<usize>().unwrap()];
                if tell.send((seed.parse().unwrap(), outcome)).is_err() {
                    return;
                }
            }
        });
        Worker { child, told }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn no_damage_of_the_ledgers_pages_is_read_as_data() {
    let mut seeds = campaign(150);
    let mut tally = Tally::default();
    let mut wrong = Vec::new();
    while !seeds.is_empty() {
        let worker = Worker::start(&seeds);
        while !seeds.is_empty() {
            let seed = seeds.start;
            // A process that ended or hangs tells nothing of the seed that it was at.
            let told = worker.told.recv_timeout(LIMIT);
            seeds.start += 1;
            let outcome = told.map_or(Outcome::Ended, |(of, outcome)| {
                assert_eq!(of, seed);
                outcome
            });
            let kind = Damage::any(&mut Rng::new(seed));
            assert!(DAMAGES.contains(&kind));
            tally.count(Target::of(seed).place(seed), kind, outcome);
            if outcome == Outcome::Wrong {
                wrong.push(seed);
            }
            if told.is_err() {
                break;
            }
        }
    }
    eprintln!("{tally}wrong: {wrong:?}");
    let total: u64 = OUTCOMES.iter().chain([&Outcome::Ended]).map(|outcome| tally.total(*outcome)).sum();
    assert!(tally.total(Outcome::Error) + tally.total(Outcome::Refused) > 0, "no damage was met at all");
    assert!(wrong.is_empty(), "{} of {total} were wrong", wrong.len());
}
