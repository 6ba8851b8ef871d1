//! How fast is data? READ of one file: a short one from the server's cache, a long one from the disk in order or at
//! random, each byte once. Verified: every block is the one that was written.

use super::{Plain, Prepared, Shape};
use crate::failure::{Failure, Outcome, accepted};
use crate::load::{self, Progress, Work};
use crate::pattern::{self, BLOCK_BYTES, Place};
use crate::pipe::Outbox;
use crate::site::{DataFile, FIRST_VERSION, MIB, Site, Verify};
use wire::nfs3::{Procedure, ReadArgs, ReadRes};
use wire::xdr::Reader;

pub(super) fn cached_4k(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    let file = warm_file(site)?;
    Plain::boxed(spread(site, file, shape, BLOCK_BYTES as u32, Order::Around))
}

pub(super) fn cached_1m(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    let file = warm_file(site)?;
    Plain::boxed(spread(site, file, shape, MIB as u32, Order::Around))
}

pub(super) fn sequential_1m(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    let file = site.data_file("cold-sequential", 2, site.sizes.cold_bytes)?;
    Plain::boxed(spread(site, file, shape, MIB as u32, Order::Once))
}

pub(super) fn random_4k(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    let file = site.data_file("cold-random", 3, site.sizes.cold_bytes)?;
    Plain::boxed(spread(site, file, shape, BLOCK_BYTES as u32, Order::OnceAtRandom))
}

/// The file that is in the server's cache, read once so that it is.
pub(super) fn warm_file(site: &mut Site) -> Outcome<DataFile> {
    let file = site.data_file("warm", 1, site.sizes.warm_bytes)?;
    let shape = Shape { connections: 1, in_flight: 4 };
    for mut reading in spread(site, file, shape, MIB as u32, Order::Once) {
        load::run_to_end(site.address.nfs, shape.in_flight, &mut reading)?;
    }
    Ok(file)
}

/// Divides the file between connections.
fn spread(site: &Site, file: DataFile, shape: Shape, bytes: u32, order: Order) -> Vec<Reading> {
    let ranges = file.bytes / u64::from(bytes);
    let share = ranges / shape.connections as u64;
    let reading = |first| Reading {
        file,
        bytes,
        order,
        first,
        count: if order == Order::Around { ranges } else { share },
        ranges,
        done: 0,
        asked: vec![0; shape.in_flight],
        verify: site.verify,
    };
    (0..shape.connections as u64).map(|connection| reading(connection * share)).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// From where the connection begins, over and over.
    Around,
    /// The connection's part of the file, once.
    Once,
    /// As `Once`, with the file's ranges shuffled.
    OnceAtRandom,
}

/// Ranges of a file.
struct Reading {
    file: DataFile,
    /// Of one range.
    bytes: u32,
    order: Order,
    /// This connection's first range.
    first: u64,
    /// This connection's ranges.
    count: u64,
    /// The file's ranges.
    ranges: u64,
    done: u64,
    /// By slot: the offset that was asked for.
    asked: Vec<u64>,
    verify: Verify,
}

/// Odd, and so a step that visits every range of a file whose count of them is a power of two.
const SHUFFLE: u64 = 0x9E37_79B1;

impl Reading {
    fn next_offset(&mut self) -> Option<u64> {
        if self.done >= self.count && self.order != Order::Around {
            return None;
        }
        let index = self.first + self.done;
        self.done += 1;
        let range = match self.order {
            Order::Around | Order::Once => index % self.ranges,
            Order::OnceAtRandom => index.wrapping_mul(SHUFFLE) % self.ranges,
        };
        Some(range * u64::from(self.bytes))
    }
}

impl Work for Reading {
    fn call(&mut self, slot: usize, out: &mut Outbox) -> Outcome<bool> {
        let Some(offset) = self.next_offset() else { return Ok(false) };
        self.asked[slot] = offset;
        out.call(Procedure::Read, &ReadArgs { file: self.file.handle.handle(), offset, count: self.bytes });
        Ok(true)
    }

    fn reply(&mut self, slot: usize, reply: &mut Reader<'_>) -> Outcome<Progress> {
        let place = Place { file: self.file.number, offset: self.asked[slot], version: FIRST_VERSION };
        whole_read(reply, place, self.bytes, self.verify)?;
        Ok(Progress::Done { units: 1, bytes: u64::from(self.bytes) })
    }
}

/// Fails unless a READ gave all that was asked for, and what was written if that is wanted.
pub(super) fn whole_read(reply: &mut Reader<'_>, place: Place, bytes: u32, verify: Verify) -> Outcome<()> {
    let read = accepted(Procedure::Read, reply.decode::<ReadRes<'_>>()?)?;
    if read.data.len() != bytes as usize {
        return Err(Failure::Said(format!("READ at {}: {} bytes of {bytes}", place.offset, read.data.len())));
    }
    match verify {
        Verify::Yes => pattern::check(&read.data, place),
        Verify::No => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::nfs3::FileHandle;

    #[test]
    fn a_shuffled_file_is_read_once_and_whole() {
        let handle = FileHandle::new(&[1; 8]).unwrap().into();
        let file = DataFile { number: 1, handle, bytes: 256 * 4096 };
        let mut offsets = Vec::new();
        for connection in 0..4 {
            let mut reading = Reading {
                file,
                bytes: 4096,
                order: Order::OnceAtRandom,
                first: connection * 64,
                count: 64,
                ranges: 256,
                done: 0,
                asked: vec![],
                verify: Verify::No,
            };
            offsets.extend(std::iter::from_fn(|| reading.next_offset()));
        }
        assert!(offsets.windows(2).any(|pair| pair[1] < pair[0]), "it is shuffled");
        offsets.sort_unstable();
        assert!(offsets.into_iter().eq((0..256).map(|range| range * 4096)));
    }
}
