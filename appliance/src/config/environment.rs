//! Single keys from the environment: `BASALT_<SECTION>_<KEY>`, such as `BASALT_SERVER_LISTEN`. Shares are a list and
//! come from the file alone.

use super::Config;
use toml::{Table, Value};

/// What every variable begins with.
const PREFIX: &str = "BASALT_";

/// The configuration with the variables' values in place of the file's. A variable of a known section with an unknown
/// key is an error; other variables with the prefix belong to other programs.
pub(super) fn apply(config: Config, mut table: Table, variables: &[(String, String)]) -> Result<Config, String> {
    let mut applied = config;
    for (name, text) in variables {
        let Some((section, key, kind)) = place(name)? else { continue };
        let value = match kind {
            Value::Integer(_) => {
                Value::Integer(text.trim().parse().map_err(|_| format!("{name}: not a whole number"))?)
            }
            _ => Value::String(text.clone()),
        };
        let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(keys) = section else { return Err(format!("{name}: there is no such section")) };
        keys.insert(key, value);
        // One at a time, so that an error has the variable's name.
        applied = table.clone().try_into().map_err(|error: toml::de::Error| format!("{name}: {}", error.message()))?;
    }
    Ok(applied)
}

/// The section and key that a variable names, and the kind of its value; `None` for a variable that is not ours.
fn place(name: &str) -> Result<Option<(String, String, Value)>, String> {
    let Some(rest) = name.strip_prefix(PREFIX) else { return Ok(None) };
    let rest = rest.to_ascii_lowercase();
    let Some((section, key)) = rest.split_once('_') else { return Ok(None) };
    let Some(Value::Table(keys)) = defaults().remove(section) else { return Ok(None) };
    match keys.get(key) {
        Some(kind) => Ok(Some((section.to_owned(), key.to_owned(), kind.clone()))),
        None => Err(format!("{name}: the section [{section}] has no key '{key}'")),
    }
}

/// Every section and key with its default.
pub(super) fn defaults() -> Table {
    Table::try_from(Config::default()).expect("every default is a TOML value")
}
