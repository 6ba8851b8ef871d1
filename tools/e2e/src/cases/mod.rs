//! The table of cases: one file a family, one row a case.

mod failing;
mod fsx;
mod full;
mod git;
mod hostile;
mod kill;
mod pjdfstest;
mod portmap;
mod promises;
mod readdir;
mod replay;
mod shares;
mod siege;
mod stress;
mod tree;

use crate::failure::Outcome;
use crate::lab::Lab;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What a pass shows.
    pub(crate) about: &'static str,
    /// The lab ends the case after this time.
    pub(crate) limit_s: u32,
    /// Whether it makes sense against the control server too.
    pub(crate) control: bool,
    /// Whether it measures, so that nothing else may run beside it.
    pub(crate) alone: bool,
    pub(crate) run: fn(&Lab) -> Outcome,
}

pub(crate) fn list() -> Outcome {
    let rows: Vec<_> = ALL.iter().map(|case| format!("{:<12} {}", case.name, case.about)).collect();
    Ok(rows.join("\n"))
}

/// In the order that they begin in, those that run alone after all others: the long ones first, so that the short ones
/// fill the gaps. The limits allow for a machine that is ten times as slow; they are there for what hangs.
pub(crate) const ALL: &[Case] = &[
    Case {
        name: "fsx",
        about: "fsx with four seeds, truncates and mapped writes, one client with nconnect=4",
        limit_s: 2400,
        control: true,
        alone: false,
        run: fsx::run,
    },
    Case {
        name: "tree",
        about: "20,000 files and 2 GiB in and out, over a restart, from two clients; rm -rf gives the space back",
        limit_s: 2400,
        control: true,
        alone: false,
        run: tree::run,
    },
    Case {
        name: "kill",
        about: "kill -9 under load: all acknowledged state is there, verified clean, serving again within 2 s",
        limit_s: 3600,
        control: false,
        alone: false,
        run: kill::kill_nine,
    },
    Case {
        name: "stress-ng",
        about: "stress-ng's file system stressors",
        limit_s: 1800,
        control: true,
        alone: false,
        run: stress::stress_ng,
    },
    Case {
        name: "power-cut",
        about: "the same with the pool's disk (XFS, ext4) shut down at a random moment",
        limit_s: 1800,
        control: false,
        alone: false,
        run: kill::power_cut,
    },
    Case {
        name: "kill-client",
        about: "the same under a kernel client that stays mounted",
        limit_s: 1800,
        control: false,
        alone: false,
        run: kill::kill_client,
    },
    Case {
        name: "git",
        about: "git clone, git fsck and cargo build on the mount",
        limit_s: 1800,
        control: true,
        alone: false,
        run: git::run,
    },
    Case {
        name: "readdir",
        about: "100,000 entries listed while others come and go and the server is started again: none lost, none twice",
        limit_s: 900,
        control: true,
        alone: false,
        run: readdir::run,
    },
    Case {
        name: "pjdfstest",
        about: "all tests of pjdfstest but the two that NFSv3 cannot pass",
        limit_s: 900,
        control: true,
        alone: false,
        run: pjdfstest::run,
    },
    Case {
        name: "fio",
        about: "fio with verify, four jobs",
        limit_s: 1800,
        control: true,
        alone: false,
        run: stress::fio,
    },
    Case {
        name: "shares",
        about: "several shares by configuration: squashing, read-only, denied clients, in memory, after a restart",
        limit_s: 900,
        control: false,
        alone: false,
        run: shares::run,
    },
    Case {
        name: "full",
        about: "a full disk: no space for data, while remove, commit, kill -9 and restart work; then space again",
        limit_s: 900,
        control: true,
        alone: false,
        run: full::run,
    },
    Case {
        name: "hostile",
        about: "bad lengths, versions, credentials, handles and names get their RFC answer; others are unharmed",
        limit_s: 600,
        control: false,
        alone: false,
        run: hostile::run,
    },
    Case {
        name: "siege",
        about: "10,000 connections, half records, floods, unread answers: memory as configured, others served on",
        limit_s: 1800,
        control: false,
        alone: true,
        run: siege::run,
    },
    Case {
        name: "promises",
        about: "write verifiers, exclusive creates, stale handles and sixteen groups, over kill -9",
        limit_s: 600,
        control: true,
        alone: false,
        run: promises::run,
    },
    Case {
        name: "portmap",
        about: "rpcinfo and showmount answer truthfully, with a port mapper of our own and with rpcbind",
        limit_s: 600,
        control: false,
        alone: false,
        run: portmap::run,
    },
    Case {
        name: "failing",
        about: "a disk that fails: errors from then on, never success, and a new verifier after the restart",
        limit_s: 600,
        control: false,
        alone: false,
        run: failing::run,
    },
    Case {
        name: "replay",
        about: "a call sent again gets the same answer and has one effect, also after kill -9",
        limit_s: 600,
        control: false,
        alone: false,
        run: replay::run,
    },
];
