//! A disk of the case's own: an image file, loop-mounted in the lab, gone with it. It can lose its power.

use crate::failure::{Failure, While, ensure};
use crate::lab::Lab;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub(crate) struct Disk {
    image: PathBuf,
    mountpoint: PathBuf,
}

impl Disk {
    /// A fresh file system of `kind` (`xfs` or `ext4`) on a sparse image of `bytes`.
    pub(crate) fn make(lab: &Lab, name: &str, kind: &str, bytes: u64) -> Result<Disk, Failure> {
        let image = lab.path(&format!("{name}.img"));
        File::create(&image)?.set_len(bytes)?;
        let force = if kind == "ext4" { "-F" } else { "-f" };
        run(Command::new(format!("mkfs.{kind}")).args(["-q", force]).arg(&image))?;
        let disk = Disk { image, mountpoint: lab.folder(name)? };
        disk.mount()?;
        Ok(disk)
    }

    /// A folder on the disk.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.mountpoint.join(name);
        fs::create_dir_all(&path).during(path.display())?;
        Ok(path)
    }

    pub(crate) fn mount(&self) -> Result<(), Failure> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mountpoint))
    }

    /// The kernel closes what a killed server's rings had open a moment after the process is gone.
    pub(crate) fn unmount(&self) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            match run(Command::new("umount").arg(&self.mountpoint)) {
                Err(_) if began.elapsed() < UNMOUNT_LIMIT => sleep(Duration::from_millis(5)),
                done => return done,
            }
        }
    }

    /// Stops the file system on the spot, without writing out its own log: what was not flushed is lost.
    pub(crate) fn cut_power(&self) -> Result<(), Failure> {
        run(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(&self.mountpoint))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The lab's end unmounts it too; doing it here frees the image before the folder is removed.
        let _ = self.unmount();
    }
}

/// For a file system to be let go of.
const UNMOUNT_LIMIT: Duration = Duration::from_secs(10);

fn run(command: &mut Command) -> Result<(), Failure> {
    let output = command.output().during(format_args!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
