//! How fast is writing? Each slot has a file of its own and writes it from its start to its end, over and over:
//! 1 MiB UNSTABLE with a COMMIT now and then, or 4 KiB FILE_SYNC.
//! Verified: afterwards every block is of the version that was acknowledged last.

use super::{Prepared, Shape, measured};
use crate::failure::{Failure, Outcome, accepted};
use crate::load::{Lane, Progress, Work};
use crate::pattern::{self, BLOCK_BYTES, Place};
use crate::pipe::Outbox;
use crate::site::{DataFile, MIB, Site, whole_write};
use std::time::SystemTime;
use wire::nfs3::{CommitArgs, CommitRes, Procedure, StableHow, WriteRes, Writeverf3};
use wire::xdr::Reader;

pub(super) fn unstable_1m(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    let manner = Manner { bytes: MIB as u32, stable: StableHow::Unstable, writes_per_commit: WRITES_PER_COMMIT };
    prepare(site, shape, manner)
}

pub(super) fn sync_4k(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    prepare(site, shape, Manner { bytes: BLOCK_BYTES as u32, stable: StableHow::FileSync, writes_per_commit: u32::MAX })
}

/// The WRITEs of a slot before its COMMIT.
const WRITES_PER_COMMIT: u32 = 16;

fn prepare(site: &mut Site, shape: Shape, manner: Manner) -> Outcome<Box<dyn Prepared>> {
    let works = (0..shape.connections).map(|connection| {
        let first = 100 + (connection * shape.in_flight) as u64;
        Writing::new(site, manner, first, shape.in_flight)
    });
    Ok(Box::new(Writers(works.collect::<Outcome<_>>()?)))
}

/// The stream of WRITEs that disturbs another test: one connection.
pub(super) fn disturbance(site: &mut Site, in_flight: usize) -> Outcome<Writing> {
    let manner = Manner { bytes: MIB as u32, stable: StableHow::Unstable, writes_per_commit: WRITES_PER_COMMIT };
    Writing::new(site, manner, 200, in_flight)
}

struct Writers(Vec<Writing>);

impl Prepared for Writers {
    fn lanes(&mut self, in_flight: usize) -> Vec<Lane<'_>> {
        measured(&mut self.0, in_flight)
    }

    fn check(&mut self, site: &mut Site) -> Outcome<u64> {
        let mut checked = 0;
        for writing in &self.0 {
            for target in &writing.targets {
                checked += target.check(site, writing.manner.bytes)?;
            }
        }
        Ok(checked)
    }

    /// The files stay for the next run, which knows its own versions from these.
    fn clean(&mut self, _: &mut Site) -> Outcome<()> {
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Manner {
    /// Of one WRITE.
    bytes: u32,
    stable: StableHow,
    writes_per_commit: u32,
}

/// One connection's writing.
pub(super) struct Writing {
    manner: Manner,
    /// By slot.
    targets: Vec<Target>,
    buffer: Vec<u8>,
}

impl Writing {
    /// A file for each slot, numbered from `first`.
    fn new(site: &mut Site, manner: Manner, first: u64, in_flight: usize) -> Outcome<Self> {
        let targets = (first..).take(in_flight).map(|number| Target::new(site, number, manner.bytes));
        let targets = targets.collect::<Outcome<_>>()?;
        Ok(Self { manner, targets, buffer: pattern::buffer(manner.bytes as usize) })
    }
}

/// A slot's file and how far it is.
struct Target {
    file: DataFile,
    /// The versions of this run are above this one, and below those of the next run.
    versions_above: u64,
    /// By range of the file: how many times it was written and acknowledged.
    written: Vec<u64>,
    next: usize,
    writes_since_commit: u32,
    phase: Phase,
    /// What the server's WRITEs said since the last COMMIT: another one in the COMMIT means lost data.
    verf: Option<Writeverf3>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Writing,
    Committing,
}

fn target_name(number: u64) -> String {
    format!("target.{number}")
}

impl Target {
    fn new(site: &mut Site, number: u64, bytes: u32) -> Outcome<Self> {
        let file = site.data_file(&target_name(number), number, site.sizes.target_bytes)?;
        let written = vec![0; (file.bytes / u64::from(bytes)) as usize];
        let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let versions_above = u64::try_from(age.as_nanos()).unwrap_or(0);
        Ok(Self { file, versions_above, written, next: 0, writes_since_commit: 0, phase: Phase::Writing, verf: None })
    }

    fn check(&self, site: &mut Site, bytes: u32) -> Outcome<u64> {
        let mut checked = 0;
        for (index, times) in self.written.iter().enumerate().filter(|(_, times)| **times > 0) {
            let place = self.place(index, bytes, *times);
            site.client.check(self.file.handle.handle(), place, bytes)?;
            checked += 1;
        }
        Ok(checked)
    }

    fn place(&self, index: usize, bytes: u32, times: u64) -> Place {
        let offset = index as u64 * u64::from(bytes);
        Place { file: self.file.number, offset, version: self.versions_above + times }
    }

    fn is_same_instance(&mut self, verf: Writeverf3) -> Outcome<()> {
        match *self.verf.get_or_insert(verf) == verf {
            true => Ok(()),
            false => Err(Failure::said("the write verifier changed: unstable data may be lost")),
        }
    }
}

impl Work for Writing {
    fn call(&mut self, slot: usize, out: &mut Outbox) -> Outcome<bool> {
        let target = &mut self.targets[slot];
        let file = target.file.handle.handle();
        if target.phase == Phase::Committing {
            out.call(Procedure::Commit, &CommitArgs { file, offset: 0, count: 0 });
            return Ok(true);
        }
        let place = target.place(target.next, self.manner.bytes, target.written[target.next] + 1);
        pattern::stamp(&mut self.buffer, place);
        out.write(file, place.offset, self.manner.stable, &self.buffer)?;
        Ok(true)
    }

    fn reply(&mut self, slot: usize, reply: &mut Reader<'_>) -> Outcome<Progress> {
        let target = &mut self.targets[slot];
        let done = Progress::Done { units: 1, bytes: u64::from(self.manner.bytes) };
        if target.phase == Phase::Committing {
            let committed = accepted(Procedure::Commit, reply.decode::<CommitRes>()?)?;
            target.is_same_instance(committed.verf)?;
            target.verf = None;
            target.phase = Phase::Writing;
            return Ok(done);
        }
        let res = reply.decode::<WriteRes>()?;
        whole_write(res, self.manner.bytes)?;
        let written = accepted(Procedure::Write, res)?;
        if written.committed < self.manner.stable {
            return Err(Failure::said("the server answers FILE_SYNC with less"));
        }
        target.is_same_instance(written.verf)?;
        target.written[target.next] += 1;
        target.next = (target.next + 1) % target.written.len();
        target.writes_since_commit += 1;
        if target.writes_since_commit < self.manner.writes_per_commit {
            return Ok(done);
        }
        // The last WRITE counts with its COMMIT.
        target.writes_since_commit = 0;
        target.phase = Phase::Committing;
        Ok(Progress::Middle)
    }
}
