//! Programs of ours that run inside a guest, where a shell script is not enough.

use crate::failure::Outcome;
use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum Agent {}

impl Agent {
    pub(crate) fn run(self) -> Outcome {
        match self {}
    }
}
