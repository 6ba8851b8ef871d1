//! fsx: random reads, writes, truncates and mapped writes on one file, compared with its own copy at every read.
//! Two clients at a time, two seeds each; one of the clients has four connections.

use crate::failure::{Failure, Outcome};
use crate::guest::{Mount, Running};
use crate::lab::Lab;
use crate::places;
use crate::server::Server;
use std::fs;

pub(crate) fn run(lab: &Lab) -> Outcome {
    fs::write(lab.path("fsx.toml"), CONFIG)?;
    let mut server = lab.serve()?;
    let seed = lab.options.seed;
    let one = start(lab, &server, "hard", [seed, seed + 1])?;
    let four = start(lab, &server, "nconnect=4", [seed + 2, seed + 3])?;
    one.finish()?;
    four.finish()?;
    server.stop()?;
    server.verify()?;
    Ok(format!("{} operations with each of the seeds {seed} to {}", lab.options.operations, seed + 3))
}

fn start(lab: &Lab, server: &Server, options: &str, seeds: [u64; 2]) -> Result<Running, Failure> {
    let fsx = places::tool("fsx")?;
    let mut script = String::new();
    for seed in seeds {
        script += &format!(
            "{} -q -N {} -S {seed} -f {} -P /tmp seed-{seed}\n",
            fsx.display(),
            lab.options.operations,
            lab.path("fsx.toml").display()
        );
    }
    Mount::of(lab, server, options).options(options).limit_s(2200).spawn(&["bash", "-euc", &script])
}

const CONFIG: &str = r#"
flen = 1048576
[opsize]
max = 65536
[weights]
close_open = 1
invalidate = 1
fsync = 1
fdatasync = 1
read = 10
write = 10
mapread = 10
mapwrite = 10
truncate = 10
"#;
