//! Pages of LMDB's file, as a look at the ledger follows them from the root of a table to its rows. LMDB has made them,
//! somebody has damaged them. Whatever they are: no panic, and every walk ends, with no row twice. Where it is
//! known what they have to be, an answer is what was written, or an error; where it is not, a row with
//! its checksum is one that was written. What is answered, all rows included, without damage: what was written.
//!
//! Input: a byte that says whether the pages are those of LMDB or zeros, from where the tables' beginnings are known, and
//! what the pages' sums are; two that claim a beginning; then steps. A step is a kind and four numbers of one
//! byte, of which some take bytes that follow. The damage is done first, then the questions are asked.

use super::Target;
use shard::ledger::pages::Unsound;
use shard::ledger::record::Table;
use shard::ledger::specimen::{Image, Origin, Rows, Specimen, Subject, Sums, is_whole, sealed};
use std::cell::Cell;
use std::ops::Bound;
use std::sync::LazyLock;

pub(super) const PAGES: Target = Target {
    name: "pages",
    about: "pages of LMDB's file: a damaged tree is walked to an end, and gives what was written or an error",
    input_max: 1500,
    // Sums of pages are kept in pieces of 64 KiB. The pages themselves are in a map, which is not counted.
    working_bytes: SUMS_BYTES,
    words: &[&[0x01, 0, 0, 0], &[0x02, 0, 0, 0], &[0x04, 0, 0, 0], &[10, 0, 0, 0, 0], &[13, 0, 0, 255, 255]],
    seeds,
    run,
};

/// Made by a thread of its own: what it takes is no execution's.
static GOLDEN: LazyLock<Golden> =
    LazyLock::new(|| std::thread::spawn(Golden::make).join().expect("LMDB makes a few pages"));

fn run(input: &[u8]) {
    let golden = LazyLock::force(&GOLDEN);
    let Some(([how, page, depth], script)) = input.split_first_chunk::<3>() else { return };
    let used = IMAGE.take();
    let mut image = used.unwrap_or_else(|| golden.specimen.blank().expect("there is memory"));
    match how & 1 {
        0 => image.copy_from_slice(golden.specimen.pages()),
        _ => image.fill(0),
    }
    steps(script, |step, own| step.damage(&mut image, own));
    let is_damaged = *image != *golden.specimen.pages();
    let sums = [Sums::Written, Sums::Read, Sums::Unknown, Sums::Forged][usize::from(how >> 1 & 3)];
    let origin = match how >> 3 & 3 {
        0 | 1 => Origin::Known,
        2 => Origin::Found,
        _ => Origin::Claimed { page: u64::from(*page), depth: u16::from(*depth) % (DEPTH_MAX + 1) },
    };
    let subject = match golden.specimen.subject(image, origin, sums).expect("there is memory") {
        Ok(subject) => subject,
        Err(_) => return assert!(is_damaged || matches!(origin, Origin::Claimed { .. }), "refused without damage"),
    };
    let mut asked = Asked {
        golden,
        subject: &subject,
        is_known: !is_damaged || sums == Sums::Written,
        is_damaged,
        is_claimed: matches!(origin, Origin::Claimed { .. }),
    };
    // The tables begin where the pages say: with damage that is no place that is known.
    asked.is_known &= !asked.is_claimed && (origin == Origin::Known || !is_damaged);
    asked.is_damaged |= asked.is_claimed;
    steps(script, |step, _| step.ask(&mut asked));
    IMAGE.set(subject.into_image().ok());
}

thread_local! {
    /// Memory for the pages; to ask for it anew would take most of the time.
    static IMAGE: Cell<Option<Image>> = const { Cell::new(None) };
}

/// Goes through the steps, each with the bytes that are its own.
fn steps<'a>(mut script: &'a [u8], mut each: impl FnMut(Step, &'a [u8])) {
    while let Some((step, rest)) = script.split_first_chunk::<5>() {
        let own_bytes = if step[0] == 0 { usize::from(step[4]).min(rest.len()) } else { 0 };
        let (own, rest) = rest.split_at(own_bytes);
        each(Step(*step), own);
        script = rest;
    }
}

/// A kind, and four numbers.
#[derive(Clone, Copy)]
struct Step([u8; 5]);

