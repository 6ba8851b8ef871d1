//! The disk as fio sees it, which everybody knows: io_uring and O_DIRECT, one file, a queue of eight. Left out where
//! fio is not installed.

use super::Reading;
use crate::failure::{Failure, Outcome, While};
use crate::fio::Job;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

pub(super) const SEQUENTIAL_READS: &str = "fio: reads of 1 MiB, sequential, io_uring, O_DIRECT, queue of 8";

pub(super) fn probe(store: &Path, time: Duration) -> Outcome<Vec<Reading>> {
    let is_there = Command::new("fio").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !is_there.is_ok_and(|status| status.success()) {
        return Ok(Vec::new());
    }
    let path = store.join(format!("probe-fio.{}", std::process::id()));
    let measured = measure(&path, time);
    fs::remove_file(&path)?;
    Ok(vec![Reading { title: SEQUENTIAL_READS.to_string(), rate: measured?, unit: "MiB", cpu_us: None }])
}

fn measure(path: &Path, time: Duration) -> Outcome<f64> {
    let mut command = Command::new("fio");
    // A short probe is content with less.
    let mib = if time < Duration::from_secs(1) { 16 } else { 1024 };
    command.args(["--name=read", "--rw=read", "--ioengine=io_uring", "--direct=1", "--bs=1M", "--iodepth=8"]);
    command.arg(format!("--filename={}", path.display())).arg(format!("--size={mib}M"));
    command.args(["--time_based", "--output-format=terse", "--terse-version=3"]);
    // fio knows whole seconds only.
    command.arg(format!("--runtime={}", time.as_secs().max(1)));
    let output = command.output().during("fio")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let job = Job::all_of(&text)?.into_iter().next().ok_or_else(|| Failure::said("fio reports no job"))?;
    Ok(job.read.mib_per_s)
}
