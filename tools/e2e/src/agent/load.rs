//! The load of a guest: a worker on the mount, told by files in a folder shared with the host when to check. It
//! works on while the server is away: a hard mount only waits.

use crate::failure::Outcome;
use crate::share::Mounted;
use crate::workload::Worker;
use std::fs;
use std::path::Path;

/// Answers `check-N` with `checked-N`, and ends at `end`.
pub(crate) fn run(signals: &Path, seed: u64) -> Outcome {
    let folder = Path::new("/mnt/load");
    fs::create_dir(folder)?;
    let mut worker = Worker::new(Mounted::new(folder), seed);
    fs::write(signals.join("ready"), "")?;
    let mut round = 1;
    while !signals.join("end").exists() {
        worker.step()?;
        if signals.join(format!("check-{round}")).exists() {
            worker.settle()?;
            worker.check()?;
            fs::write(signals.join(format!("checked-{round}")), "")?;
            round += 1;
        }
    }
    Ok(format!("{} acknowledged calls", worker.acknowledged))
}
