//! Signals as events for `main`: stop (SIGTERM, SIGINT), read the shares again (SIGHUP). A second stop ends the process
//! at once.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// What `main` is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// End cleanly.
    Stop,
    /// Read the clients of the shares again.
    Reload,
}

/// Exit status of a forced end.
pub(crate) const FORCED: i32 = 1;

/// Begins to listen for signals. First thing at start: a signal during recovery must not be lost.
pub(crate) fn begin() -> io::Result<Receiver<Event>> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let (tell, told) = channel();
    thread::Builder::new().name("signals".into()).spawn(move || {
        let mut stopping = false;
        for signal in signals.forever() {
            match signal {
                // Nobody listens any more when main is stopping.
                SIGHUP => _ = tell.send(Event::Reload),
                _ if stopping => {
                    tracing::warn!("ended at once by a second signal");
                    std::process::exit(FORCED);
                }
                _ => {
                    stopping = true;
                    _ = tell.send(Event::Stop);
                }
            }
        }
    })?;
    Ok(told)
}
