//! The pool: the folder that holds everything. Made when missing, locked while a daemon runs.
//!
//! | name | what |
//! |---|---|
//! | `format` | `basalt pool 5`: refuses a daemon that does not know the layout |
//! | `lock` | locked (flock) by the daemon that runs |
//! | `secret` | 16 random bytes, mode 0600: the key of the file handles' MACs |
//! | `<share>/ledger/`, `<share>/log/` | a filesystem, named by its share's path; see [`directory_name`] |
//!
//! Shares in memory have the same layout under [`Pool::memory_directory`], which is emptied at start and at stop.

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use shard::policy::SharePath;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// An open pool. Unlocked when dropped.
#[derive(Debug)]
pub(crate) struct Pool {
    path: PathBuf,
    memory: PathBuf,
    secret: [u8; SECRET_BYTES],
    _lock: File,
}

/// Bytes of the secret.
const SECRET_BYTES: usize = 16;
/// The only layout so far.
const FORMAT: &[u8] = b"basalt pool 5\n";
/// Where shares in memory lie.
const MEMORY_ROOT: &str = "/dev/shm";

impl Pool {
    /// Opens or makes the pool at `path`. Fails, with a message for the operator, when another daemon has it.
    pub(crate) fn open(path: &Path) -> Result<Pool, String> {
        let shown = path.display();
        let failed = |error: io::Error| format!("the pool {shown}: {error}");
        make_folder(path).map_err(failed)?;
        let lock = File::options().create(true).truncate(false).write(true).mode(0o600).open(path.join("lock"));
        let lock = lock.map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(format!("the pool {shown} is in use by another basaltd")),
            Err(error) => return Err(failed(error.into())),
        }
        check_format(path)?;
        let secret = secret(path).map_err(|error| format!("the pool {shown}: secret: {error}"))?;
        let metadata = fs::metadata(path).map_err(failed)?;
        let memory = Path::new(MEMORY_ROOT).join(format!("basalt-{:x}-{:x}", metadata.dev(), metadata.ino()));
        let pool = Pool { path: path.to_path_buf(), memory, secret, _lock: lock };
        pool.forget_memory()?;
        Ok(pool)
    }

    /// The key of the file handles' MACs.
    pub(crate) fn secret(&self) -> &[u8; SECRET_BYTES] {
        &self.secret
    }

    /// The directory of a durable share's filesystem, made when missing.
    pub(crate) fn disk_directory(&self, share: &SharePath) -> Result<PathBuf, String> {
        made(self.path.join(directory_name(share)?))
    }

    /// The directory of a share in memory, fresh.
    pub(crate) fn memory_directory(&self, share: &SharePath) -> Result<PathBuf, String> {
        made(self.memory.join(directory_name(share)?))
    }

    /// Removes what shares in memory hold, or held when a daemon of this pool ended without cleaning up: the lock
    /// says that no other daemon uses it.
    pub(crate) fn forget_memory(&self) -> Result<(), String> {
        match fs::remove_dir_all(&self.memory) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(format!("{}: {error}", self.memory.display())),
        }
    }
}

/// The name of a share's folder: its path without the first `/`, every byte but letters, digits, `.`, `-` and `_`
/// written as `%` and two hexadecimal digits; so is the first one where the name would be one of the pool's own.
pub(crate) fn directory_name(share: &SharePath) -> Result<String, String> {
    let inner = share.as_str().strip_prefix('/').unwrap_or(share.as_str());
    let inner = if inner.is_empty() { "/" } else { inner };
    let own = ["format", "lock", "secret"].contains(&inner);
    let mut name = String::new();
    for (at, byte) in inner.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let plain = plain && !(at == 0 && (own || byte == b'.'));
        if plain { name.push(char::from(byte)) } else { name.push_str(&format!("%{byte:02X}")) }
    }
    if name.len() > FOLDER_NAME_MAX {
        return Err(format!("the share {share} has too long a name for its folder '{name}'"));
    }
    Ok(name)
}

