//! What a case is given: its folder, its options, and where the tools are. Runs inside a lab, with the case's own
//! folder as the current one.

use crate::cases;
use crate::failure::{Failure, Outcome, ensure};
use crate::random::Random;
use crate::server::Server;
use crate::{Options, places};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) struct Lab {
    pub(crate) options: Options,
    pub(crate) kclient: PathBuf,
    /// Working folder of the case, on a disk. Removed by the runner.
    pub(crate) work: PathBuf,
}

/// Where a case leaves the reason of its failure, in its folder.
pub(crate) const FAILURE_FILE: &str = "failure";

/// Runs the named case in the lab that this process is in.
pub(crate) fn inside(options: Options, name: &str) -> Outcome {
    ensure!(std::env::var_os("KCLIENT_LAB").is_some(), "this is not a lab; use basalt-e2e run");
    let case = cases::ALL.iter().find(|case| case.name == name);
    let case = case.ok_or_else(|| Failure::new(format!("no case {name}")))?;
    let lab = Lab { options, kclient: places::kclient()?, work: std::env::current_dir()? };
    (case.run)(&lab).inspect_err(|failure| {
        // For the runner's line; the whole log is there too if this fails.
        let _ = fs::write(lab.path(FAILURE_FILE), failure.to_string());
    })
}

/// Tells how far a long case has come; the runner shows it.
pub(crate) fn progress(text: impl std::fmt::Display) {
    println!("{PROGRESS}{text}");
}

/// Begins a line of a case's output that the runner shows at once.
pub(crate) const PROGRESS: &str = "progress: ";

impl Lab {
    /// A fresh folder of the case.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.work.join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Starts the server under test on a fresh pool in the case's folder, and waits until it answers.
    pub(crate) fn serve(&self) -> Result<Server, Failure> {
        let pool = self.folder("pool")?;
        Server::start(self, &pool)
    }

    pub(crate) fn random(&self) -> Random {
        Random::new(self.options.seed)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }
}

/// The size of all files below `folder`, in bytes on the disk.
pub(crate) fn disk_bytes(folder: &Path) -> Result<u64, Failure> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() { disk_bytes(&entry.path())? } else { meta.blocks() * 512 };
    }
    Ok(bytes)
}
