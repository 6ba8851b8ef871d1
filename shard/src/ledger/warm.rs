//! Brings a ledger's file into the page cache when a filesystem is opened, if it fits there well.
//!
//! Caller: [`crate::fs::Filesystem::open`]. LMDB's map is read page by page as it is used
//! ([`super::env`]), which is right for a ledger larger than the memory and slow for a cold one that
//! is not. Nobody waits for this, and nothing depends on it.

use super::keeper::DATA_FILE;
use crate::memory;
use rustix::fs::{Advice, fadvise};
use std::fs::File;
use std::io;
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;

/// Begins to read the ledger in `directory`, on a thread of its own, if there is one and it fits.
pub fn begin(directory: &Path) {
    let Ok(data) = File::open(directory.join(DATA_FILE)) else { return };
    // Without a thread it stays cold.
    let _ = thread::Builder::new().name("ledger-warm".to_owned()).spawn(move || {
        let warmed = warm(&data);
        tracing::debug!(?warmed, "the ledger's file was read ahead");
    });
}

/// Whether a ledger of so many bytes stays in memory while everything else does its work.
pub fn fits(ledger_bytes: u64) -> bool {
    memory::available_bytes().is_none_or(|available| fits_in(ledger_bytes, available))
}

fn fits_in(ledger_bytes: u64, available_bytes: u64) -> bool {
    ledger_bytes <= available_bytes / MEMORY_SHARE
}

/// Answers how many bytes were brought.
fn warm(data: &File) -> io::Result<u64> {
    // Where it stays as it is, it takes more from the cores.
    let _ = crate::system::step_back(NICE);
    let bytes = data.metadata()?.len();
    if !fits(bytes) {
        return Ok(0);
    }
    ask(data, 0)?;
    for offset in (0..bytes).step_by(WINDOW_BYTES) {
        ask(data, offset + WINDOW_BYTES as u64)?;
        // Waits until the disk has brought it: whoever needs a page meanwhile waits for little else.
        let last = bytes.min(offset + WINDOW_BYTES as u64) - 1;
        data.read_exact_at(&mut [0], last)?;
    }
    Ok(bytes)
}

/// Asks the kernel for a window. It cuts what is asked for at a time to the read-ahead of the disk.
fn ask(data: &File, start: u64) -> io::Result<()> {
    for offset in (start..).step_by(ASKED_BYTES).take(WINDOW_BYTES / ASKED_BYTES) {
        fadvise(data, offset, NonZero::new(ASKED_BYTES as u64), Advice::WillNeed)?;
    }
    Ok(())
}

/// A ledger may take this part of the memory that is available.
const MEMORY_SHARE: u64 = 2;
/// The disk works on two of these.
const WINDOW_BYTES: usize = 1 << 20;
/// The read-ahead of a disk unless somebody changed it.
const ASKED_BYTES: usize = 128 << 10;
/// Below everything that serves.
const NICE: i32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_that_fits_is_asked_for_to_its_end() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; WINDOW_BYTES + 5]).unwrap();
        // `nice` is of the thread alone.
        let warmed = thread::spawn(move || warm(&file)).join().unwrap();
        assert_eq!(warmed.unwrap(), WINDOW_BYTES as u64 + 5);
    }

    #[test]
    fn what_is_larger_than_half_of_the_memory_does_not_fit() {
        assert!(fits_in(1 << 30, 2 << 30) && !fits_in((1 << 30) + 1, 2 << 30));
        assert!(fits(1 << 20));
        assert!(!fits(memory::total_bytes().unwrap()));
    }
}