impl Step {
    fn damage(self, image: &mut [u8], own: &[u8]) {
        let [kind, a, b, c, d] = self.0;
        let count = image.len() / PAGE_BYTES;
        let page = usize::from(a) % count * PAGE_BYTES;
        let at = page + usize::from(u16::from_le_bytes([b, c])) % PAGE_BYTES;
        let end = image.len();
        match kind {
            // Any bytes.
            0 => {
                let bytes = own.len().min(end - at);
                image[at..at + bytes].copy_from_slice(&own[..bytes]);
            }
            1 => image[at] ^= d | 1,
            2 => image[at] = d,
            3 => image[at & !(SECTOR_BYTES - 1)..][..SECTOR_BYTES].fill(d),
            // A misdirected write, or what the page was before; as the page that it is, or not.
            4 | 5 => {
                let to = usize::from(b) % count * PAGE_BYTES;
                image.copy_within(page..page + PAGE_BYTES, to);
                if kind == 5 {
                    image[to..to + 8].copy_from_slice(&((to / PAGE_BYTES) as u64).to_le_bytes());
                }
            }
            // A head: flags, where the nodes' places end and where the nodes begin.
            6 => {
                image[page..page + 8].copy_from_slice(&((page / PAGE_BYTES) as u64).to_le_bytes());
                let flags = [1_u8, 2, 4, d][usize::from(d % 4)];
                let nodes_end = HEAD_BYTES + 2 * usize::from(b);
                image[page + 10..page + 12].copy_from_slice(&[flags, 0]);
                image[page + 12..page + 14].copy_from_slice(&(nodes_end as u16).to_le_bytes());
                image[page + 14..page + 16].copy_from_slice(&(usize::from(c) * 16).to_le_bytes()[..2]);
            }
            // Places of nodes, all of them at one place.
            7 => {
                let places = image[page + HEAD_BYTES..page + PAGE_BYTES].chunks_exact_mut(2).take(usize::from(d));
                places.for_each(|place| place.copy_from_slice(&[b, c]));
            }
            _ => {}
        }
    }

    fn ask(self, asked: &mut Asked<'_>) {
        let [kind, a, b, c, d] = self.0;
        let table = Table::ALL[usize::from(a) % Table::ALL.len()];
        let key = |selector| asked.golden.key(table, selector);
        match kind {
            8 | 9 => asked.get(table, &key([b, c])),
            10 | 11 => asked.before(table, &key([b, c])),
            12 => _ = asked.range(table, &key([b, 0]), &key([c, d])),
            13 => {
                // No key is behind this one. Where there are pages there are rows, or a walk need not have an end.
                let rows = asked.range(table, &[], &[0xff; PAGE_BYTES]);
                assert!(rows != Some(0) || asked.subject.is_empty(table), "pages without rows");
            }
            14 => asked.carry(),
            15 => asked.subject.turn(),
            _ => {}
        }
    }
}

/// Pages that are asked, and what is known of the answers.
struct Asked<'a> {
    golden: &'a Golden,
    subject: &'a Subject<'a>,
    /// What the pages have to be is known.
    is_known: bool,
    is_damaged: bool,
    /// Every table begins at one page.
    is_claimed: bool,
}

