//! How fast do small files come in? CREATE, WRITE of 4 KiB UNSTABLE, COMMIT: what a client does for `cp`.
//! Verified: afterwards every file that was acknowledged has its content.

use super::{Prepared, Shape, measured};
use crate::failure::{Failure, Outcome, accepted};
use crate::load::{Lane, Progress, Work};
use crate::pattern::{self, BLOCK_BYTES, Place};
use crate::pipe::Outbox;
use crate::site::{FIRST_VERSION, Site, create, numbered_name, whole_write};
use wire::nfs3::{CommitArgs, CommitRes, CreateRes, FileHandleBuf, Procedure, StableHow};
use wire::xdr::Reader;

pub(super) fn prepare(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    let folders = (0..shape.connections).map(|connection| site.folder(&format!("files.{connection}")));
    let works = folders.map(|folder| {
        let slots = vec![Step::Create; shape.in_flight];
        Ok(SmallFiles { folder: folder?, called: 0, slots, buffer: pattern::buffer(BLOCK_BYTES) })
    });
    Ok(Box::new(Copiers(works.collect::<Outcome<_>>()?)))
}

const PREFIX: &str = "file";

struct Copiers(Vec<SmallFiles>);

impl Prepared for Copiers {
    fn lanes(&mut self, in_flight: usize) -> Vec<Lane<'_>> {
        measured(&mut self.0, in_flight)
    }

    fn check(&mut self, site: &mut Site) -> Outcome<u64> {
        let mut checked = 0;
        for work in &self.0 {
            for number in 0..work.called {
                let name = numbered_name(PREFIX, number);
                let Some(found) = site.client.lookup(work.folder.handle(), &name)? else {
                    return Err(Failure::Said(format!("{name} was created and is not there")));
                };
                site.client.check(found.handle.handle(), place(number), BLOCK_BYTES as u32)?;
            }
            checked += work.called;
        }
        Ok(checked)
    }

    fn clean(&mut self, site: &mut Site) -> Outcome<()> {
        self.0.iter().try_for_each(|work| site.remove_numbered(work.folder, PREFIX, work.called))
    }
}

struct SmallFiles {
    folder: FileHandleBuf,
    called: u64,
    slots: Vec<Step>,
    buffer: Vec<u8>,
}

/// The call that a slot makes next, or waits for.
#[derive(Clone, Copy)]
enum Step {
    Create,
    /// It waits for the CREATE of this number.
    Created(u64),
    Write(u64, FileHandleBuf),
    Commit(FileHandleBuf),
}

fn place(number: u64) -> Place {
    Place { file: number, offset: 0, version: FIRST_VERSION }
}

impl Work for SmallFiles {
    fn call(&mut self, slot: usize, out: &mut Outbox) -> Outcome<bool> {
        match &mut self.slots[slot] {
            step @ (Step::Create | Step::Created(_)) => {
                create(out, self.folder.handle(), &numbered_name(PREFIX, self.called))?;
                *step = Step::Created(self.called);
                self.called += 1;
            }
            Step::Write(number, file) => {
                pattern::stamp(&mut self.buffer, place(*number));
                out.write(file.handle(), 0, StableHow::Unstable, &self.buffer)?;
            }
            Step::Commit(file) => {
                out.call(Procedure::Commit, &CommitArgs { file: file.handle(), offset: 0, count: 0 });
            }
        }
        Ok(true)
    }

    fn reply(&mut self, slot: usize, reply: &mut Reader<'_>) -> Outcome<Progress> {
        let step = &mut self.slots[slot];
        match *step {
            Step::Create => Err(Failure::said("a reply to no call")),
            Step::Created(number) => {
                let made = accepted(Procedure::Create, reply.decode::<CreateRes<'_>>()?)?;
                let file = made.obj.ok_or_else(|| Failure::said("CREATE gave no handle"))?;
                *step = Step::Write(number, file.into());
                Ok(Progress::Middle)
            }
            Step::Write(_, file) => {
                whole_write(reply.decode()?, BLOCK_BYTES as u32)?;
                *step = Step::Commit(file);
                Ok(Progress::Middle)
            }
            Step::Commit(_) => {
                accepted(Procedure::Commit, reply.decode::<CommitRes>()?)?;
                *step = Step::Create;
                Ok(Progress::Done { units: 1, bytes: BLOCK_BYTES as u64 })
            }
        }
    }
}
