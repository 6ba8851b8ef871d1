#![forbid(unsafe_code)]
mod admin;
mod announce;
mod cli;
mod config;
mod logging;
mod machine;
mod metrics;
mod notify;
mod observe;
mod pool;
mod portmapper;
mod shares;
mod signals;
fn main() {}
