//! Real files through the mount: 20,000 small ones and one of 2 GiB, there and back, and their space back at the end.
//! The pool lies on a disk of its own, so that `df` tells of nothing else.

use crate::disk::Disk;
use crate::failure::{Failure, Outcome, ensure};
use crate::guest::Mount;
use crate::lab::{Lab, disk_bytes};
use crate::server::Server;
use std::collections::VecDeque;
use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) fn run(lab: &Lab) -> Outcome {
    let tree = lab.folder("tree")?;
    let tree_bytes = gather(&tree)?;
    let big = lab.path("big");
    write_big(lab, &big)?;
    host(&lab.work, "find tree -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum >sums")?;

    let disk = Disk::make(lab, "pool-disk", "ext4", DISK_BYTES)?;
    let mut server = Server::start(lab, &disk.folder("pool")?)?;
    let empty = used_bytes(lab, &server)?;
    let work = lab.work.display();
    // A guest keeps a file of the host open for each inode that it remembers: let it forget in time.
    let into = format!(
        "(while sleep 2; do echo 2 >/proc/sys/vm/drop_caches; done) & forget=$!
         time cp -a {work}/tree .
         time cp {work}/big big
         sync
         echo 3 >/proc/sys/vm/drop_caches
         time sha256sum --quiet -c {work}/sums
         time cmp big {work}/big
         kill $forget"
    );
    let report = Mount::of(lab, &server, "in").shell(&into)?;
    println!("{report}");
    let peak_bytes = disk_bytes(server.pool())?;

    server.stop()?;
    server.verify()?;
    server.start_again()?;
    let out = lab.folder("out")?;
    let back = format!("cmp big {work}/big; time tar -cf {}/tree.tar tree", out.display());
    println!("{}", Mount::of(lab, &server, "out").writable(&out).shell(&back)?);
    // The archive holds what the second client read: contents, modes, owners, times, links.
    host(&lab.work, "tar -df out/tree.tar")?;
    fs::remove_file(out.join("tree.tar"))?;

    let full = used_bytes(lab, &server)?;
    ensure!(full >= empty + tree_bytes + BIG_BYTES, "df: {full} bytes used with the files, {empty} without");
    println!("{}", Mount::of(lab, &server, "rm").shell("time rm -rf tree big; sync; [ -z \"$(ls -A)\" ]")?);
    space_comes_back(lab, &server, empty)?;
    Mount::of(lab, &server, "again").shell(&format!("cp {work}/big big; cmp big {work}/big; rm big"))?;
    let after_bytes = disk_bytes(server.pool())?;
    ensure!(after_bytes <= peak_bytes + POOL_SLACK_BYTES, "the pool grew from {peak_bytes} to {after_bytes} bytes");
    server.stop()?;
    server.verify()?;
    Ok(format!("{FILES} files of {} MB and one of 2 GiB", tree_bytes / 1_000_000))
}

/// Copies the first [`FILES`] small files of this machine's source trees, in a fixed order; their size in bytes.
fn gather(tree: &Path) -> Result<u64, Failure> {
    let mut left = FILES;
    let mut bytes = 0;
    for (number, root) in roots().iter().enumerate() {
        let target = tree.join(number.to_string());
        bytes += copy_below(root, &target, &mut left)?;
        if left == 0 {
            return Ok(bytes);
        }
    }
    crate::failure::fail!("this machine has {left} files too few for a tree of {FILES}");
}

fn roots() -> Vec<PathBuf> {
    let home = env::var_os("HOME").map_or_else(PathBuf::new, PathBuf::from);
    let cargo = env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let rustup = env::var_os("RUSTUP_HOME").map_or_else(|| home.join(".rustup"), PathBuf::from);
    let fixed = ["/usr/include", "/usr/lib/python3", "/usr/lib/python3.11", "/usr/share", "/usr/lib"];
    let mut roots = vec![cargo.join("registry/src"), rustup, PathBuf::from("/usr/local")];
    roots.extend(fixed.map(PathBuf::from));
    roots.retain(|root| root.is_dir());
    roots
}

/// Breadth first, names in order, so that the same machine gives the same tree.
fn copy_below(root: &Path, target: &Path, left: &mut u32) -> Result<u64, Failure> {
    let mut bytes = 0;
    let mut folders = VecDeque::from([root.to_path_buf()]);
    while let Some(folder) = folders.pop_front() {
        let into = target.join(folder.strip_prefix(root).expect("folders are found below the root"));
        fs::create_dir_all(&into)?;
        let mut entries = fs::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(|entry| entry.file_name());
        for entry in entries {
            let meta = entry.path().symlink_metadata()?;
            if meta.is_dir() {
                folders.push_back(entry.path());
            } else if meta.is_symlink() {
                std::os::unix::fs::symlink(fs::read_link(entry.path())?, into.join(entry.file_name()))?;
            } else if meta.is_file() && meta.len() <= SMALL_BYTES_MAX && plain(&entry.file_name()) {
                bytes += fs::copy(entry.path(), into.join(entry.file_name()))?;
                *left -= 1;
                if *left == 0 {
                    return Ok(bytes);
                }
            }
        }
    }
    Ok(bytes)
}

/// `sha256sum -c` reads its list by lines, with escapes for names that this leaves out.
fn plain(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| !name.contains(['\n', '\\']))
}

fn write_big(lab: &Lab, path: &Path) -> Result<(), Failure> {
    let mut random = lab.random();
    let mut file = File::create(path)?;
    let mut block = vec![0; 1 << 20];
    for _ in 0..BIG_BYTES >> 20 {
        random.fill(&mut block);
        file.write_all(&block)?;
    }
    Ok(())
}

fn space_comes_back(lab: &Lab, server: &Server, empty: u64) -> Result<(), Failure> {
    let mut used = used_bytes(lab, server)?;
    for _ in 0..SPACE_TRIES_MAX {
        if used <= empty + SPACE_SLACK_BYTES {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_secs(2));
        used = used_bytes(lab, server)?;
    }
    crate::failure::fail!("df: {used} bytes used after rm -rf, {empty} before the files came")
}

/// What `df` says on a client.
fn used_bytes(lab: &Lab, server: &Server) -> Result<u64, Failure> {
    let text = Mount::of(lab, server, "df").shell("df -B1 --output=used . | tail -1")?;
    let bytes = text.trim().lines().last().and_then(|line| line.trim().parse().ok());
    bytes.ok_or_else(|| Failure::new(format!("df said {text:?}")))
}

/// A shell command on the host, in `folder`.
fn host(folder: &Path, script: &str) -> Result<(), Failure> {
    let output = Command::new("bash").args(["-euo", "pipefail", "-c", script]).current_dir(folder).output()?;
    ensure!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

const FILES: u32 = 20_000;
const SMALL_BYTES_MAX: u64 = 1 << 20;
const BIG_BYTES: u64 = 2 << 30;
const DISK_BYTES: u64 = 12 << 30;
/// What may stay used in an empty file system: a few log segments and the ledger.
const SPACE_SLACK_BYTES: u64 = 384 << 20;
/// How much the pool may grow when as much is written as was deleted.
const POOL_SLACK_BYTES: u64 = 512 << 20;
const SPACE_TRIES_MAX: u32 = 30;
