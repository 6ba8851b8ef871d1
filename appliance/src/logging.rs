//! The daemon's log: text or JSON lines, on standard error or appended to a file.

use crate::config::{Log, LogFormat, LogLevel};
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Mutex;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Begins logging for the whole process. Fails when the file cannot be opened.
pub(crate) fn begin(log: &Log) -> Result<(), String> {
    if log.file.as_os_str().is_empty() {
        begin_to(log, io::stderr);
        return Ok(());
    }
    let file = File::options().create(true).append(true).mode(0o640).open(&log.file);
    let file = file.map_err(|error| format!("log.file {}: {error}", log.file.display()))?;
    begin_to(log, Mutex::new(file));
    Ok(())
}

/// A panic anywhere is our mistake: it is logged, and the process ends before it can do harm. The next start
/// recovers.
pub(crate) fn abort_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(%panic, "internal error, aborting");
        std::process::abort();
    }));
}

fn begin_to(log: &Log, writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let subscriber = tracing_subscriber::fmt().with_max_level(level).with_writer(writer).with_target(false);
    match log.format {
        LogFormat::Text => subscriber.with_ansi(false).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
}
