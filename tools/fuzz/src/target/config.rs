//! The configuration: a file's text and the variables that override it. An accepted one, written out, is read back as
//! the same.
//!
//! Input: the text; behind a NUL, lines with variables.

use super::Target;
use appliance::config::{Config, parse};

pub(super) const CONFIG: Target = Target {
    name: "config",
    about: "the configuration file and the variables that override it",
    input_max: 2048,
    // It comes from the operator, and has at most 1 MiB: its parser keeps a tree of the text.
    working_bytes: 128 << 10,
    words: &[
        b"\n[server]\n",
        b"\n[admin]\n",
        b"\n[log]\n",
        b"\n[pool]\n",
        b"\n[portmap]\n",
        b"\n[[share]]\n",
        b"listen = ",
        b"cores = '0-3,6'",
        b"memory = 'auto'",
        b"connections_max = ",
        b"stall_timeout = '30s'",
        b"name = '/a'",
        b"clients = [{ who = '10.0.0.0/8', access = 'rw' }]",
        b"squash = 'all'",
        b"store = 'memory'",
        b"size = ",
        b"mode = '0755'",
        b"'64KiB'",
        b"'2h'",
        b"level = 'info'",
        b"\0BASALT_SERVER_LISTEN=",
        b"BASALT_POOL_SEGMENT=",
        b"99999999999999999999",
        b"\"",
        b"'",
        b"{",
        b"[",
        b"'''",
        b"\\u0000",
        b" = ",
        b"#",
    ],
    seeds,
    run,
};

fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (file, lines) = text.split_once('\0').unwrap_or((&text, ""));
    let pairs = lines.lines().filter_map(|line| line.split_once('='));
    let variables: Vec<(String, String)> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    match parse("file", file, &variables) {
        Ok(config) => accepted(&config),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn accepted(config: &Config) {
    assert_eq!(config.check(), Ok(()));
    let written = toml::to_string(config).expect("what was read can be written");
    let again = parse("written", &written, &[]);
    assert_eq!(again.as_ref(), Ok(config), "{written}");
    assert!(!config.share.is_empty() && config.admin.listen.0.ip().is_loopback());
    for client in config.share.iter().flat_map(|share| &share.clients) {
        let _ = client.rule();
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let annotated = include_str!("../../../../config/basalt.toml");
    let plain: String =
        annotated.lines().filter(|line| !line.starts_with('#')).fold(String::new(), |text, line| text + line + "\n");
    let share = "[[share]]\nname = '/a'\nclients = [{ who = '10.0.0.0/8', access = 'rw' }]\n";
    let variables = format!("{share}\0BASALT_SERVER_LISTEN=127.0.0.1:9\nBASALT_SERVER_MEMORY=268435456\n");
    vec![plain.into(), share.into(), variables.into(), format!("[pool]\nsegment = '4MiB'\nreserve = 0\n{share}").into()]
}
