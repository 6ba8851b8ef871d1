//! The tests: a table, and one file each. A test prepares what it needs on a [`Site`], gives one piece of work per
//! connection, and can check afterwards that what the server acknowledged is there.

mod access;
mod beside_writes;
pub(crate) mod bulk;
mod create;
mod farm;
mod getattr;
pub(crate) mod hot;
mod lookup;
mod read;
mod readdirplus;
mod remove;
mod rename;
mod small_files;
mod write;

use crate::failure::{Failure, Outcome};
use crate::load::{Lane, Role, Work};
use crate::site::Site;

/// One question, with one answer per server.
pub(crate) struct Test {
    /// On the command line and in JSON.
    pub(crate) name: &'static str,
    /// In tables.
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    pub(crate) connections: usize,
    /// On each connection.
    pub(crate) in_flight: usize,
    pub(crate) kind: Kind,
    prepare: fn(&mut Site, Shape) -> Outcome<Box<dyn Prepared>>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Operation,
    /// A MiB of data.
    Mib,
    File,
    /// An entry of a directory.
    Entry,
}

impl Unit {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Operation => "op",
            Self::Mib => "MiB",
            Self::File => "file",
            Self::Entry => "entry",
        }
    }
}

/// How a run of the test goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As long as one likes.
    Steady,
    /// Until its work is used up, without a warm-up.
    UsedUp,
    /// As `UsedUp`, and only right when the server's caches are cold.
    Cold,
}

/// How many connections, and calls in flight on each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
}

/// A test that is ready to run.
pub(crate) trait Prepared {
    /// The work of each connection.
    fn lanes(&mut self, in_flight: usize) -> Vec<Lane<'_>>;

    /// Compares what is there with what was acknowledged; the count of things compared.
    fn check(&mut self, site: &mut Site) -> Outcome<u64>;

    /// Takes away what the next run must not find.
    fn clean(&mut self, site: &mut Site) -> Outcome<()>;
}

/// A test whose replies say all, and that leaves nothing behind.
struct Plain<W>(Vec<W>);

impl<W: Work + 'static> Plain<W> {
    fn boxed(works: impl IntoIterator<Item = W>) -> Outcome<Box<dyn Prepared>> {
        Ok(Box::new(Self(works.into_iter().collect())))
    }
}

impl<W: Work> Prepared for Plain<W> {
    fn lanes(&mut self, in_flight: usize) -> Vec<Lane<'_>> {
        measured(&mut self.0, in_flight)
    }

    fn check(&mut self, _: &mut Site) -> Outcome<u64> {
        Ok(0)
    }

    fn clean(&mut self, _: &mut Site) -> Outcome<()> {
        Ok(())
    }
}

fn measured<W: Work>(works: &mut [W], in_flight: usize) -> Vec<Lane<'_>> {
    works.iter_mut().map(|work| Lane { work, in_flight, role: Role::Measured }).collect()
}

impl Test {
    pub(crate) fn prepare(&self, site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
        (self.prepare)(site, shape)
    }

    pub(crate) fn shape(&self) -> Shape {
        Shape { connections: self.connections, in_flight: self.in_flight }
    }
}

/// Every test, in the order of reports. Two connections: more of them share a core's time with smaller batches, which
/// makes the network path cost more than the server.
#[rustfmt::skip]
pub(crate) const TESTS: &[Test] = &[
    test("getattr", "GETATTR", Unit::Operation, (2, 32), Kind::Steady, getattr::prepare),
    test("getattr-one", "GETATTR, one in flight", Unit::Operation, (1, 1), Kind::Steady, getattr::prepare),
    test("getattr-beside-writes", "GETATTR, one in flight, beside a stream of WRITEs", Unit::Operation, (1, 1), Kind::Steady, beside_writes::prepare),
    test("lookup", "LOOKUP", Unit::Operation, (2, 32), Kind::Steady, lookup::prepare),
    test("access", "ACCESS", Unit::Operation, (2, 32), Kind::Steady, access::prepare),
    test("read-4k", "READ 4 KiB, cached", Unit::Operation, (2, 32), Kind::Steady, read::cached_4k),
    test("read-4k-one", "READ 4 KiB, cached, one in flight", Unit::Operation, (1, 1), Kind::Steady, read::cached_4k),
    test("read-4k-random", "READ 4 KiB, random, from the disk", Unit::Operation, (2, 32), Kind::Cold, read::random_4k),
    test("read-1m", "READ 1 MiB, cached", Unit::Mib, (2, 8), Kind::Steady, read::cached_1m),
    test("read-1m-seq", "READ 1 MiB, sequential, from the disk", Unit::Mib, (1, 8), Kind::Cold, read::sequential_1m),
    test("write-1m", "WRITE 1 MiB UNSTABLE, COMMIT every 16", Unit::Mib, (2, 8), Kind::Steady, write::unstable_1m),
    test("write-4k-sync", "WRITE 4 KiB FILE_SYNC", Unit::Operation, (2, 8), Kind::Steady, write::sync_4k),
    test("write-4k-sync-one", "WRITE 4 KiB FILE_SYNC, one in flight", Unit::Operation, (1, 1), Kind::Steady, write::sync_4k),
    test("create", "CREATE", Unit::Operation, (2, 8), Kind::Steady, create::prepare),
    test("create-one", "CREATE, one in flight", Unit::Operation, (1, 1), Kind::Steady, create::prepare),
    test("rename", "RENAME", Unit::Operation, (2, 8), Kind::Steady, rename::prepare),
    test("remove", "REMOVE", Unit::Operation, (2, 8), Kind::UsedUp, remove::prepare),
    test("small-files", "CREATE + WRITE 4 KiB + COMMIT", Unit::File, (2, 8), Kind::Steady, small_files::prepare),
    test("readdirplus", "READDIRPLUS", Unit::Entry, (2, 2), Kind::Steady, readdirplus::prepare),
    test("farm", "Render farm: look-ups and hot reads, some writes", Unit::Operation, (2, 16), Kind::Steady, farm::prepare),
];

const fn test(
    name: &'static str,
    title: &'static str,
    unit: Unit,
    (connections, in_flight): (usize, usize),
    kind: Kind,
    prepare: fn(&mut Site, Shape) -> Outcome<Box<dyn Prepared>>,
) -> Test {
    Test { name, title, unit, connections, in_flight, kind, prepare }
}

/// The tests of these names, in their order of the table; all of them for none.
pub(crate) fn named(names: &[String]) -> Outcome<Vec<&'static Test>> {
    named_in(TESTS, names)
}

/// The same of another table.
pub(crate) fn named_in(table: &'static [Test], names: &[String]) -> Outcome<Vec<&'static Test>> {
    if let Some(unknown) = names.iter().find(|name| table.iter().all(|test| test.name != **name)) {
        let known: Vec<_> = table.iter().map(|test| test.name).collect();
        return Err(Failure::Said(format!("no test is called {unknown}; there are {}", known.join(", "))));
    }
    Ok(table.iter().filter(|test| names.is_empty() || names.iter().any(|name| name == test.name)).collect())
}
