//! The ten longest functions and files, and a ratchet: a function may not grow past [`FUNCTION_LINES_MAX`]. Those
//! that were longer at the base of the change may stay, not grow. Relies on rustfmt: a function ends with the first
//! brace alone that is indented as its beginning.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

pub(crate) fn watch(root: &Path) -> Result<(), String> {
    let base = base(root)?;
    let mut functions = Vec::new();
    let mut files = Vec::new();
    for path in git(root, &["ls-files", "*.rs"])?.lines() {
        // A file that is listed and gone is being removed by this change.
        let Ok(text) = std::fs::read_to_string(root.join(path)) else { continue };
        files.push((text.lines().count(), path.to_string()));
        functions.extend(measure(&text).into_iter().map(|(name, lines)| (lines, path.to_string(), name)));
    }
    println!("longest functions (lines):");
    functions.sort_unstable_by(|one, other| other.cmp(one));
    for (lines, path, name) in functions.iter().take(SHOWN_MAX) {
        println!("{lines:6}  {path}  {name}");
    }
    println!("longest files (lines):");
    files.sort_unstable_by(|one, other| other.cmp(one));
    for (lines, path) in files.iter().take(SHOWN_MAX) {
        println!("{lines:6}  {path}");
    }
    let grown: Vec<_> = functions
        .iter()
        .take_while(|(lines, ..)| *lines > FUNCTION_LINES_MAX)
        .filter(|(lines, path, name)| !is_test(path) && *lines > lines_at(root, &base, path, name))
        .map(|(lines, path, name)| format!("{path}: {name} has {lines} lines"))
        .collect();
    match grown.is_empty() {
        true => Ok(()),
        false => Err(format!("grown past {FUNCTION_LINES_MAX} lines: {}", grown.join(", "))),
    }
}

/// What this change is compared with: where it left the main branch, else the first commit.
fn base(root: &Path) -> Result<String, String> {
    if let Ok(base) = git(root, &["merge-base", "HEAD", "origin/main"]) {
        return Ok(base.trim().to_string());
    }
    let firsts = git(root, &["rev-list", "--max-parents=0", "HEAD"])?;
    firsts.lines().next().map(str::to_string).ok_or_else(|| "a repository without a commit".to_string())
}

/// Lines of the function at the base; 0 when it was not there.
fn lines_at(root: &Path, base: &str, path: &str, name: &str) -> usize {
    let text = git(root, &["show", &format!("{base}:{path}")]).unwrap_or_default();
    measure(&text).get(name).copied().unwrap_or(0)
}

/// The functions of a file by name, each with its lines; of several with one name, the longest.
fn measure(text: &str) -> BTreeMap<String, usize> {
    let lines: Vec<_> = text.lines().collect();
    let mut functions = BTreeMap::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let rest = &lines[start..];
        let Some(end) = rest.iter().position(|line| is_end(line, indent)) else { continue };
        let longest = functions.entry(name.to_string()).or_insert(0);
        *longest = (*longest).max(end + 1);
    }
    functions
}

/// The closing brace of a body, or the semicolon of a declaration without one.
fn is_end(line: &str, indent: &str) -> bool {
    let Some(rest) = line.strip_prefix(indent) else { return false };
    rest == "}" || (!rest.starts_with(' ') && (rest.ends_with(';') || rest.ends_with("{}") || rest.ends_with(" }")))
}

fn function_name(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let mut before = Vec::new();
    let name = loop {
        match words.next()? {
            "fn" => break words.next()?,
            word => before.push(word),
        }
    };
    let qualifies = |word: &&str| matches!(*word, "const" | "async" | "unsafe" | "extern") || word.starts_with("pub");
    let end = name.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    before.iter().all(qualifies).then(|| &name[..end.unwrap_or(name.len())])
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("tests.rs")
}

fn git(root: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("git").args(arguments).current_dir(root).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

const FUNCTION_LINES_MAX: usize = 70;
const SHOWN_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_measured_from_its_first_line_to_its_brace() {
        let text = "impl A {\n    pub(crate) const fn long(\n        a: u8,\n    ) -> u8 {\n        if a {\n        }\n    }\n\n    fn short() {}\n}\n";
        assert_eq!(measure(text), BTreeMap::from([("long".to_string(), 6), ("short".to_string(), 1)]));
    }

    #[test]
    fn a_declaration_ends_with_its_semicolon() {
        let text = "trait A {\n    fn one(&self) -> u8;\n    fn two(\n        &self,\n    ) -> u8;\n}\n";
        assert_eq!(measure(text), BTreeMap::from([("one".to_string(), 1), ("two".to_string(), 3)]));
    }

    #[test]
    fn words_with_fn_in_them_are_no_functions() {
        assert_eq!(function_name("// a fn in a comment"), None);
        assert_eq!(function_name("let f: fn(u8) = g;"), None);
        assert_eq!(function_name("    pub async fn go<T>(t: T) {"), Some("go"));
    }

    #[test]
    fn of_two_functions_with_one_name_the_longer_counts() {
        let text = "fn a() {\n    b();\n    c();\n}\nmod m {\n    fn a() {\n    }\n}\n";
        assert_eq!(measure(text)["a"], 4);
    }
}
