//! Every proof that `docs/promises.md` names is there: a test `crate::name` is a function of that name in that crate's
//! folder, a case `e2e name` a row of the end-to-end runner's table, a planted bug or a command is not looked at. A
//! promise whose test was renamed or removed fails the check.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

pub(crate) fn check(root: &Path) -> Result<(), String> {
    let page = read(&root.join(PAGE))?;
    let proofs = proofs(&page);
    if proofs.is_empty() {
        return Err(format!("{PAGE} names no test at all"));
    }
    let known = known(root)?;
    let missing: Vec<_> = proofs.iter().filter(|proof| !known.contains(*proof)).map(Proof::to_string).collect();
    match missing.is_empty() {
        true => {
            println!("{PAGE}: {} proofs, all of them there", proofs.len());
            Ok(())
        }
        false => Err(format!("{PAGE} names proofs that are not there: {}", missing.join(", "))),
    }
}

/// What a promise rests on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Proof {
    Test { package: String, name: String },
    Case(String),
}

impl std::fmt::Display for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Proof::Test { package, name } => write!(f, "{package}::{name}"),
            Proof::Case(name) => write!(f, "e2e {name}"),
        }
    }
}

/// The proofs that a page names: words in backquotes.
fn proofs(page: &str) -> BTreeSet<Proof> {
    let quoted = page.split('`').skip(1).step_by(2);
    quoted.filter_map(proof).collect()
}

fn proof(quoted: &str) -> Option<Proof> {
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    if let Some(name) = quoted.strip_prefix("e2e ") {
        return is_name(&name.replace('-', "_")).then(|| Proof::Case(name.to_owned()));
    }
    let (package, name) = quoted.split_once("::")?;
    let is_test = PACKAGES.iter().any(|(known, _)| *known == package) && is_name(name);
    is_test.then(|| Proof::Test { package: package.to_owned(), name: name.to_owned() })
}

/// Every test function and every case that there is.
fn known(root: &Path) -> Result<BTreeSet<Proof>, String> {
    let mut known = BTreeSet::new();
    for (package, folder) in PACKAGES {
        for path in git_files(root, folder)? {
            let names = tests_of(&read(&root.join(path))?);
            known.extend(names.into_iter().map(|name| Proof::Test { package: package.to_string(), name }));
        }
    }
    let table = read(&root.join(CASES))?;
    let rows = table.lines().filter_map(|line| line.trim().strip_prefix("name: \"")?.strip_suffix("\","));
    known.extend(rows.map(|name| Proof::Case(name.to_owned())));
    Ok(known)
}

/// Names of the functions marked `#[test]`.
fn tests_of(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_marked = false;
    for line in text.lines().map(str::trim) {
        if line == "#[test]" {
            is_marked = true;
        } else if let Some(rest) = line.strip_prefix("fn ") {
            if is_marked {
                names.extend(rest.split_once('(').map(|(name, _)| name.to_owned()));
            }
            is_marked = false;
        }
    }
    names
}

fn git_files(root: &Path, folder: &str) -> Result<Vec<String>, String> {
    let mut command = Command::new("git");
    let listed =
        command.current_dir(root).args(["ls-files", "--cached", "--others", "--exclude-standard", "--", folder]);
    let output = listed.output().map_err(|error| format!("git: {error}"))?;
    let paths = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(paths.lines().filter(|path| path.ends_with(".rs") && root.join(path).exists()).map(str::to_owned).collect())
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

const PAGE: &str = "docs/promises.md";
const CASES: &str = "tools/e2e/src/cases/mod.rs";
/// Packages by the name that the page gives them, and where their tests are.
const PACKAGES: [(&str, &str); 8] = [
    ("wire", "wire"),
    ("cache", "cache"),
    ("shard", "shard"),
    ("appliance", "appliance"),
    ("tools", "tools/src"),
    ("fuzz", "tools/fuzz"),
    ("xtask", "tools/xtask"),
    ("perf", "perf"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_are_tests_and_cases_and_nothing_else() {
        let page = "`shard::a_test`, `e2e kill-client`, `e2e …`, `BASALT_SEED`, `std::fs`, `cargo nextest run -p CRATE NAME`, `shard::fs::x`";
        let test = Proof::Test { package: "shard".to_owned(), name: "a_test".to_owned() };
        assert_eq!(proofs(page), BTreeSet::from([test, Proof::Case("kill-client".to_owned())]));
    }

    #[test]
    fn only_functions_that_are_marked_count() {
        let text = "#[test]\nfn one() {}\nfn helper() {}\n    #[test]\n    #[ignore]\n    fn two() {}\n";
        assert_eq!(tests_of(text), ["one", "two"]);
    }
}
