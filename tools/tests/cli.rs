//! The command as an operator meets it: exit codes, messages, help.

#![cfg(test)]

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output};

fn basalt(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_basalt")).args(arguments).output().unwrap()
}

fn verify(pool: &Path) -> Output {
    basalt(&["verify", pool.to_str().unwrap()])
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn pool() -> tempfile::TempDir {
    let pool = tempfile::tempdir().unwrap();
    fs::write(pool.path().join("format"), "basalt pool 5\n").unwrap();
    fs::write(pool.path().join("secret"), [7; 16]).unwrap();
    fs::write(pool.path().join("lock"), "").unwrap();
    pool
}

#[test]
fn a_pool_without_shares_is_clean() {
    let output = verify(pool().path());
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
    assert!(stdout(&output).contains("no share was served from this pool yet"));
}

#[test]
fn problems_are_exit_code_1() {
    let pool = pool();
    fs::create_dir_all(pool.path().join("projects/log")).unwrap();
    fs::write(pool.path().join("projects/log/seg.00000000"), "").unwrap();
    fs::write(pool.path().join("secret"), "short").unwrap();
    let output = verify(pool.path());
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(text.contains("/projects: ledger: the ledger is missing or empty, and 1 slot files are there"), "{text}");
    assert!(text.contains("pool: pool: ") && text.contains("does not have 16 bytes"), "{text}");
    let json = stdout(&basalt(&["verify", "--json", pool.path().to_str().unwrap()]));
    assert!(json.contains(r#""clean":false"#) && json.contains(r#""kind":"ledger""#), "{json}");
}

#[test]
fn what_cannot_be_checked_is_exit_code_2_with_a_reason() {
    let nowhere = verify(Path::new("/nonexistent"));
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(stderr(&nowhere).contains("there is no pool"), "{}", stderr(&nowhere));
    let pool = pool();
    let unknown = basalt(&["verify", pool.path().to_str().unwrap(), "--share", "/none"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("the pool has no share /none"), "{}", stderr(&unknown));
    let daemon = File::create(pool.path().join("lock")).unwrap();
    daemon.try_lock().unwrap();
    let locked = verify(pool.path());
    assert_eq!(locked.status.code(), Some(2));
    assert!(stderr(&locked).contains("is in use by a basaltd that runs; stop it first"), "{}", stderr(&locked));
}

#[test]
fn help_teaches() {
    let help = stdout(&basalt(&["--help"]));
    assert!(help.contains("verify") && help.contains("dump") && help.contains("Exit codes"), "{help}");
    for command in ["log", "ledger", "frame", "handle"] {
        let help = basalt(&["dump", command, "--help"]);
        assert_eq!(help.status.code(), Some(0));
        assert!(stdout(&help).lines().count() > 5, "{}", stdout(&help));
    }
}

#[test]
fn a_golden_frame_is_decoded() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../wire/golden/nfs3-lookup-1-call.hex");
    let output = basalt(&["dump", "frame", golden]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("nfs3 LOOKUP"), "{}", stdout(&output));
}
