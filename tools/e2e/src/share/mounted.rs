//! The share through the kernel's client: plain system calls below a folder of the mount.

use super::{Entry, How, Kind, Share};
use crate::failure::{Failure, While};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

pub(crate) struct Mounted {
    folder: PathBuf,
    /// Whether this kernel's caches may be dropped: it is a guest's.
    in_guest: bool,
}

impl Mounted {
    pub(crate) fn new(folder: &Path) -> Mounted {
        Mounted { folder: folder.to_path_buf(), in_guest: true }
    }

    /// Any folder of this machine, for testing the workload itself.
    #[cfg(test)]
    pub(crate) fn local(folder: &Path) -> Mounted {
        Mounted { folder: folder.to_path_buf(), in_guest: false }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    fn open(&self, path: &str) -> io::Result<File> {
        OpenOptions::new().write(true).open(self.at(path))
    }
}

impl Share for Mounted {
    fn create(&mut self, path: &str, _how: How) -> Result<(), Failure> {
        OpenOptions::new().write(true).create_new(true).open(self.at(path)).during(format_args!("create {path}"))?;
        Ok(())
    }

    fn mkdir(&mut self, path: &str) -> Result<(), Failure> {
        fs::create_dir(self.at(path)).during(format_args!("mkdir {path}"))
    }

    fn symlink(&mut self, path: &str, text: &str) -> Result<(), Failure> {
        symlink(text, self.at(path)).during(format_args!("symlink {path}"))
    }

    fn fifo(&mut self, path: &str) -> Result<(), Failure> {
        let mode = Mode::from_raw_mode(0o644);
        mknodat(CWD, self.at(path), FileType::Fifo, mode, 0).during(format_args!("mkfifo {path}"))
    }

    fn remove(&mut self, path: &str) -> Result<(), Failure> {
        fs::remove_file(self.at(path)).during(format_args!("remove {path}"))
    }

    fn rmdir(&mut self, path: &str) -> Result<(), Failure> {
        fs::remove_dir(self.at(path)).during(format_args!("rmdir {path}"))
    }

    fn rename(&mut self, source: &str, target: &str) -> Result<(), Failure> {
        fs::rename(self.at(source), self.at(target)).during(format_args!("rename {source} {target}"))
    }

    fn link(&mut self, source: &str, target: &str) -> Result<(), Failure> {
        fs::hard_link(self.at(source), self.at(target)).during(format_args!("link {source} {target}"))
    }

    fn truncate(&mut self, path: &str, bytes: u64) -> Result<(), Failure> {
        self.open(path)?.set_len(bytes).during(format_args!("truncate {path}"))
    }

    fn chmod(&mut self, path: &str, mode: u32) -> Result<(), Failure> {
        fs::set_permissions(self.at(path), Permissions::from_mode(mode)).during(format_args!("chmod {path}"))
    }

    fn write_synced(&mut self, path: &str, offset: u64, data: &[u8]) -> Result<(), Failure> {
        let file = self.open(path)?;
        file.write_all_at(data, offset).during(format_args!("write {path}"))?;
        file.sync_data().during(format_args!("fdatasync {path}"))
    }

    fn write_later(&mut self, path: &str, offset: u64, data: &[u8]) -> Result<(), Failure> {
        self.open(path)?.write_all_at(data, offset).during(format_args!("write {path}"))
    }

    fn sync(&mut self, path: &str) -> Result<(), Failure> {
        self.open(path)?.sync_all().during(format_args!("fsync {path}"))
    }

    fn list(&mut self, path: &str) -> Result<Vec<Entry>, Failure> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.at(path)).during(path)? {
            let entry = entry.during(path)?;
            let meta = entry.path().symlink_metadata().during(entry.path().display())?;
            let name = entry.file_name().into_string();
            entries.push(Entry {
                name: name.map_err(|name| Failure::new(format!("a name that nobody gave: {name:?}")))?,
                kind: kind(meta.file_type()),
                fileid: meta.ino(),
                bytes: meta.len(),
                links: meta.nlink(),
                mode: meta.mode() & 0o7777,
            });
        }
        Ok(entries)
    }

    fn read(&mut self, path: &str) -> Result<Vec<u8>, Failure> {
        fs::read(self.at(path)).during(path)
    }

    fn readlink(&mut self, path: &str) -> Result<String, Failure> {
        Ok(fs::read_link(self.at(path)).during(path)?.to_string_lossy().into_owned())
    }

    fn forget(&mut self) -> Result<(), Failure> {
        if !self.in_guest {
            return Ok(());
        }
        fs::write("/proc/sys/vm/drop_caches", "3").during("drop_caches")
    }
}

fn kind(of: fs::FileType) -> Kind {
    match of {
        _ if of.is_file() => Kind::File,
        _ if of.is_dir() => Kind::Folder,
        _ if of.is_symlink() => Kind::Symlink,
        _ if of.is_fifo() => Kind::Fifo,
        _ => Kind::Other,
    }
}
