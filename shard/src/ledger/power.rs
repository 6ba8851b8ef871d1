//! Power cuts for tests: knows which bytes of a ledger's folder are durable, and leaves of it what a
//! power cut may leave.
//!
//! Callers: the tests of the ledger, of the filesystem, and of whole servers (feature `sim`). The
//! ledger is opened with the [`Power::witness`] in its options; [`Power::cut`] makes of its closed
//! folder what the disk has when the power comes back. Whatever no finished step made durable is, by
//! sectors of 512 bytes and in any mixture, as it was, as it was written, or (in LMDB's file, where a
//! sector may have been written many times) anything; so are the lengths of files, and files that were
//! never synced may not be there. A [`Fuse`] cuts in the middle of things: at a step, with bytes on
//! their way. From then on every step fails, so nothing is acknowledged that the disk has not.

#![expect(clippy::disallowed_types, reason = "the ledger's thread and the test meet here")]

use super::keeper::DATA_FILE;
use super::media::{Step, Witness};
use cache::sim::Rng;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The power supply of one ledger's disk, over all its lives.
#[derive(Clone, Default)]
pub struct Power(Arc<Mutex<Platter>>);

/// Contents of files, by their names.
type Files = BTreeMap<String, Vec<u8>>;

#[derive(Default)]
struct Platter {
    durable: Files,
    fuse: Option<Fuse>,
    /// What the disk had when the power went.
    left: Option<Files>,
}

/// When the power goes.
#[derive(Clone, Debug)]
pub struct Fuse {
    /// Steps that still happen; a step has a beginning and an end, and both count.
    pub steps: u64,
    /// Decides what is left.
    pub rng: Rng,
}

impl Power {
    /// Power for a ledger that is not made yet.
    pub fn new() -> Power {
        Power::default()
    }

    /// Power for a closed ledger that is there: all of it is durable.
    pub fn of(ledger: &Path) -> io::Result<Power> {
        Ok(Power::with(read_all(ledger)?))
    }

    /// What the ledger is to be opened with.
    pub fn witness(&self) -> Witness {
        let platter = Arc::clone(&self.0);
        Witness::new(move |step| platter.lock().see(step))
    }

    /// Lets the power go after some steps.
    pub fn set_fuse(&self, fuse: Fuse) {
        self.0.lock().fuse = Some(fuse);
    }

    /// Whether the fuse has blown.
    pub fn is_gone(&self) -> bool {
        self.0.lock().left.is_some()
    }

    /// What a power cut would leave now, in the empty folder `copy`, and the power of that. This ledger
    /// goes on.
    pub fn image_of_cut(&self, ledger: &Path, copy: &Path, rng: &mut Rng) -> io::Result<Power> {
        let left = self.0.lock().mixed(&present(ledger), None, rng)?;
        write_all(copy, &left)?;
        Ok(Power::with(left))
    }

    /// What it would leave if the process were killed now, the machine going on.
    pub fn image_of_kill(&self, ledger: &Path, copy: &Path) -> io::Result<Power> {
        let all = read_all(&present(ledger))?;
        write_all(copy, &all)?;
        Ok(Power::with(self.0.lock().durable.clone()))
    }

    fn with(durable: Files) -> Power {
        Power(Arc::new(Mutex::new(Platter { durable, ..Platter::default() })))
    }

    /// The power goes, if it has not, and comes back. The ledger in the folder `ledger` is closed; the
    /// folder has now what the disk has.
    pub fn cut(&self, ledger: &Path, rng: &mut Rng) -> io::Result<()> {
        let mut platter = self.0.lock();
        platter.fuse = None;
        let folder = present(ledger);
        let left = match platter.left.take() {
            Some(left) => left,
            None => platter.mixed(&folder, None, rng)?,
        };
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
            std::fs::create_dir(&folder)?;
        }
        write_all(&folder, &left)?;
        platter.durable = left;
        Ok(())
    }
}

