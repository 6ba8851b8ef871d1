//! The configuration as operators write it, and the annotated file.

use super::environment::defaults;
use super::read::parse;
use super::*;
use toml::Value;

const ANNOTATED: &str = include_str!("../../../config/basalt.toml");
const SHARE: &str = "[[share]]\nname = '/a'\nclients = [{ who = '10.0.0.0/8', access = 'rw' }]\n";

fn refused(text: &str) -> String {
    parse("basalt.toml", text, &[]).expect_err("it should be refused").0
}

fn with(text: &str) -> Config {
    parse("basalt.toml", &format!("{text}\n{SHARE}"), &[]).unwrap()
}

fn variable(name: &str, value: &str) -> Result<Config, String> {
    let variables = [("HOME".to_string(), "/".to_string()), (name.to_string(), value.to_string())];
    parse("basalt.toml", &format!("[server]\nconnections_max = 7\n{SHARE}"), &variables).map_err(|error| error.0)
}

#[test]
fn an_unknown_key_is_an_error_that_names_line_and_key() {
    let error = refused(&format!("[server]\ncores = 'auto'\nlisen = '0.0.0.0:2049'\n{SHARE}"));
    assert!(error.contains("line 3"), "{error}");
    assert!(error.contains("unknown field `lisen`"), "{error}");
    assert!(error.starts_with("basalt.toml"), "{error}");
    let error = refused("[[share]]\nname = '/a'\nclients = [\n  { who = '*', access = 'rw', sqash = 'all' },\n]\n");
    assert!(error.contains("sqash") && error.contains("line"), "{error}");
    assert!(refused(&format!("[servers]\n{SHARE}")).contains("unknown field `servers`"));
}

