//! Do big transfers hold up small questions? GETATTR on one connection while another one streams WRITEs.

use super::{Prepared, Shape, getattr, measured, write};
use crate::failure::Outcome;
use crate::load::{Lane, Role};
use crate::site::Site;

pub(super) fn prepare(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    let asking = getattr::works(site, shape.connections)?;
    let writing = write::disturbance(site, WRITES_IN_FLIGHT)?;
    Ok(Box::new(BesideWrites { asking, writing }))
}

const WRITES_IN_FLIGHT: usize = 4;

struct BesideWrites {
    asking: Vec<getattr::Getattr>,
    writing: write::Writing,
}

impl Prepared for BesideWrites {
    fn lanes(&mut self, in_flight: usize) -> Vec<Lane<'_>> {
        let mut lanes = measured(&mut self.asking, in_flight);
        lanes.push(Lane { work: &mut self.writing, in_flight: WRITES_IN_FLIGHT, role: Role::Background });
        lanes
    }

    fn check(&mut self, _: &mut Site) -> Outcome<u64> {
        Ok(0)
    }

    fn clean(&mut self, _: &mut Site) -> Outcome<()> {
        Ok(())
    }
}
