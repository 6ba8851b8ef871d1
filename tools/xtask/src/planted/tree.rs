//! A copy of the tree, where bugs can be planted without harm.

use super::list::Bug;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) struct Tree {
    root: PathBuf,
    folder: PathBuf,
    target: PathBuf,
}

impl Tree {
    /// Copies every file that belongs to the source. A file that is the same already is left alone, so that only what
    /// changed since the last time is built.
    pub(crate) fn copy(root: &Path, place: &Path) -> Result<Tree, String> {
        let tree = Tree { root: root.into(), folder: place.join("tree"), target: place.join("build") };
        let files = source_files(root)?;
        for file in &files {
            tree.refresh(file).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        tree.forget_others(&files).map_err(|error| format!("the copy of the tree: {error}"))?;
        tree.limit_times().map_err(|error| format!("the copy of the tree: {error}"))?;
        Ok(tree)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the copy is built.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Makes the changes of a bug; gives back the files as they were.
    pub(crate) fn plant(&self, bug: &Bug) -> Result<Vec<(PathBuf, String)>, String> {
        let mut before = Vec::new();
        for change in &bug.changes {
            let path = self.folder.join(&change.file);
            let failed = |error: io::Error| format!("{}: {error}", path.display());
            let text = fs::read_to_string(&path).map_err(failed)?;
            fs::write(&path, change.apply(&text)?).map_err(failed)?;
            before.push((path, text));
        }
        Ok(before)
    }

    /// Takes the changes back: the last one first, where two are in one file.
    pub(crate) fn restore(&self, before: Vec<(PathBuf, String)>) -> Result<(), String> {
        let put = |(path, text): (PathBuf, String)| {
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
        };
        before.into_iter().rev().try_for_each(put)
    }

    fn refresh(&self, file: &Path) -> io::Result<()> {
        let (source, copy) = (self.root.join(file), self.folder.join(file));
        let content = fs::read(&source)?;
        if fs::read(&copy).is_ok_and(|there| there == content) {
            return Ok(());
        }
        if let Some(folder) = copy.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(copy, content)
    }

    /// Removes what an earlier copy had and the source has no more: it would be built too.
    fn forget_others(&self, files: &[PathBuf]) -> io::Result<()> {
        let list = self.folder.with_extension("files");
        let before = fs::read_to_string(&list).unwrap_or_default();
        for name in before.lines().filter(|name| !files.iter().any(|file| file == Path::new(name))) {
            match fs::remove_file(self.folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let names: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
        fs::write(list, names.join("\n"))
    }

    /// A bug may make a test wait for ever: in the copy every test has a limit.
    fn limit_times(&self) -> io::Result<()> {
        fs::create_dir_all(self.folder.join(".config"))?;
        fs::write(self.folder.join(".config/nextest.toml"), TIME_LIMIT)
    }
}

/// What git knows, and what is new and not ignored.
fn source_files(root: &Path) -> Result<Vec<PathBuf>, String> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]).current_dir(root);
    let output = git.output().map_err(|error| format!("git ls-files: {error}"))?;
    if !output.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let files = text.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from);
    // A file that was deleted and not yet committed is still known.
    Ok(files.filter(|file| root.join(file).is_file()).collect())
}

const TIME_LIMIT: &str = "[profile.default]\nslow-timeout = { period = \"60s\", terminate-after = 4 }\n";
