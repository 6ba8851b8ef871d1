//! Inputs at rest: the corpus in the repository (`tools/fuzz/corpus/TARGET/`), what runs on this machine found beside
//! it, and inputs that broke something (both below `target/fuzz/`). A file is named by a hash of its bytes.
//!
//! Callers: `basalt-fuzz` and the tests, which replay the corpus.

use crate::Target;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Bytes of one target's corpus in the repository.
pub const CORPUS_BYTES_MAX: usize = 72 << 10;

/// The corpus of the repository.
pub fn kept(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// What runs on this machine found; not in the repository.
pub fn found(target: &Target) -> PathBuf {
    scratch().join("corpus").join(target.name)
}

/// Keeps an input that broke something; the file.
pub fn keep_failure(name: &str, input: &[u8]) -> io::Result<PathBuf> {
    let folder = scratch().join("failures");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}-{}", hash(input)));
    fs::write(&path, input)?;
    Ok(path)
}

/// All that is known for a target: its seeds, the repository's corpus, and what was found here. Each once.
pub fn all(target: &Target) -> io::Result<Vec<Vec<u8>>> {
    let mut inputs = (target.seeds)();
    inputs.extend(read(&kept(target))?);
    inputs.extend(read(&found(target))?);
    let mut met = BTreeSet::new();
    inputs.retain(|input| input.len() <= target.input_max && met.insert(hash(input)));
    Ok(inputs)
}

/// The inputs in a folder, by name; none where there is no folder.
pub fn read(folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut paths = Vec::new();
    match fs::read_dir(folder) {
        Ok(files) => {
            for file in files {
                paths.push(file?.path());
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    paths.sort();
    paths.into_iter().map(fs::read).collect()
}

/// Adds inputs to a folder.
pub fn write<'a>(folder: &Path, inputs: impl IntoIterator<Item = &'a Vec<u8>>) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for input in inputs {
        fs::write(folder.join(hash(input)), input)?;
    }
    Ok(())
}

/// Puts `inputs` in place of all that a folder has.
pub fn replace(folder: &Path, inputs: &[Vec<u8>]) -> io::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    write(folder, inputs)
}

fn scratch() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz")
}

/// FNV-1a, as hexadecimal digits: good enough to tell files apart, and the same for ever.
fn hash(input: &[u8]) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    format!("{:016x}", input.iter().fold(0xcbf2_9ce4_8422_2325, step))
}