/// Longest name of a folder on every file system of Linux.
const FOLDER_NAME_MAX: usize = 255;

fn made(folder: PathBuf) -> Result<PathBuf, String> {
    make_folder(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes the format of a fresh pool; refuses another one.
fn check_format(path: &Path) -> Result<(), String> {
    let file = path.join("format");
    match fs::read(&file) {
        Ok(found) if found == FORMAT => Ok(()),
        Ok(_) => Err(format!("the pool {} has a format that this basaltd does not know", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !is_fresh(path).unwrap_or(false) {
                return Err(format!("{} is neither empty nor a pool", path.display()));
            }
            write_durably(&file, FORMAT).map_err(|error| format!("{}: {error}", file.display()))
        }
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

/// Whether nothing but the lock lies there, and what ext4 puts into its root.
fn is_fresh(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if !["lock", "lost+found", "format.new"].iter().any(|known| name == *known) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn secret(path: &Path) -> io::Result<[u8; SECRET_BYTES]> {
    let file = path.join("secret");
    let mut secret = [0; SECRET_BYTES];
    match File::open(&file) {
        Ok(mut found) => {
            found.read_exact(&mut secret)?;
            if found.metadata()?.len() != SECRET_BYTES as u64 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not have 16 bytes"));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            getrandom::fill(&mut secret).map_err(io::Error::other)?;
            write_durably(&file, &secret)?;
        }
        Err(error) => return Err(error),
    }
    Ok(secret)
}

/// All of it or nothing, also after a power cut.
fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn share(text: &str) -> SharePath {
        text.parse().unwrap()
    }

    #[test]
    fn a_pool_is_made_and_keeps_its_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/pool");
        let first = *Pool::open(&path).unwrap().secret();
        assert_eq!(*Pool::open(&path).unwrap().secret(), first);
        assert_eq!(fs::metadata(path.join("secret")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(*Pool::open(&folder.path().join("b")).unwrap().secret(), first);
    }

    #[test]
    fn a_second_daemon_is_refused_until_the_first_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let first = Pool::open(folder.path()).unwrap();
        assert!(Pool::open(folder.path()).unwrap_err().contains("in use by another basaltd"));
        drop(first);
        assert!(Pool::open(folder.path()).is_ok());
    }

    #[test]
    fn a_folder_with_other_things_or_of_another_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.tex"), "x").unwrap();
        assert!(Pool::open(folder.path()).unwrap_err().contains("neither empty nor a pool"));
        let folder = tempfile::tempdir().unwrap();
        Pool::open(folder.path()).unwrap();
        fs::write(folder.path().join("format"), "basalt pool 9\n").unwrap();
        assert!(Pool::open(folder.path()).unwrap_err().contains("format"));
    }

    #[test]
    fn a_damaged_secret_is_refused_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        Pool::open(folder.path()).unwrap();
        fs::write(folder.path().join("secret"), "short").unwrap();
        assert!(Pool::open(folder.path()).is_err());
        assert_eq!(fs::read(folder.path().join("secret")).unwrap(), b"short");
    }

    #[test]
    fn shares_have_folders_of_their_own_names() {
        for (path, name) in [
            ("/projects", "projects"),
            ("/a/b", "a%2Fb"),
            ("/", "%2F"),
            ("/lock", "%6Cock"),
            ("/.x", "%2Ex"),
            ("/a%2Fb", "a%252Fb"),
        ] {
            assert_eq!(directory_name(&share(path)).unwrap(), name);
        }
        assert!(directory_name(&share(&format!("/{}", "/x".repeat(200).trim_start_matches('/')))).is_err());
    }

    #[test]
    fn what_a_share_in_memory_left_behind_is_removed_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let pool = Pool::open(folder.path()).unwrap();
        let memory = pool.memory_directory(&share("/scratch")).unwrap();
        fs::write(memory.join("left"), "x").unwrap();
        drop(pool);
        let pool = Pool::open(folder.path()).unwrap();
        assert!(!memory.exists());
        pool.forget_memory().unwrap();
    }
}
