//! A pool seen from outside: its format, its lock, its filesystems. Nothing is written here.
//!
//! Callers: verify (which must have the pool for itself), dump (which need not).

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the file `format` of a pool holds.
pub(crate) const FORMAT: &[u8] = b"basalt pool 5\n";
/// Bytes of the file `secret`.
pub(crate) const SECRET_BYTES: usize = 16;

/// A pool that no daemon can open while this lives.
#[derive(Debug)]
pub(crate) struct Pool {
    path: PathBuf,
    /// Held shared: several tools may look at the same time.
    _lock: Option<File>,
}

/// A filesystem of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The path of the share that it was made for, as far as the folder's name tells.
    pub(crate) share: String,
    /// Its folder.
    pub(crate) directory: PathBuf,
}

impl Pool {
    /// Keeps daemons out of the pool at `path`. Fails, with a message for the operator, where there
    /// is no pool or a daemon has it.
    pub(crate) fn open(path: &Path) -> Result<Pool, String> {
        check_format(path)?;
        let lock = lock(path)?;
        Ok(Pool { path: path.to_path_buf(), _lock: lock })
    }

    /// Its filesystems, by name.
    pub(crate) fn filesystems(&self) -> Result<Vec<Place>, String> {
        let failed = |error: io::Error| format!("{}: {error}", self.path.display());
        let mut places = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            // What ext4 puts into its root.
            if entry.file_type().map_err(failed)?.is_dir() && name != "lost+found" {
                places.push(Place { share: share_of(&name), directory: entry.path() });
            }
        }
        places.sort_by(|left, right| left.directory.cmp(&right.directory));
        Ok(places)
    }

    /// What is wrong with its secret, if anything is.
    pub(crate) fn secret_problem(&self) -> Option<String> {
        let file = self.path.join("secret");
        let found = File::open(&file).and_then(|file| {
            let mut secret = Vec::new();
            file.take(SECRET_BYTES as u64 + 1).read_to_end(&mut secret)?;
            Ok(secret.len())
        });
        match found {
            Ok(SECRET_BYTES) => None,
            Ok(_) => Some(format!("{} does not have {SECRET_BYTES} bytes", file.display())),
            Err(error) => Some(format!("{}: {error}", file.display())),
        }
    }
}

fn check_format(path: &Path) -> Result<(), String> {
    let file = path.join("format");
    match fs::read(&file) {
        Ok(found) if found == FORMAT => Ok(()),
        Ok(_) => Err(format!("{} has a format that this basalt does not know", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.is_dir() => {
            Err(format!("{} is not a pool: it has no file `format`", path.display()))
        }
        Err(error) if !path.is_dir() => Err(format!("{}: there is no pool: {error}", path.display())),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

/// A pool without a lock file was never opened by a daemon, or is a copy without it.
fn lock(path: &Path) -> Result<Option<File>, String> {
    let name = path.join("lock");
    let file = match File::open(&name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", name.display())),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            Err(format!("{} is in use by a basaltd that runs; stop it first", path.display()))
        }
        Err(TryLockError::Error(error)) => Err(format!("{}: {error}", name.display())),
    }
}

/// The path of a share whose folder has this name: `%` and two hexadecimal digits stand for a byte.
fn share_of(folder: &OsStr) -> String {
    let name = folder.as_bytes();
    let mut path = vec![b'/'];
    let mut rest = name;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let coded = (byte == b'%').then(|| rest.split_at_checked(2)).flatten();
        match coded.and_then(|(digits, tail)| Some((crate::text::parse_hex(str::from_utf8(digits).ok()?)?, tail))) {
            Some((decoded, tail)) => {
                path.extend(decoded);
                rest = tail;
            }
            None => path.push(byte),
        }
    }
    if path == b"//" {
        path.pop();
    }
    crate::text::name(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("format"), FORMAT).unwrap();
        fs::write(folder.path().join("lock"), "").unwrap();
        folder
    }

    #[test]
    fn a_pool_that_a_daemon_has_is_refused_until_it_ends() {
        let folder = pool();
        let daemon = File::create(folder.path().join("lock")).unwrap();
        daemon.try_lock().unwrap();
        assert!(Pool::open(folder.path()).unwrap_err().contains("in use by a basaltd"));
        drop(daemon);
        let _first = Pool::open(folder.path()).unwrap();
        let _second = Pool::open(folder.path()).unwrap();
        let daemon = File::create(folder.path().join("lock")).unwrap();
        assert!(matches!(daemon.try_lock(), Err(TryLockError::WouldBlock)), "a daemon is kept out meanwhile");
    }

    #[test]
    fn what_is_no_pool_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Pool::open(folder.path()).unwrap_err().contains("is not a pool"));
        assert!(Pool::open(&folder.path().join("missing")).is_err());
        fs::write(folder.path().join("format"), "basalt pool 9\n").unwrap();
        assert!(Pool::open(folder.path()).unwrap_err().contains("does not know"));
    }

    #[test]
    fn folders_tell_their_shares() {
        for (folder, share) in [
            ("projects", "/projects"),
            ("a%2Fb", "/a/b"),
            ("%2F", "/"),
            ("%6Cock", "/lock"),
            ("a%252Fb", "/a%2Fb"),
            ("half%2", "/half%2"),
            ("%zz", "/%zz"),
        ] {
            assert_eq!(share_of(OsStr::new(folder)), share);
        }
    }
}
