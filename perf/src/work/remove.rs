//! How fast do files go? REMOVE of files made beforehand, each connection in a folder of its own, until they are
//! used up. Verified: afterwards none of the names is there.

use super::{Prepared, Shape, measured};
use crate::failure::{Failure, Outcome};
use crate::load::Lane;
use crate::site::{Removing, Site, numbered_name};

pub(super) fn prepare(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    let count = site.sizes.removed_files / shape.connections as u64;
    let works = (0..shape.connections).map(|connection| {
        let folder = site.folder(&format!("remove.{connection}"))?;
        site.make_numbered(folder, PREFIX, count)?;
        Ok(Removing { folder, prefix: PREFIX.to_string(), numbers: 0..count })
    });
    Ok(Box::new(Removers { works: works.collect::<Outcome<_>>()?, count }))
}

const PREFIX: &str = "old";

struct Removers {
    works: Vec<Removing>,
    /// Files of each.
    count: u64,
}

impl Prepared for Removers {
    fn lanes(&mut self, in_flight: usize) -> Vec<Lane<'_>> {
        measured(&mut self.works, in_flight)
    }

    fn check(&mut self, site: &mut Site) -> Outcome<u64> {
        for work in &self.works {
            for number in 0..work.numbers.start {
                let name = numbered_name(PREFIX, number);
                if site.client.lookup(work.folder.handle(), &name)?.is_some() {
                    return Err(Failure::Said(format!("{name} was removed and is there")));
                }
            }
        }
        Ok(self.works.iter().map(|work| work.numbers.start).sum())
    }

    /// What time did not suffice for.
    fn clean(&mut self, site: &mut Site) -> Outcome<()> {
        for work in &self.works {
            let left = work.numbers.clone();
            left.map(|number| numbered_name(PREFIX, number))
                .try_for_each(|name| site.client.remove(work.folder.handle(), &name))?;
        }
        assert!(self.works.iter().all(|work| work.numbers.end == self.count));
        Ok(())
    }
}
