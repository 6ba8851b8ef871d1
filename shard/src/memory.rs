//! What memory the machine, or the control group of this process, has.
//!
//! Callers: the ledger ([`crate::ledger::warm`]), the daemon for values that are `auto`. Everything here
//! is what Linux says in `/proc` and `/sys`; what it does not say is `None`.

use std::fs;

/// Bytes that could be had without swapping, the page cache that would be given up included; no more
/// than the control group may use.
pub fn available_bytes() -> Option<u64> {
    within_group(meminfo("MemAvailable:")?)
}

/// The machine's memory, or less where a control group limits the process.
pub fn total_bytes() -> Option<u64> {
    within_group(meminfo("MemTotal:")?)
}

fn meminfo(key: &str) -> Option<u64> {
    meminfo_line(&fs::read_to_string("/proc/meminfo").ok()?, key)
}

fn meminfo_line(meminfo: &str, key: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib.saturating_mul(1024))
}

fn within_group(bytes: u64) -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(within(bytes, limit_files(&groups).filter_map(|file| fs::read_to_string(file).ok())))
}

/// The least of what there is and the limits. Where there is none it says "max", or a number beyond any memory.
fn within(bytes: u64, limits: impl Iterator<Item = String>) -> u64 {
    limits.filter_map(|limit| limit.trim().parse().ok()).fold(bytes, u64::min)
}

/// Where the limits of the process's own control groups are: versions 2 and 1.
fn limit_files(groups: &str) -> impl Iterator<Item = String> {
    groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        match (parts.next()?, parts.next()?) {
            ("", path) => Some(format!("/sys/fs/cgroup{path}/memory.max")),
            ("memory", path) => Some(format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes")),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_available_is_a_part_of_what_there_is() {
        let (available, total) = (available_bytes().unwrap(), total_bytes().unwrap());
        assert!(available > 0 && available <= total);
    }

    #[test]
    fn a_line_of_meminfo_is_in_kib() {
        let text = "MemTotal:       24684232 kB\nMemFree:        16471984 kB\nMemAvailable:   2 kB\n";
        assert_eq!(meminfo_line(text, "MemAvailable:"), Some(2048));
        assert_eq!(meminfo_line(text, "SwapTotal:"), None);
        assert_eq!(meminfo_line("MemAvailable: many kB", "MemAvailable:"), None);
    }

    #[test]
    fn the_tightest_limit_counts_and_none_where_there_is_none() {
        let within = |limits: &[&str]| within(1000, limits.iter().map(ToString::to_string));
        assert_eq!(within(&[]), 1000);
        assert_eq!(within(&["max\n", "9223372036854771712\n"]), 1000);
        assert_eq!(within(&["900\n", "max\n", "800\n"]), 800);
    }

    #[test]
    fn limits_are_looked_for_in_groups_of_both_versions() {
        let groups = "11:memory:/a/b\n10:cpu,cpuacct:/c\n1:name=systemd:/\n0::/d:e\n";
        let files: Vec<_> = limit_files(groups).collect();
        assert_eq!(files, ["/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "/sys/fs/cgroup/d:e/memory.max"]);
    }
}
