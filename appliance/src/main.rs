//! `basaltd`: the daemon. This file is the start and the stop in reading order.

#![forbid(unsafe_code)]

mod admin;
mod announce;
mod cli;
mod http;
mod logging;
mod machine;
mod metrics;
mod notify;
mod observe;
mod pool;
mod portmapper;
mod running;
mod shares;
mod signals;
mod stores;

use appliance::config;
use clap::Parser;
use cli::Arguments;
use config::Config;
use pool::Pool;
use running::Running;
use signals::Event;
use std::ffi::OsString;
use std::io::{self, Write};
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("basaltd: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let config = configuration(arguments)?;
    if arguments.check {
        say("the configuration is valid\n");
        return Ok(ExitCode::SUCCESS);
    }
    logging::begin(&config.log)?;
    logging::abort_on_panic();
    let events = signals::begin().map_err(|error| format!("signals: {error}"))?;
    machine::require_io_uring()?;
    machine::raise_open_files();

    let pool = Pool::open(&config.pool.path)?;
    // Connections wait in the socket while the log is replayed, instead of being refused.
    let (listener, listen) = listen(&config)?;
    let running = Arc::new(Running::default());
    let admin = admin::begin(config.admin.listen.0, running.observer())?;
    let resolver = running.start(&config, &pool, listener)?;
    let portmapper = portmapper::begin(config.portmap.mode, listen)?;

    let places = announce::Places { listen, admin, portmapper: &portmapper };
    say(&announce::message(&config, &places));
    tracing::info!(%listen, %admin, portmapper = portmapper.describe(), "serving");
    notify::ready();
    serve(arguments, &config, &events, |next| running.reload(next, &resolver));

    tracing::info!("stopping");
    notify::stopping();
    running::end_after(config.server.stop_timeout.0);
    portmapper.end();
    let stopped = running.stop();
    pool.forget_memory()?;
    stopped?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// From the file, or from the flags; the environment may set single keys of either.
fn configuration(arguments: &Arguments) -> Result<Config, String> {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let variables: Vec<(String, String)> = std::env::vars_os().filter_map(text).collect();
    if let Some(file) = &arguments.config {
        return config::read(file, &variables).map_err(|error| error.to_string());
    }
    let (pool, share) = arguments.pool_and_share().ok_or("either --config, or --pool and --share are needed")?;
    let base = config::from_environment(&variables).map_err(|error| error.to_string())?;
    let config = arguments.without_file(base, pool, share, rustix::process::geteuid().is_root());
    config.check()?;
    Ok(config)
}

/// The socket that clients come to, and its address with the port that was taken.
fn listen(config: &Config) -> Result<(TcpListener, std::net::SocketAddr), String> {
    let address = machine::listen_address(config);
    let failed = |error: io::Error| format!("server.listen {address}: {error}");
    let listener = TcpListener::bind(address).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Serves until it is asked to stop. SIGHUP reads the configuration again.
fn serve(
    arguments: &Arguments,
    config: &Config,
    events: &Receiver<Event>,
    reload: impl Fn(&Config) -> Result<(), String>,
) {
    while let Ok(Event::Reload) = events.recv() {
        let outcome = configuration(arguments).and_then(|next| {
            reload(&next)?;
            if !config.differs_in_clients_alone(&next) {
                tracing::warn!("more than the clients of the shares has changed: that needs a restart");
            }
            Ok(())
        });
        match outcome {
            Ok(()) => tracing::info!("the clients of the shares were read again"),
            Err(why) => tracing::error!(why, "the configuration was not read again"),
        }
    }
}

/// Tells the operator. A closed standard output does not matter to a daemon.
fn say(text: &str) {
    let mut output = io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}
