//! From a file's text and the environment to a checked [`Config`]. Errors name the file and the line, or the variable.

use super::{Config, environment};
use std::fmt;
use std::path::Path;

/// Why there is no configuration. Its text is for the operator.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads `path`, lets the variables override single keys, and checks all of it.
pub fn read(path: &Path, variables: &[(String, String)]) -> Result<Config, ConfigError> {
    let name = path.display();
    let bytes_max = 1 << 20;
    let length = std::fs::metadata(path).map_err(|error| ConfigError(format!("{name}: {error}")))?.len();
    if length > bytes_max {
        return Err(ConfigError(format!("{name} has {length} bytes; a configuration has at most {bytes_max}")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError(format!("{name}: {error}")))?;
    parse(&name.to_string(), &text, variables)
}

/// The defaults, with single keys from the variables. The caller adds the shares and checks the whole.
pub fn from_environment(variables: &[(String, String)]) -> Result<Config, ConfigError> {
    environment::apply(Config::default(), toml::Table::new(), variables).map_err(ConfigError)
}

/// [`read`] from text; `name` is what errors call it.
pub fn parse(name: &str, text: &str, variables: &[(String, String)]) -> Result<Config, ConfigError> {
    // The file by itself first: its errors have lines.
    let from_file = |error: toml::de::Error| ConfigError(format!("{name}: {}", error.to_string().trim_end()));
    let config: Config = toml::from_str(text).map_err(from_file)?;
    let table: toml::Table = toml::from_str(text).map_err(from_file)?;
    let config = environment::apply(config, table, variables).map_err(ConfigError)?;
    config.check().map_err(|why| ConfigError(format!("{name}: {why}")))?;
    Ok(config)
}