impl Platter {
    fn see(&mut self, step: Step<'_>) -> io::Result<()> {
        if self.left.is_some() {
            return Err(io::Error::other("the power is gone"));
        }
        match step {
            Step::Wrote(wrote) => overlay(self.durable.entry(name(wrote.path)).or_default(), wrote.offset, wrote.bytes),
            Step::Synced(path) => _ = self.durable.insert(name(path), std::fs::read(path)?),
            Step::Write(_) | Step::Sync(_) => {}
        }
        let Some(fuse) = &mut self.fuse else { return Ok(()) };
        if fuse.steps > 0 {
            fuse.steps -= 1;
            return Ok(());
        }
        let mut rng = fuse.rng.clone();
        let path = match step {
            Step::Write(bytes) | Step::Wrote(bytes) => bytes.path,
            Step::Sync(path) | Step::Synced(path) => path,
        };
        let folder = path.parent().unwrap_or(Path::new("."));
        self.left = Some(self.mixed(folder, Some(step), &mut rng)?);
        Err(io::Error::other("the power goes"))
    }

    /// What the disk may have when the power goes during `step`.
    fn mixed(&self, folder: &Path, step: Option<Step<'_>>, rng: &mut Rng) -> io::Result<Files> {
        let mut names: BTreeSet<String> = self.durable.keys().cloned().collect();
        if folder.exists() {
            for entry in std::fs::read_dir(folder)? {
                names.insert(entry?.file_name().to_string_lossy().into_owned());
            }
        }
        let mut left = Files::new();
        for name in names {
            let mut current = match std::fs::read(folder.join(&name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                read => read?,
            };
            if let Some(Step::Write(write)) = step
                && write.path == folder.join(&name)
            {
                overlay(&mut current, write.offset, write.bytes);
            }
            let between = if name == DATA_FILE { Between::Anything } else { Between::Nothing };
            match self.durable.get(&name) {
                Some(durable) => _ = left.insert(name, mix(durable, &current, between, rng)),
                // Its name may not have reached the disk.
                None if rng.one_in(2) => _ = left.insert(name, mix(&[], &current, between, rng)),
                None => {}
            }
        }
        Ok(left)
    }
}

/// What a sector may be besides what was durable and what was written last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    Nothing,
    Anything,
}

/// Each sector as it was, or as it was written, or what was there in between.
fn mix(durable: &[u8], current: &[u8], between: Between, rng: &mut Rng) -> Vec<u8> {
    let kept_eighths = rng.below(9);
    let mut mixed = durable.to_vec();
    mixed.resize(durable.len().max(current.len()), 0);
    for (index, sector) in mixed.chunks_mut(SECTOR_BYTES).enumerate() {
        let at = index * SECTOR_BYTES;
        let written = current.get(at..(at + sector.len()).min(current.len())).unwrap_or(&[]);
        let (head, tail) = sector.split_at_mut(written.len());
        if head == written && tail.iter().all(|&byte| byte == 0) {
            continue;
        }
        if between == Between::Anything && at >= META_BYTES && rng.one_in(16) {
            sector.fill_with(|| rng.bits() as u8);
        } else if rng.below(8) < kept_eighths {
            head.copy_from_slice(written);
            tail.fill(0);
        }
    }
    let (least, most) = (durable.len().min(current.len()), mixed.len());
    let length = match rng.below(3) {
        0 => durable.len(),
        1 => current.len(),
        _ => least + rng.below(1 + ((most - least) / SECTOR_BYTES) as u64) as usize * SECTOR_BYTES,
    };
    mixed.truncate(length);
    mixed
}

fn overlay(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let start = offset as usize;
    if file.len() < start + bytes.len() {
        file.resize(start + bytes.len(), 0);
    }
    file[start..start + bytes.len()].copy_from_slice(bytes);
}

fn read_all(folder: &Path) -> io::Result<Files> {
    let paths = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    paths.map(|path: io::Result<PathBuf>| path.and_then(|path| Ok((name(&path), std::fs::read(&path)?)))).collect()
}

fn write_all(folder: &Path, files: &Files) -> io::Result<()> {
    files.iter().try_for_each(|(name, bytes)| std::fs::write(folder.join(name), bytes))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The folder that is there: one that is being made has another name.
fn present(ledger: &Path) -> PathBuf {
    if ledger.exists() { ledger.to_path_buf() } else { super::store::unfinished(ledger) }
}

const SECTOR_BYTES: usize = 512;
/// LMDB's two meta pages: each fits into a sector, so one of them is always there.
const META_BYTES: usize = 8192;
