//! Programs of ours that run inside a guest, where a shell script is not enough.

mod listing;
mod load;

use crate::failure::Outcome;
use clap::Subcommand;
use std::path::PathBuf;

#[derive(Subcommand)]
pub(crate) enum Agent {
    /// Changes a folder of the mount and remembers what was acknowledged.
    Load {
        #[arg(long)]
        signals: PathBuf,
        #[arg(long)]
        seed: u64,
    },
    /// Lists a folder of the mount, with a pause in the middle.
    Listing {
        #[arg(long)]
        signals: PathBuf,
        folder: PathBuf,
    },
}

impl Agent {
    pub(crate) fn run(self) -> Outcome {
        match self {
            Agent::Load { signals, seed } => load::run(&signals, seed),
            Agent::Listing { signals, folder } => listing::run(&signals, &folder),
        }
    }
}