impl Asked<'_> {
    fn get(&self, table: Table, key: &[u8]) {
        match self.subject.get(table, key) {
            Err(unsound) => self.refused(unsound),
            Ok(value) if self.is_known => {
                assert_eq!(value, self.golden.newer[table as usize].get(key).map(Vec::as_slice), "of {key:02x?}");
            }
            Ok(value) => self.written(value.map(|value| (key, value))),
        }
    }

    fn before(&self, table: Table, key: &[u8]) {
        match self.subject.before(table, key) {
            Err(unsound) => self.refused(unsound),
            Ok(row) if self.is_known => {
                let mut rows =
                    self.golden.newer[table as usize].range::<[u8], _>((Bound::Unbounded, Bound::Excluded(key)));
                let expected = rows.next_back().map(|(key, value)| (key.as_slice(), value.as_slice()));
                assert_eq!(row, expected, "before {key:02x?}");
            }
            Ok(row) => self.written(row),
        }
    }

    /// How many rows there are; `None` where it ended in an error.
    fn range(&self, table: Table, first: &[u8], last: &[u8]) -> Option<usize> {
        let rows = (first <= last).then(|| {
            let bounds = (Bound::Included(first), Bound::Included(last));
            self.golden.newer[table as usize].range::<[u8], _>(bounds)
        });
        let mut expected = rows.into_iter().flatten();
        let mut previous: Option<&[u8]> = None;
        let mut count = 0;
        let rows = self.subject.range(table, first, last).map_err(|unsound| self.refused(unsound)).ok()?;
        for row in rows {
            let row = row.map_err(|unsound| self.refused(unsound)).ok()?;
            count += 1;
            assert!(previous.is_none_or(|previous| previous < row.0), "{:02x?} comes out of order", row.0);
            assert!(row.0 <= last, "{:02x?} is beyond the range", row.0);
            previous = Some(row.0);
            match self.is_known {
                true => assert_eq!(Some(row), expected.next().map(|(key, value)| (key.as_slice(), value.as_slice()))),
                false => self.written(Some(row)),
            }
        }
        assert!(!self.is_known || expected.next().is_none(), "a listing that ends too early");
        Some(count)
    }

    fn carry(&mut self) {
        let carried = self.subject.carry();
        // Pages that it took for what was written may be damaged, also where it did not come to its end.
        self.is_known &= carried == Ok(true);
        match carried {
            Err(unsound) => self.refused(unsound),
            Ok(is_as_written) => assert!(is_as_written || self.is_damaged, "another digest without damage"),
        }
    }

    fn refused(&self, unsound: Unsound) {
        assert!(self.is_damaged, "without damage: {unsound}");
    }

    /// Whether a row is whole, it was written, in whatever table and commit.
    fn written(&self, row: Option<(&[u8], &[u8])>) {
        let Some((key, value)) = row.filter(|(key, value)| is_whole(Table::Meta, key, value)) else { return };
        let mut tables = self.golden.older.iter().chain(&self.golden.newer);
        assert!(tables.any(|rows| rows.get(key).is_some_and(|known| known == value)), "{key:02x?} was never written");
    }
}

/// A ledger's pages, and what was written.
struct Golden {
    specimen: Specimen,
    older: Rows,
    newer: Rows,
}

impl Golden {
    fn make() -> Golden {
        let (mut older, mut newer) = (Rows::default(), Rows::default());
        for table in Table::ALL {
            let (count, key_bytes, value_bytes) = match table {
                // Three levels.
                Table::Names => (45, 480, 30),
                Table::Inodes => (70, 12, 90),
                // Values that have pages of their own.
                Table::Targets => (5, 12, 4500),
                Table::Orphans => (0, 0, 0),
                _ => (6, 20, 40),
            };
            for number in 0..count {
                let key = key(table, number, key_bytes);
                let value = |version: u8| sealed(&key, &vec![number ^ version << 6; value_bytes]);
                // Some are changed, some come, some go.
                if number % 9 != 4 {
                    older[table as usize].insert(key.clone(), value(1));
                }
                if number % 11 != 5 {
                    let version = if number % 7 == 3 { 2 } else { 1 };
                    newer[table as usize].insert(key.clone(), value(version));
                }
            }
        }
        let directory = std::env::temp_dir().join(format!("basalt-fuzz-pages-{}", std::process::id()));
        // One that was killed may have left it, and had the number of this process.
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir(&directory).expect("a temporary folder");
        let specimen = Specimen::make(&directory, &older, &newer).expect("LMDB makes a tree");
        std::fs::remove_dir_all(&directory).expect("it is ours");
        Golden { specimen, older, newer }
    }

    /// A key of a table, or one beside it.
    fn key(&self, table: Table, [index, how]: [u8; 2]) -> Vec<u8> {
        let mut keys = self.older[table as usize].keys().chain(self.newer[table as usize].keys());
        let mut key = keys.nth(usize::from(index)).cloned().unwrap_or_else(|| vec![index]);
        match how % 8 {
            1 => key.push(0),
            2 => drop(key.pop()),
            3 => key.truncate(3),
            _ => {}
        }
        key
    }
}

fn key(table: Table, number: u8, bytes: usize) -> Vec<u8> {
    let mut key = vec![table as u8; bytes];
    key[..3].copy_from_slice(&[b'k', number, table as u8]);
    key
}

const PAGE_BYTES: usize = 4096;
const HEAD_BYTES: usize = 16;
const SECTOR_BYTES: usize = 512;
const DEPTH_MAX: u16 = 32;
const SUMS_BYTES: usize = 64 << 10;

