//! CPU time of a process: all its threads, those of the kernel's io workers included, which belong to it.
//! The scheduler's count in nanoseconds per thread, so that a run of a tenth of a second can be measured too.
//! What the kernel does for a process elsewhere (journal and block threads, interrupts) is nobody's here.

use crate::failure::{Failure, Outcome, While};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

/// CPU time of a process's threads at one moment.
#[derive(Clone, Debug)]
pub(crate) struct CpuTime {
    pid: u32,
    /// By thread id, in nanoseconds.
    threads: BTreeMap<u32, u64>,
}

impl CpuTime {
    pub(crate) fn of(pid: u32) -> Outcome<Self> {
        let folder = format!("/proc/{pid}/task");
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(&folder).during(&folder)? {
            let name = entry?.file_name();
            let Some(thread) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            match thread_ns(&format!("{folder}/{thread}/schedstat")) {
                Ok(ns) => drop(threads.insert(thread, ns)),
                // It ended in this moment.
                Err(Failure::Io(error)) if is_gone(&error) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(Self { pid, threads })
    }

    /// CPU time since this moment. A thread that ended meanwhile is missing: servers keep theirs.
    pub(crate) fn until_now(&self) -> Outcome<Duration> {
        let now = Self::of(self.pid)?;
        let spent =
            now.threads.iter().map(|(thread, ns)| ns.saturating_sub(self.threads.get(thread).copied().unwrap_or(0)));
        Ok(Duration::from_nanos(spent.sum()))
    }
}

/// CPU time of this process so far, ended threads included.
pub(crate) fn own() -> Duration {
    read_clock(ClockId::ProcessCPUTime)
}

/// CPU time of the calling thread so far.
pub(crate) fn of_thread() -> Duration {
    read_clock(ClockId::ThreadCPUTime)
}

fn read_clock(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    // A CPU clock counts up from 0.
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// What all processes together spent on all cores so far, the kernel included.
pub(crate) fn of_machine() -> Outcome<Duration> {
    let text = fs::read_to_string("/proc/stat")?;
    let ticks = |at: usize| text.split_whitespace().nth(at).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    // `cpu`, then user, nice, system, idle, iowait, irq, softirq: in hundredths of a second (proc(5)).
    let busy = [1, 2, 3, 6, 7].map(ticks).iter().sum::<u64>();
    Ok(Duration::from_millis(busy * 10))
}

/// Memory of a process: resident now and at most so far, in KiB.
pub(crate) fn resident_kib(pid: u32) -> Outcome<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Ok((field("VmRSS:").unwrap_or(0), field("VmHWM:").unwrap_or(0)))
}

/// The first number of `schedstat`: time spent on a CPU.
fn thread_ns(path: &str) -> Outcome<u64> {
    let text = fs::read_to_string(path)?;
    let ns = text.split_whitespace().next().and_then(|word| word.parse().ok());
    ns.ok_or_else(|| Failure::Said(format!("{path} has no time in it")))
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_thread_that_computes_is_seen() {
        let before = CpuTime::of(std::process::id()).unwrap();
        let began = Instant::now();
        let mut sum = 0_u64;
        while before.until_now().unwrap() < Duration::from_millis(20) {
            sum = (0..100_000).fold(sum, |sum, n| sum.wrapping_mul(31).wrapping_add(n));
            assert!(began.elapsed() < Duration::from_secs(60), "nothing was counted, {sum}");
        }
    }

    #[test]
    fn the_memory_of_this_process_is_more_than_nothing() {
        let (now, most) = resident_kib(std::process::id()).unwrap();
        assert!(now > 0);
        assert!(most >= now);
    }
}
