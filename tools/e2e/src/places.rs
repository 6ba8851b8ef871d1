//! Where things lie: kclient, the daemon under test, downloaded tools, and the folder for working files.

use crate::failure::{Failure, While, ensure};
use std::env;
use std::path::{Path, PathBuf};

/// The tool that boots guests: `$KCLIENT`, else `../shared/kclient/kclient` beside the checkout.
pub(crate) fn kclient() -> Result<PathBuf, Failure> {
    let path = match env::var_os("KCLIENT") {
        Some(path) => PathBuf::from(path),
        None => env::current_dir()?.join("../shared/kclient/kclient"),
    };
    let found = path.canonicalize();
    found.during(format_args!(
        "kclient not found at {} (it lies beside the checkout; $KCLIENT names another place)",
        path.display()
    ))
}

/// A program built beside this one: `basaltd` or `basalt`.
pub(crate) fn sibling(program: &str) -> Result<PathBuf, Failure> {
    let path = own_folder()?.join(program);
    ensure!(path.exists(), "{} is not built: cargo build --profile e2e -p appliance -p tools -p e2e", path.display());
    Ok(path)
}

/// Programs of crates.io that the cases use: `$BASALT_TOOLS`, else a folder of the user's cache.
pub(crate) fn tools() -> Result<PathBuf, Failure> {
    if let Some(path) = env::var_os("BASALT_TOOLS") {
        return Ok(PathBuf::from(path));
    }
    let home = env::var_os("HOME").ok_or_else(|| Failure::new("neither $BASALT_TOOLS nor $HOME is set"))?;
    Ok(Path::new(&home).join(".cache/basalt-tools"))
}

/// A tool installed there.
pub(crate) fn tool(name: &str) -> Result<PathBuf, Failure> {
    let path = tools()?.join("bin").join(name);
    ensure!(path.exists(), "{} is missing: basalt-e2e install", path.display());
    Ok(path)
}

/// The folder that cases make their own folders in: `$TMPDIR`, else `tmp` of the build's target folder. Pools lie
/// there, so it must be on a real disk.
pub(crate) fn work_root() -> Result<PathBuf, Failure> {
    if let Some(path) = env::var_os("TMPDIR") {
        return Ok(PathBuf::from(path));
    }
    let target = own_folder()?;
    let target = target.parent().ok_or_else(|| Failure::new("this program lies at the root"))?;
    Ok(target.join("tmp"))
}

fn own_folder() -> Result<PathBuf, Failure> {
    let exe = env::current_exe()?;
    Ok(exe.parent().ok_or_else(|| Failure::new("this program lies nowhere"))?.to_path_buf())
}
