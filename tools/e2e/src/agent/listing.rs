//! Lists a folder through the kernel's client, with a pause in the middle for whatever the host has in mind.
//! The pause begins with the file `paused` and ends with `resume`; the names go to `names`, one a line.

use crate::failure::Outcome;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

pub(crate) fn run(signals: &Path, folder: &Path) -> Outcome {
    let mut names = String::new();
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let _ = writeln!(names, "{}", entry?.file_name().to_string_lossy());
        count += 1;
        if count == PAUSE_AT {
            fs::write(signals.join("paused"), "")?;
            while !signals.join("resume").exists() {
                sleep(Duration::from_millis(20));
            }
        }
    }
    fs::write(signals.join("names"), names)?;
    Ok(format!("{count} names"))
}

const PAUSE_AT: u32 = 30_000;
