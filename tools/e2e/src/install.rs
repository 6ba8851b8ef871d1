//! Installs what the cases use: Debian packages, kclient's own needs, and two test suites of crates.io.

use crate::failure::{Failure, Outcome, While, ensure};
use crate::places;
use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    Cases,
    CasesAndGanesha,
}

pub(crate) fn install(set: Set) -> Outcome {
    let mut wanted = missing(PACKAGES);
    if set == Set::CasesAndGanesha {
        wanted.extend(missing(GANESHA));
    }
    if !wanted.is_empty() {
        install_packages(&wanted)?;
    }
    let kclient = Command::new(places::kclient()?).arg("install").stdout(Stdio::null()).status()?;
    ensure!(kclient.success(), "kclient install: {kclient}");
    for (program, version) in CRATES {
        install_crate(program, version)?;
    }
    Ok("everything that the end-to-end tests use is installed".to_string())
}

/// Packages of the list whose program is not there.
fn missing(list: &[(&str, &'static str)]) -> Vec<&'static str> {
    let path = format!("{}:/usr/sbin:/sbin", env::var("PATH").unwrap_or_default());
    let there = |program: &str| env::split_paths(&path).any(|folder| folder.join(program).exists());
    list.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect()
}

/// apt-get, while a policy keeps the packages' services from being started on this machine.
fn install_packages(packages: &[&str]) -> Result<(), Failure> {
    println!("installing {}", packages.join(" "));
    let policy = Path::new("/usr/sbin/policy-rc.d");
    let ours = !policy.exists();
    if ours {
        fs::write(policy, "#!/bin/sh\nexit 101\n").during("installing packages needs root")?;
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755))?;
    }
    let outcome = apt_get(&["update", "-qq"]).and_then(|()| {
        let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
        arguments.extend(packages);
        apt_get(&arguments)
    });
    if ours {
        fs::remove_file(policy)?;
    }
    outcome
}

fn apt_get(arguments: &[&str]) -> Result<(), Failure> {
    let mut command = Command::new("apt-get");
    command.args(["-o", "DPkg::Lock::Timeout=600"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    let output = command.output().during("apt-get")?;
    ensure!(output.status.success(), "apt-get {}: {}", arguments[0], String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn install_crate(program: &str, version: &str) -> Result<(), Failure> {
    let root = places::tools()?;
    if root.join("bin").join(program).exists() {
        return Ok(());
    }
    println!("installing {program} {version} into {}", root.display());
    let mut command = Command::new("cargo");
    command.args(["install", "--quiet", "--locked", program, "--version", version, "--root"]).arg(&root);
    // Outside the checkout, so that its settings do not apply.
    let status = command.current_dir("/").env_remove("CARGO_TARGET_DIR").status()?;
    ensure!(status.success(), "cargo install {program}: {status}");
    Ok(())
}

/// A program, and the package that brings it.
const PACKAGES: &[(&str, &str)] = &[
    ("fio", "fio"),
    ("git", "git"),
    ("mkfs.xfs", "xfsprogs"),
    ("python3", "python3"),
    ("rpcbind", "rpcbind"),
    ("rpcinfo", "rpcbind"),
    ("showmount", "nfs-common"),
    ("stress-ng", "stress-ng"),
];
const GANESHA: &[(&str, &str)] = &[("ganesha.nfsd", "nfs-ganesha"), ("ganesha.nfsd", "nfs-ganesha-vfs")];
/// Test suites of crates.io: program and crate of the same name, and the version that the expectations are for.
const CRATES: &[(&str, &str)] = &[("pjdfstest", "0.2.2"), ("fsx", "0.3.2")];
