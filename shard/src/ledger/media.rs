//! The ledger's files and how bytes get durable in them, one step at a time.
//!
//! Callers: the journal, the root, the keeper, the start. Every durable step is announced before and
//! after ([`Step`]), so that a test can make it fail, or cut the power there and know exactly what is
//! durable. Nothing else of the ledger may count on the disk.

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};
use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A step to the disk.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// These bytes are about to be written, durably: until [`Step::Wrote`] any of them may be there.
    Write(Bytes<'a>),
    /// These bytes are durable.
    Wrote(Bytes<'a>),
    /// What was written to this file is about to become durable.
    Sync(&'a Path),
    /// What had been written to this file before [`Step::Sync`] is durable.
    Synced(&'a Path),
}

/// Bytes at a place of a file.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a> {
    /// The file.
    pub path: &'a Path,
    /// Where.
    pub offset: u64,
    /// What.
    pub bytes: &'a [u8],
}

/// Sees every step, and may let it fail.
#[derive(Clone)]
pub struct Witness(Arc<dyn Fn(Step<'_>) -> io::Result<()> + Send + Sync>);

impl Witness {
    /// A witness that calls `see`.
    pub fn new(see: impl Fn(Step<'_>) -> io::Result<()> + Send + Sync + 'static) -> Witness {
        Witness(Arc::new(see))
    }

    /// Shows it a step.
    pub(super) fn see(&self, step: Step<'_>) -> io::Result<()> {
        self.0(step)
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Witness")
    }
}

/// A file of the ledger.
#[derive(Debug)]
pub(super) struct Media {
    file: File,
    path: PathBuf,
    witness: Option<Witness>,
}

impl Media {
    /// Opens an existing file to be written with [`Media::write`], past the page cache where the file
    /// system can.
    pub(super) fn open(path: PathBuf, witness: Option<&Witness>) -> io::Result<Media> {
        let open = |direct| {
            let flags = OFlags::RDWR | OFlags::CLOEXEC | direct;
            rustix::fs::open(&path, flags, Mode::empty())
        };
        let fd = match open(OFlags::DIRECT) {
            Err(Errno::INVAL) => open(OFlags::empty())?,
            opened => opened?,
        };
        Ok(Media { file: File::from(fd), path, witness: witness.cloned() })
    }

    /// Opens an existing file that somebody else writes, to be synced.
    pub(super) fn observe(path: PathBuf, witness: Option<&Witness>) -> io::Result<Media> {
        Ok(Media { file: File::open(&path)?, path, witness: witness.cloned() })
    }

    /// Makes a file of `bytes` zeros, durably, and opens it.
    pub(super) fn make(path: PathBuf, bytes: u64, witness: Option<&Witness>) -> io::Result<Media> {
        zero(&File::create(&path)?, 0, bytes)?;
        let media = Media::open(path, witness)?;
        media.sync()?;
        Ok(media)
    }

    /// Writes and makes durable. Offset, length and memory are aligned to [`ALIGNMENT`].
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(offset.is_multiple_of(ALIGNMENT as u64));
        assert!(bytes.len().is_multiple_of(ALIGNMENT));
        let all = Bytes { path: &self.path, offset, bytes };
        self.see(Step::Write(all))?;
        let mut written = 0;
        while written < bytes.len() {
            let rest = [IoSlice::new(&bytes[written..])];
            match rustix::io::pwritev2(&self.file, &rest, offset + written as u64, ReadWriteFlags::DSYNC) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.see(Step::Wrote(all))
    }

    /// Makes durable what was written, by whomever, and the length.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.see(Step::Sync(&self.path))?;
        self.file.sync_data()?;
        self.see(Step::Synced(&self.path))
    }

    /// Keeps others from locking it; [`io::ErrorKind::WouldBlock`] where somebody has.
    pub(super) fn lock(&self) -> io::Result<()> {
        self.file.try_lock().map_err(io::Error::from)
    }

    /// Its length.
    pub(super) fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Gives it this length; what is added is zero. Durable with the next sync.
    pub(super) fn resize(&self, bytes: u64) -> io::Result<()> {
        let now = self.bytes()?;
        if bytes < now {
            return self.file.set_len(bytes);
        }
        zero(&File::options().write(true).open(&self.path)?, now, bytes)
    }

    fn see(&self, step: Step<'_>) -> io::Result<()> {
        match &self.witness {
            Some(witness) => witness.see(step),
            None => Ok(()),
        }
    }
}

/// Memory for a write past the page cache.
#[derive(Debug, Default)]
pub(super) struct Aligned {
    bytes: Vec<u8>,
}

impl Aligned {
    /// Zeroed memory of `count` bytes, which is aligned.
    pub(super) fn zeroed(&mut self, count: usize) -> &mut [u8] {
        self.bytes.clear();
        self.bytes.resize(count + ALIGNMENT, 0);
        let skew = self.bytes.as_ptr().align_offset(ALIGNMENT);
        &mut self.bytes[skew..skew + count]
    }
}

fn zero(file: &File, from: u64, to: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let zeros = vec![0; 1 << 20];
    let mut at = from;
    while at < to {
        let count = (to - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..count as usize], at)?;
        at += count;
    }
    Ok(())
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(directory)?.sync_all()
}

/// Of places, lengths and memory.
pub(super) const ALIGNMENT: usize = 4096;
