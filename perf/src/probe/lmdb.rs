//! What LMDB takes for names: transactions of the rows that a CREATE writes, 1 to 128 in each, committed without a
//! flush, as the ledger does it behind its journal. The tables, codecs and the environment are the ledger's; permission checks, queue and answers are not here.

use super::Reading;
use crate::cpu;
use crate::failure::{Failure, Outcome};
use cache::world::Time;
use shard::inode::{Ino, Inode, Kind, ROOT};
use shard::ledger::command::{Answer, ReplayKey};
use shard::ledger::env::{Access, Limits, Tables};
use shard::ledger::record::entry::{self, Found};
use shard::ledger::record::reply::{self, Reply};
use shard::ledger::record::{Table, inode};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// CREATEs in one transaction.
pub(super) const BATCHES: [u64; 4] = [1, 8, 16, 128];
/// Files that are there already, so that the trees have the depth of a small pool.
const FILES: u64 = 20_000;
const LIMITS: Limits = Limits { map_bytes: 1 << 34, readers_max: 8 };

pub(super) fn probe(store: &Path, time: Duration) -> Outcome<Vec<Reading>> {
    let folder = store.join(format!("probe-lmdb.{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let readings = probe_folder(&folder, time);
    fs::remove_dir_all(&folder)?;
    readings
}

fn probe_folder(folder: &Path, time: Duration) -> Outcome<Vec<Reading>> {
    let tables = Tables::open(folder, LIMITS, Access::Write, Arc::default()).map_err(failed)?;
    let mut creating = Creating { tables, next: FIRST, value: Vec::new() };
    creating.commit(FILES)?;
    BATCHES.iter().map(|batch| creating.measure(*batch, time)).collect()
}

struct Creating {
    tables: Tables,
    /// Number of the next inode, cookie and reply.
    next: u64,
    value: Vec<u8>,
}

/// The first number that is given out.
const FIRST: u64 = 16;

impl Creating {
    fn measure(&mut self, batch: u64, time: Duration) -> Outcome<Reading> {
        let (began, cpu) = (Instant::now(), cpu::of_thread());
        let mut made = 0;
        while began.elapsed() < time {
            self.commit(batch)?;
            made += batch;
        }
        let (elapsed, spent) = (began.elapsed().as_secs_f64(), cpu::of_thread() - cpu);
        Ok(Reading {
            title: title(batch),
            rate: made as f64 / elapsed,
            unit: "op",
            cpu_us: Some(spent.as_secs_f64() * 1e6 / made as f64),
        })
    }

    /// One transaction.
    fn commit(&mut self, batch: u64) -> Outcome<()> {
        let Self { tables, next, value } = self;
        let mut txn = tables.env().write_txn().map_err(failed)?;
        let mut put = |table, key: &[u8], value: &[u8]| tables.rows(table).put(&mut txn, key, value).map_err(failed);
        for number in *next..*next + batch {
            let file = made(Ino(number), Kind::File);
            let name = format!("texture.{:07}.exr", shuffled(number));
            let found = Found { ino: file.ino, kind: file.kind, cookie: number };
            let key = entry::name_key(ROOT, name.as_bytes());
            entry::encode_name(key.as_bytes(), &found, value);
            put(Table::Names, key.as_bytes(), value)?;
            let key = entry::entry_key(ROOT, number);
            entry::encode_entry(key.as_bytes(), file.ino, file.kind, name.as_bytes(), value);
            put(Table::Entries, key.as_bytes(), value)?;
            inode::encode(&file, value);
            put(Table::Inodes, inode::key(file.ino).as_bytes(), value)?;
            let slot = (number % REPLY_SLOTS) as u32;
            reply::encode(slot, &answered(number, file), value);
            put(Table::Replies, reply::key(slot).as_bytes(), value)?;
        }
        *next += batch;
        inode::encode(&made(ROOT, Kind::Directory), value);
        put(Table::Inodes, inode::key(ROOT).as_bytes(), value)?;
        txn.commit().map_err(failed)
    }
}

/// As a filesystem has them by default.
const REPLY_SLOTS: u64 = 65_536;

pub(super) fn title(batch: u64) -> String {
    format!("LMDB: rows of a CREATE, {batch} in a transaction, not flushed")
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Said(format!("LMDB: {error}"))
}

/// Names come in an order that is not theirs.
fn shuffled(number: u64) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 10_000_000
}

fn made(ino: Ino, kind: Kind) -> Inode {
    let now = Time { secs: 1_700_000_000, nanos: 5 };
    Inode {
        ino,
        generation: 1,
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        nlink: 1,
        rdev: (0, 0),
        size: 0,
        used: 0,
        atime: now,
        mtime: now,
        ctime: now,
        btime: now,
        change: ino.0,
        folded_lsn: 0,
        parent: ROOT,
        entries: 0,
        verifier: None,
    }
}

fn answered(number: u64, file: Inode) -> Reply {
    let answer = Answer {
        status: Ok(()),
        object: Some(file),
        existed: false,
        before: None,
        dir: None,
        to_dir: None,
        replayed: false,
    };
    Reply { number, key: ReplayKey { client: 1, xid: number as u32, arguments: number }, answer }
}
