//! Every corpus holds, and what is refused would be noticed.

use super::*;

#[test]
fn every_input_of_the_corpus_holds() {
    for target in TARGETS {
        let mut inputs = (target.seeds)();
        inputs.extend(corpus::read(&corpus::kept(target)).unwrap());
        assert!(!inputs.is_empty(), "{} begins with nothing", target.name);
        for input in inputs {
            if let Err(reason) = execute(target, &input) {
                panic!("{}: {reason}; input {input:02x?}", target.name);
            }
        }
    }
}

#[test]
fn the_corpus_is_small_and_each_of_its_folders_has_a_target() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut bytes = 0;
    for name in std::fs::read_dir(folder).unwrap() {
        let name = name.unwrap().file_name();
        let target = TARGETS.iter().find(|target| name == target.name).expect("a folder without a target");
        bytes += corpus::read(&corpus::kept(target)).unwrap().iter().map(Vec::len).sum::<usize>();
    }
    assert!(bytes > 0 && bytes < 1 << 20, "{bytes} bytes");
}

#[test]
fn a_panic_and_an_allocation_above_the_limit_are_failures() {
    let run = |run: fn(&[u8])| {
        let target = Target { run, ..target::MAZE };
        execute(&target, &[0; 100])
    };
    assert!(run(|_| panic!("no")).is_err_and(|reason| reason.contains("no")));
    fn allocate(bytes: usize) {
        drop(std::hint::black_box(Vec::<u8>::with_capacity(bytes)));
    }
    assert!(run(|_| allocate(2 * 100 + SLACK_BYTES + 1)).is_err());
    assert_eq!(run(|_| allocate(2 * 100 + SLACK_BYTES)), Ok(2 * 100 + SLACK_BYTES));
}
