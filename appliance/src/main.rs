#![forbid(unsafe_code)]
mod cli;
mod config;
mod logging;
mod machine;
mod notify;
mod pool;
mod portmapper;
mod shares;
fn main() {}
