//! How clients find the port without being told: a portmapper of our own on port 111, or registration with the rpcbind
//! that runs on this machine, or neither.
//!
//! Caller: `main`, after the shares answer and before they stop. Control plane: its own threads, plain sockets.

mod builtin;
mod rpcbind;

use crate::config::PortmapMode;
use builtin::Builtin;
use rpcbind::{Rpcbind, Where};
use shard::portmap::{Netid, Registration, Registry};
use std::net::SocketAddr;
use wire::{mount, nfs3};

/// What was arranged.
pub(crate) enum Portmapper {
    /// Answers on port 111.
    Builtin(Builtin),
    /// Registered elsewhere.
    Registered(Rpcbind),
    /// Clients have to name the ports. Why, for the log.
    Neither(String),
}

/// Arranges what `mode` asks for, for a server that listens on `listen`. Fails when it insists on what cannot be had.
pub(crate) fn begin(mode: PortmapMode, listen: SocketAddr) -> Result<Portmapper, String> {
    match mode {
        PortmapMode::Off => Ok(Portmapper::Neither("portmap.mode is off".into())),
        PortmapMode::Builtin => Ok(Portmapper::Builtin(builtin(listen)?)),
        PortmapMode::Register => Ok(Portmapper::Registered(register(listen)?)),
        PortmapMode::Auto => Ok(automatic(listen)),
    }
}

impl Portmapper {
    /// Takes the registrations back. The built-in one ends with the process.
    pub(crate) fn end(self) {
        if let Portmapper::Registered(rpcbind) = self {
            rpcbind.unregister();
        }
    }

    /// Whether clients can find the port by themselves.
    pub(crate) fn is_there(&self) -> bool {
        !matches!(self, Portmapper::Neither(_))
    }

    /// For the log.
    pub(crate) fn describe(&self) -> String {
        match self {
            Portmapper::Builtin(builtin) => format!("built in, on {}", builtin.address()),
            Portmapper::Registered(rpcbind) => format!("registered with {rpcbind}"),
            Portmapper::Neither(why) => format!("none ({why})"),
        }
    }
}

fn automatic(listen: SocketAddr) -> Portmapper {
    let own = match builtin(listen) {
        Ok(builtin) => return Portmapper::Builtin(builtin),
        Err(why) => why,
    };
    match register(listen) {
        Ok(rpcbind) => Portmapper::Registered(rpcbind),
        Err(why) => Portmapper::Neither(format!("{own}; {why}")),
    }
}

fn builtin(listen: SocketAddr) -> Result<Builtin, String> {
    let address = SocketAddr::new(listen.ip(), wire::portmap::PORT);
    builtin::start(address, programs(listen)).map_err(|error| format!("portmapper on {address}: {error}"))
}

fn register(listen: SocketAddr) -> Result<Rpcbind, String> {
    let programs = programs(listen);
    rpcbind::register(Where::machine(), &programs).map_err(|error| format!("registration with rpcbind: {error}"))
}

/// What this server speaks on its one port.
fn programs(listen: SocketAddr) -> Vec<Registration> {
    let mut list = Registration::of_listener(nfs3::PROGRAM, &[nfs3::VERSION], listen, Netid::tcp);
    let versions = [mount::VERSION_1, mount::VERSION_3];
    list.extend(Registration::of_listener(mount::PROGRAM, &versions, listen, Netid::tcp));
    list
}

/// The portmapper's own entries and the server's.
fn registry(portmap: SocketAddr, programs: Vec<Registration>) -> Registry {
    let versions = [wire::portmap::VERSION_2, wire::portmap::VERSION_3, wire::portmap::VERSION_4];
    let mut list = Registration::of_listener(wire::portmap::PROGRAM, &versions, portmap, Netid::tcp);
    list.extend(Registration::of_listener(wire::portmap::PROGRAM, &versions, portmap, Netid::udp));
    list.extend(programs);
    Registry::new(list)
}
