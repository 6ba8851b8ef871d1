//! A developer's day: git clone of this project's own repository, git fsck, and a cargo build in the clone.

use crate::failure::{Failure, Outcome, While, ensure};
use crate::guest::Mount;
use crate::lab::Lab;
use std::process::Command;

pub(crate) fn run(lab: &Lab) -> Outcome {
    let source = repository()?;
    let mut server = lab.serve()?;
    let script = format!(
        "git config --global --add safe.directory '*'
         git clone --quiet --no-local {source} clone
         cd clone
         git fsck --full --strict
         test -z \"$(git status --porcelain)\"
         git gc --quiet
         git fsck --full
         cargo build --offline --quiet --target-dir target -p wire
         ls target/debug/libwire.rlib
         echo $(git rev-list --all | wc -l) commits cloned and checked, wire built"
    );
    let report = Mount::of(lab, &server, "git").memory("2G").shell(&script)?;
    server.stop()?;
    server.verify()?;
    Ok(report.lines().last().unwrap_or_default().to_string())
}

/// The checkout that the runner was started in.
fn repository() -> Result<String, Failure> {
    let folder = std::env::var("BASALT_CHECKOUT").during("$BASALT_CHECKOUT")?;
    let output = Command::new("git").args(["rev-parse", "--show-toplevel"]).current_dir(folder).output()?;
    ensure!(output.status.success(), "not in a git checkout: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}
