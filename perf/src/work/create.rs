//! How fast do files come to be? CREATE of new names, each connection in a folder of its own.
//! Verified: afterwards every name that was acknowledged is there.

use super::{Prepared, Shape, measured};
use crate::failure::{Failure, Outcome, accepted};
use crate::load::{Lane, Progress, Work};
use crate::pipe::Outbox;
use crate::site::{Site, create, numbered_name};
use wire::nfs3::{CreateRes, FileHandleBuf, Procedure};
use wire::xdr::Reader;

pub(super) fn prepare(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    let folders = (0..shape.connections).map(|connection| site.folder(&format!("create.{connection}")));
    let works = folders.map(|folder| Ok(Create { folder: folder?, called: 0, answered: 0 }));
    Ok(Box::new(Creators(works.collect::<Outcome<_>>()?)))
}

struct Creators(Vec<Create>);

const PREFIX: &str = "frame";

impl Prepared for Creators {
    fn lanes(&mut self, in_flight: usize) -> Vec<Lane<'_>> {
        measured(&mut self.0, in_flight)
    }

    fn check(&mut self, site: &mut Site) -> Outcome<u64> {
        let mut checked = 0;
        for work in &self.0 {
            // Every call of a run is answered before the run ends.
            assert_eq!(work.called, work.answered);
            for number in 0..work.called {
                let name = numbered_name(PREFIX, number);
                let found = site.client.lookup(work.folder.handle(), &name)?;
                found.ok_or_else(|| Failure::Said(format!("{name} was created and is not there")))?;
            }
            checked += work.called;
        }
        Ok(checked)
    }

    fn clean(&mut self, site: &mut Site) -> Outcome<()> {
        self.0.iter().try_for_each(|work| site.remove_numbered(work.folder, PREFIX, work.called))
    }
}

struct Create {
    folder: FileHandleBuf,
    called: u64,
    answered: u64,
}

impl Work for Create {
    fn call(&mut self, _: usize, out: &mut Outbox) -> Outcome<bool> {
        create(out, self.folder.handle(), &numbered_name(PREFIX, self.called))?;
        self.called += 1;
        Ok(true)
    }

    fn reply(&mut self, _: usize, reply: &mut Reader<'_>) -> Outcome<Progress> {
        accepted(Procedure::Create, reply.decode::<CreateRes<'_>>()?)?;
        self.answered += 1;
        Ok(Progress::ONE)
    }
}