#[test]
fn a_value_that_makes_no_sense_is_an_error_that_names_its_line() {
    for (line, part) in [
        ("[server]\nmemory = 'lots'", "not a size"),
        ("[server]\nlisten = '2049'", "ADDRESS:PORT"),
        ("[server]\nstall_timeout = '30'", "not a duration"),
        ("[server]\ncores = '4-2'", "not a list of processors"),
        ("[server]\nconnections_max = -1", "connections_max"),
        ("[log]\nlevel = 'loud'", "loud"),
        ("[portmap]\nmode = 'maybe'", "maybe"),
    ] {
        let error = refused(&format!("{line}\n{SHARE}"));
        assert!(error.contains("line 2"), "{error}");
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn what_does_not_fit_together_is_refused_by_name() {
    assert!(refused("").contains("no share"));
    assert!(refused(&format!("{SHARE}{SHARE}")).contains("/a is defined twice"));
    assert!(refused("[[share]]\nname = '/a'\nclients = []").contains("no clients"));
    assert!(refused(&format!("[admin]\nlisten = '0.0.0.0:2050'\n{SHARE}")).contains("loopback"));
    assert!(refused(&format!("[pool]\npath = 'pool'\n{SHARE}")).contains("absolute"));
    assert!(refused(&format!("[pool]\nsegment = '5000000'\n{SHARE}")).contains("multiple"));
    assert!(refused(&format!("[server]\nconnections_max = 0\n{SHARE}")).contains("server.connections_max is 0"));
    assert!(refused(&format!("[server]\nmemory = '1MiB'\n{SHARE}")).contains("server.memory is 1MiB"));
    assert!(refused("[[share]]\nname = '/a'\nsize = '1MiB'\nclients = [{ who = '*', access = 'ro' }]").contains("/a"));
}

#[test]
fn a_client_must_say_its_access_and_is_squashed_by_default() {
    assert!(refused("[[share]]\nname = '/a'\nclients = [{ who = '*' }]").contains("access"));
    let rule = with("").share[0].clients[0].rule();
    assert_eq!(rule, Rule::new("10.0.0.0/8".parse().unwrap()));
}

#[test]
fn a_client_may_what_the_file_says() {
    let rule = |words: &str| {
        let text = format!("[[share]]\nname = '/a'\nclients = [{{ who = '10.0.0.0/8', {words} }}]");
        parse("basalt.toml", &text, &[]).unwrap().share[0].clients[0].rule()
    };
    let with = |access, squash| Rule { access, squash, ..Rule::new("10.0.0.0/8".parse().unwrap()) };
    assert_eq!(rule("access = 'ro'"), with(Access::ReadOnly, Squash::Root));
    assert_eq!(rule("access = 'ro', squash = 'all'"), with(Access::ReadOnly, Squash::All));
    assert_eq!(rule("access = 'rw', squash = 'none'"), with(Access::ReadWrite, Squash::None));
    let anonymous = rule("access = 'rw', squash = 'root', anonuid = 7, anongid = 8");
    assert_eq!(anonymous, Rule { anon_uid: 7, anon_gid: 8, ..with(Access::ReadWrite, Squash::Root) });
}

#[test]
fn a_variable_overrides_a_key_of_the_file_and_an_unknown_one_is_an_error() {
    let listen = |config: Config| config.server.listen.to_string();
    assert_eq!(variable("BASALT_SERVER_LISTEN", "127.0.0.1:9").map(listen), Ok("127.0.0.1:9".to_string()));
    assert_eq!(variable("BASALT_SERVER_CONNECTIONS_MAX", "9").unwrap().server.connections_max, 9);
    assert_eq!(variable("BASALT_SERVER_MEMORY", "268435456").unwrap().server.memory, Auto::Given(Size(256 * MIB)));
    assert_eq!(variable("BASALT_LOG_FORMAT", "json").unwrap().log.format, LogFormat::Json);
    assert_eq!(variable("BASALT_TOOLS", "/x").unwrap().server.connections_max, 7);
    assert!(variable("BASALT_SERVER_LISEN", "x").unwrap_err().contains("BASALT_SERVER_LISEN"));
    assert!(variable("BASALT_SERVER_MEMORY", "lots").unwrap_err().contains("BASALT_SERVER_MEMORY"));
    assert!(variable("BASALT_ADMIN_LISTEN", "0.0.0.0:1").unwrap_err().contains("loopback"));
}

#[test]
fn other_clients_are_told_from_other_changes() {
    let old = with("");
    let mut next = old.clone();
    next.share[0].clients[0].access = AccessArg::Ro;
    assert!(old.differs_in_clients_alone(&next));
    next.share[0].size = Auto::Given(Size(GIB));
    assert!(!old.differs_in_clients_alone(&next));
}

#[test]
fn the_annotated_file_is_valid_and_its_values_are_the_defaults() {
    let config = parse("config/basalt.toml", ANNOTATED, &[]).unwrap();
    let shares = Config { share: config.share.clone(), ..Config::default() };
    assert_eq!(config, shares);
    assert_eq!(config.share.len(), 1);
}

#[test]
fn the_annotated_file_names_every_key_and_no_other() {
    let config = parse("config/basalt.toml", ANNOTATED, &[]).unwrap();
    let mut all = defaults();
    let shares = toml::Table::try_from(&config).unwrap().remove("share").unwrap();
    all.insert("share".into(), shares.get(0).unwrap().clone());
    let client = shares.get(0).and_then(|share| share.get("clients")).and_then(|list| list.get(0)).unwrap();
    for (section, keys) in &all {
        let Value::Table(keys) = keys else { continue };
        let header = if section == "share" { "[[share]]".to_string() } else { format!("[{section}]") };
        let from = ANNOTATED.find(&format!("\n{header}\n")).unwrap_or_else(|| panic!("{header} is missing"));
        let body = &ANNOTATED[from + header.len()..];
        let body = &body[..body.find("\n[").unwrap_or(body.len())];
        for key in keys.keys() {
            assert!(body.contains(&format!("\n{key} = ")), "{header} does not explain {key}");
        }
    }
    for key in client.as_table().unwrap().keys() {
        assert!(ANNOTATED.contains(&format!("{key} = ")), "a client's {key} is not explained");
    }
}
