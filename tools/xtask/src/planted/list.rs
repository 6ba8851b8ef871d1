//! The list of bugs as text. One bug:
//!
//! ```text
//! bug a-name-in-words
//! about what it breaks, in a sentence
//! tests shard:lib/verbs shard:procedures
//! file shard/src/live.rs
//! <<<<
//! the text before, as it stands in the file
//! ====
//! the text after; nothing, where the text before goes
//! >>>>
//! ```
//!
//! `tests` are run one after the other until one fails: those of a package; behind `:lib` only the unit tests of its
//! library, which are built in half the time; behind `:` and another word only those of that file in its `tests/`;
//! behind `/` only those with this in their name. The fewer are named, the more a bug that is caught says of them.
//!
//! `file` and what follows may come several times. Lines with `#`, and empty ones, between the bugs are for readers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub(crate) struct Bug {
    pub(crate) name: String,
    /// What it breaks.
    pub(crate) about: String,
    /// What must catch it, in the order in which it is asked.
    pub(crate) tests: Vec<Tests>,
    pub(crate) changes: Vec<Change>,
}

/// Some tests.
pub(crate) struct Tests {
    pub(crate) package: String,
    /// Only those of one program.
    pub(crate) program: Option<Program>,
    /// Only those with this in their name.
    pub(crate) part: Option<String>,
}

impl Tests {
    fn parse(word: &str) -> Tests {
        let (place, part) = word.split_once('/').map_or((word, None), |(place, part)| (place, Some(part.to_owned())));
        let (package, program) = place.split_once(':').map_or((place, None), |(package, name)| (package, Some(name)));
        let program = program.map(|name| if name == "lib" { Program::Library } else { Program::Test(name.to_owned()) });
        Tests { package: package.to_owned(), program, part }
    }
}

/// A program of tests.
pub(crate) enum Program {
    /// The library's unit tests.
    Library,
    /// A file of `tests/`.
    Test(String),
}

impl Program {
    /// How nextest is told to build and run nothing else.
    pub(crate) fn arguments(&self) -> Vec<String> {
        match self {
            Program::Library => vec!["--lib".to_owned()],
            Program::Test(name) => vec!["--test".to_owned(), name.clone()],
        }
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Clone)]
pub(crate) struct Change {
    /// In the repository.
    pub(crate) file: PathBuf,
    before: String,
    after: String,
}

impl Change {
    /// The text of the file with the bug in it.
    pub(crate) fn apply(&self, text: &str) -> Result<String, String> {
        let shown = self.file.display();
        match text.matches(&self.before).count() {
            1 => Ok(text.replacen(&self.before, &self.after, 1)),
            0 => Err(format!("{shown} does not have the text before\n{}", self.before)),
            count => Err(format!("{shown} has the text before {count} times\n{}", self.before)),
        }
    }
}

/// All bugs, by file and in its order.
pub(crate) fn read(root: &Path) -> Result<Vec<Bug>, String> {
    let folder = root.join(FOLDER);
    let failed = |error: std::io::Error| format!("{FOLDER}: {error}");
    let mut paths = Vec::new();
    for file in std::fs::read_dir(&folder).map_err(failed)? {
        paths.push(file.map_err(failed)?.path());
    }
    paths.sort();
    let mut bugs = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        bugs.extend(parse(&text).map_err(|why| format!("{}: {why}", path.display()))?);
    }
    no_duplicates(&bugs)?;
    Ok(bugs)
}

fn no_duplicates(bugs: &[Bug]) -> Result<(), String> {
    let (mut names, mut changes) = (BTreeSet::new(), BTreeSet::new());
    for bug in bugs {
        if !names.insert(&bug.name) {
            return Err(format!("two planted bugs have the name {}", bug.name));
        }
        if !changes.insert(bug.changes.clone()) {
            return Err(format!("the planted bug {} is there under another name", bug.name));
        }
    }
    Ok(())
}

fn parse(text: &str) -> Result<Vec<Bug>, String> {
    let mut bugs: Vec<Bug> = Vec::new();
    let mut file = PathBuf::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if word == "bug" {
            bugs.push(Bug { name: rest.into(), about: String::new(), tests: Vec::new(), changes: Vec::new() });
            continue;
        }
        let bug = bugs.last_mut().ok_or(format!("'{line}' before the first bug"))?;
        match word {
            "about" => bug.about = rest.into(),
            "tests" => bug.tests = rest.split_whitespace().map(Tests::parse).collect(),
            "file" => file = rest.into(),
            BEGIN => {
                let before = block(&mut lines, MIDDLE)?;
                let after = block(&mut lines, END)?;
                bug.changes.push(Change { file: file.clone(), before, after });
            }
            _ => return Err(format!("{}: '{line}'", bug.name)),
        }
    }
    match bugs.iter().find(|bug| !is_whole(bug)) {
        None => Ok(bugs),
        Some(bug) => Err(format!("{} is not whole", bug.name)),
    }
}

fn is_whole(bug: &Bug) -> bool {
    let sound = |change: &Change| !change.before.is_empty() && change.before != change.after;
    !bug.about.is_empty() && !bug.tests.is_empty() && !bug.changes.is_empty() && bug.changes.iter().all(sound)
}

/// The lines up to a mark.
fn block<'a>(lines: &mut impl Iterator<Item = &'a str>, mark: &str) -> Result<String, String> {
    let mut text = String::new();
    for line in lines {
        if line == mark {
            return Ok(text);
        }
        text.push_str(line);
        text.push('\n');
    }
    Err(format!("no line '{mark}' ends the text"))
}

const FOLDER: &str = "tools/xtask/planted";
const BEGIN: &str = "<<<<";
const MIDDLE: &str = "====";
const END: &str = ">>>>";

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "# For readers.\nbug one\nabout a\ntests x y\nfile f\n<<<<\nold\n====\nnew\nlines\n>>>>\n";

    #[test]
    fn a_bug_is_read_and_changes_its_text_once() {
        let bugs = parse(ONE).unwrap();
        assert_eq!((bugs[0].name.as_str(), bugs[0].tests.len()), ("one", 2));
        let change = &bugs[0].changes[0];
        assert_eq!(change.apply("a\nold\nb\n").unwrap(), "a\nnew\nlines\nb\n");
        assert!(change.apply("a\nb\n").unwrap_err().contains("does not have"));
        assert!(change.apply("old\nold\n").unwrap_err().contains("2 times"));
    }

    #[test]
    fn what_is_not_whole_or_there_twice_is_refused() {
        for text in ["about a\n", "bug one\n", "bug one\nabout a\ntests x\nfile f\n<<<<\nold\n", "bug one\nwhat\n"] {
            assert!(parse(text).is_err(), "{text}");
        }
        let twice = [parse(ONE).unwrap(), parse(ONE).unwrap()].into_iter().flatten().collect::<Vec<_>>();
        assert!(no_duplicates(&twice).unwrap_err().contains("the name one"));
        let renamed = [ONE, &ONE.replace("bug one", "bug two")].concat();
        assert!(no_duplicates(&parse(&renamed).unwrap()).unwrap_err().contains("another name"));
    }
}