fn seeds() -> Vec<Vec<u8>> {
    let ask: Vec<u8> = [0, 1, 2, 4]
        .into_iter()
        .flat_map(|table| {
            [[8, table, 3, 0, 0], [8, table, 5, 1, 0], [10, table, 3, 0, 0], [12, table, 2, 9, 0], [13, table, 0, 0, 0]]
        })
        .flatten()
        .collect();
    let script =
        |how: u8, damage: &[[u8; 5]]| [&[how, 0, 0], damage.as_flattened(), &ask, &[14, 0, 0, 0, 0], &ask].concat();
    let mut seeds = Vec::new();
    for sums in 0..4 {
        for origin in [0, 2] {
            let how = sums << 1 | origin << 3;
            seeds.push(script(how, &[]));
            for page in (5..60).step_by(9) {
                seeds.push(script(how, &[[1, page, 40, 15, 16], [2, page, 12, 0, 255]]));
                seeds.push(script(how, &[[5, page, page + 3, 0, 0], [4, page + 4, page, 0, 0]]));
            }
        }
    }
    // One that ends soon, for whoever does not notice.
    seeds.extend([chain(1, 0), chain(2, 0), chain(20, 0), chain(20, 1), chain(20, 2), many_places()]);
    let row = |bytes: u8, flags: u8, key_bytes: u8| [bytes, 0xff, 0, 0, flags, 0, key_bytes, 0];
    seeds.extend([row(4, 0, 0), row(4, 1, 0), row(4, 2, 0), row(4, 0, 0xff)].map(|row| leaf(0x0800, &row)));
    seeds.extend([0x0ffc, 0x1000, 0xffff].map(|place| leaf(place, &[])));
    seeds
}

/// Branches with as many places as a page has bytes for, all of them for one node.
fn many_places() -> Vec<u8> {
    let mut input = vec![1 | 3 << 1 | 3 << 3, 2, 3];
    // The root leads to pages 3 to 6.
    input.extend([6, 2, 4, 0, 0]);
    for child in 3..7 {
        input.extend([[2, 2, 16 + 2 * (child - 3), 0, 16 * child], [2, 2, 17 + 2 * (child - 3), 0, 8]].as_flattened());
        input.extend([2, 2, 16 * child, 8, child]);
        // Their places end at 4096; where those are zero, the node is the page's head.
        input.extend([[6, child, 0, 0, 0], [2, child, 12, 0, 0], [2, child, 13, 0, 16]].as_flattened());
    }
    input.extend([14, 0, 0, 0, 0]);
    input
}

/// A leaf alone, with one row at this place: its head, and what is behind it all ones.
fn leaf(place: u16, row: &[u8]) -> Vec<u8> {
    let [low, high] = place.to_le_bytes();
    let mut input = vec![1 | 3 << 1 | 3 << 3, 2, 1];
    input.extend([[6, 2, 1, 0, 1], [7, 2, low, high, 1], [0, 2, 0, 8, row.len() as u8]].as_flattened());
    input.extend(row);
    input.extend([0, 2, 8, 8, 8]);
    input.extend([0xff; 8]);
    input.extend([[8, 0, 0, 0, 0], [10, 0, 0, 0, 0], [13, 0, 0, 0, 0], [14, 0, 0, 0, 0]].as_flattened());
    input
}

/// Branches of which each has many ways to the next one: more ways than anybody would walk, and at the end of each a
/// leaf with so many rows.
fn chain(depth: u8, rows: u8) -> Vec<u8> {
    // Zeros, a claimed beginning, sums of the pages as they are.
    let mut input = vec![1 | 3 << 1 | 3 << 3, 2, depth];
    for page in 2..2 + depth {
        let is_leaf = page == 1 + depth;
        let count = if is_leaf { rows } else { 100 };
        input.extend([6, page, count, 0, u8::from(is_leaf)]);
        input.extend([7, page, 0, 8, 100]);
        // The node at 2048 has a key, that at 2064, which is the first of a branch, has none.
        let child = if is_leaf { 0 } else { page + 1 };
        input.extend([[2, page, 0, 8, child], [2, page, 6, 8, 1], [2, page, 8, 8, b'x']].as_flattened());
        if !is_leaf {
            input.extend([[2, page, 16, 8, child], [2, page, 16, 0, 16]].as_flattened());
        }
    }
    input.extend([13, 0, 0, 0, 0]);
    input.extend([10, 0, 0, 0, 0]);
    input
}
