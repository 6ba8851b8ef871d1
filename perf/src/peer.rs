//! A server to be measured, described by a small file: how it is started, what it needs, what it promises.
//! Callers: `compare` and `smoke`. A peer ends with its value, by its own process id.

use crate::client::{self, Client};
use crate::failure::{Failure, Outcome, While};
use crate::site::Address;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use wire::nfs3::Procedure;

/// The description of a server. Texts may name `{self}`, `{basaltd}`, `{data}`, `{state}`, `{port}`,
/// `{mount_port}`, `{admin_port}` and `{server_cores}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    pub(crate) name: String,
    /// In tables.
    pub(crate) title: String,
    /// What has to be on the disk before a reply is sent.
    pub(crate) durability: String,
    share: String,
    #[serde(default)]
    pub(crate) store: Store,
    #[serde(default)]
    pub(crate) needs_root: bool,
    /// Whether what is read can be what was written.
    #[serde(default = "yes")]
    pub(crate) verifiable: bool,
    #[serde(default)]
    mount_port: MountPort,
    /// Made before it starts.
    #[serde(default)]
    folders: Vec<String>,
    /// Written before it starts.
    #[serde(default)]
    files: Vec<ConfigFile>,
    /// Started once before it; they put themselves into the background.
    #[serde(default)]
    daemons: Vec<Vec<String>>,
    /// Stays in the foreground.
    command: Vec<String>,
}

/// Where a server's files lie.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Store {
    None,
    #[default]
    Folder,
    /// A folder with the attributes S and D, which are to it what the mount options sync and dirsync are to a
    /// file system (chattr(1)); everything made in it inherits them.
    Synchronous,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum MountPort {
    /// MOUNT and NFS on one port.
    #[default]
    Nfs,
    Own,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    path: String,
    text: String,
}

fn yes() -> bool {
    true
}

const BUILT_IN: [&str; 4] = [
    include_str!("../peers/floor.toml"),
    include_str!("../peers/basalt.toml"),
    include_str!("../peers/ganesha.toml"),
    include_str!("../peers/ganesha-durable.toml"),
];

/// The descriptions that are built in, and those of these files.
pub(crate) fn descriptions(files: &[PathBuf]) -> Outcome<Vec<Description>> {
    let built_in = BUILT_IN.iter().map(|text| parse(text).during("a built-in description"));
    let further = files.iter().map(|path| {
        fs::read_to_string(path).map_err(Failure::from).and_then(|text| parse(&text)).during(path.display())
    });
    built_in.chain(further).collect()
}

fn parse(text: &str) -> Outcome<Description> {
    toml::from_str(text).map_err(|error| Failure::said(error.to_string()))
}

/// Where servers run.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    /// Each peer has a folder in it.
    pub(crate) store: PathBuf,
    pub(crate) basaltd: PathBuf,
    /// Pins servers; none leaves them where they like.
    pub(crate) server_cores: Option<String>,
}

/// A server that runs.
pub(crate) struct Peer {
    child: Child,
    pub(crate) address: Address,
    log: PathBuf,
}

const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(30);
const LOG_LINES_MAX: usize = 20;

impl Description {
    /// Whether the programs that it names are there.
    pub(crate) fn is_installed(&self, ground: &Ground) -> bool {
        match self.command.first().map(String::as_str) {
            Some("{basaltd}") => ground.basaltd.is_file(),
            Some("{self}") => true,
            Some(program) => find(program),
            None => false,
        }
    }

    /// Starts it on what it kept, and waits until it answers.
    pub(crate) fn start(&self, ground: &Ground) -> Outcome<Peer> {
        let fills = self.fills(ground)?;
        self.make_ready(&fills)?;
        for daemon in &self.daemons {
            run_daemon(daemon)?;
        }
        let words: Vec<_> = self.command.iter().map(|word| fills.apply(word)).collect();
        let log = fills.state.join("output");
        let output = File::create(&log).during(log.display())?;
        let mut command = pinned(&words, ground.server_cores.as_deref())?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().during(&words[0])?;
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mount = local(if self.mount_port == MountPort::Own { fills.mount_port } else { fills.port });
        let address = Address { nfs: local(fills.port), mount, share: self.share.clone() };
        let mut peer = Peer { child, address, log };
        peer.wait_until_it_answers()?;
        Ok(peer)
    }

    /// Removes what it kept.
    pub(crate) fn wipe(&self, ground: &Ground) -> Outcome<()> {
        match fs::remove_dir_all(ground.store.join(&self.name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn make_ready(&self, fills: &Fills) -> Outcome<()> {
        fs::create_dir_all(&fills.state)?;
        if !fills.data.exists() {
            fs::create_dir_all(&fills.data)?;
            if self.store == Store::Synchronous {
                let done = Command::new("chattr").arg("+SD").arg(&fills.data).status().during("chattr")?;
                if !done.success() {
                    return Err(Failure::said("the file system knows no synchronous folders (chattr +SD)"));
                }
            }
        }
        for folder in &self.folders {
            fs::create_dir_all(fills.apply(folder))?;
        }
        for file in &self.files {
            fs::write(fills.apply(&file.path), fills.apply(&file.text))?;
        }
        Ok(())
    }

    fn fills(&self, ground: &Ground) -> Outcome<Fills> {
        let home = ground.store.join(&self.name);
        Ok(Fills {
            program: std::env::current_exe()?,
            basaltd: ground.basaltd.clone(),
            data: home.join("data"),
            state: home.join("state"),
            port: free_port()?,
            mount_port: free_port()?,
            admin_port: free_port()?,
            server_cores: ground.server_cores.clone().unwrap_or("0".to_string()),
        })
    }
}

/// What stands for the names in braces.
struct Fills {
    program: PathBuf,
    basaltd: PathBuf,
    data: PathBuf,
    state: PathBuf,
    port: u16,
    mount_port: u16,
    admin_port: u16,
    server_cores: String,
}

impl Fills {
    fn apply(&self, text: &str) -> String {
        text.replace("{self}", &self.program.display().to_string())
            .replace("{basaltd}", &self.basaltd.display().to_string())
            .replace("{data}", &self.data.display().to_string())
            .replace("{state}", &self.state.display().to_string())
            .replace("{port}", &self.port.to_string())
            .replace("{mount_port}", &self.mount_port.to_string())
            .replace("{admin_port}", &self.admin_port.to_string())
            .replace("{server_cores}", &self.server_cores)
    }
}

impl Peer {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) -> Outcome<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            if asked.elapsed() > STOP_MAX {
                return Err(Failure::Said(format!("it had not ended after {STOP_MAX:?}:\n{}", self.last_words())));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The end of what it wrote.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
    }

    fn wait_until_it_answers(&mut self) -> Outcome<()> {
        let began = Instant::now();
        loop {
            let answer = Client::nfs3(self.address.nfs).and_then(|mut client| client.ask::<()>(Procedure::Null, &()));
            // Its programs may come one after the other.
            let mounted = answer.and_then(|()| client::mount(self.address.mount, &self.address.share).map(drop));
            let Err(failure) = mounted else { return Ok(()) };
            if let Some(status) = self.child.try_wait()? {
                return Err(Failure::Said(format!("it ended with {status}:\n{}", self.last_words())));
            }
            if began.elapsed() > START_MAX {
                return Err(Failure::Said(format!("no answer after {START_MAX:?}: {failure}\n{}", self.last_words())));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that stays on some cores with all its threads.
fn pinned(words: &[String], cores: Option<&str>) -> Outcome<Command> {
    let Some((program, arguments)) = words.split_first() else { return Err(Failure::said("the command is empty")) };
    let mut command = match cores {
        Some(cores) => {
            let mut command = Command::new("taskset");
            // taskset replaces itself by the program: the process id is the server's.
            command.args(["-c", cores]).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.args(arguments);
    Ok(command)
}

/// Starts a daemon unless one of that name runs here already.
fn run_daemon(words: &[String]) -> Outcome<()> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    if is_running(program)? {
        return Ok(());
    }
    let done = Command::new(program).args(arguments).status().during(program)?;
    match done.success() {
        true => Ok(()),
        false => Err(Failure::Said(format!("{program} does not start"))),
    }
}

fn is_running(program: &str) -> Outcome<bool> {
    for entry in fs::read_dir("/proc")? {
        let name = fs::read_to_string(entry?.path().join("comm")).unwrap_or_default();
        if name.trim_end() == program {
            return Ok(true);
        }
    }
    Ok(false)
}

fn find(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// A port that was free a moment ago.
fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The daemon beside this program.
pub(crate) fn beside_us(name: &str) -> Outcome<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.parent().unwrap_or(Path::new("/")).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_descriptions_are_right() {
        let names: Vec<_> = descriptions(&[]).unwrap().into_iter().map(|peer| peer.name).collect();
        assert_eq!(names, ["floor", "basalt", "ganesha", "ganesha-durable"]);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let text = format!("{}\nspeed = 3\n", BUILT_IN[0]);
        assert!(parse(&text).unwrap_err().to_string().contains("speed"));
    }

    #[test]
    fn no_brace_is_left_in_a_command() {
        let store = tempfile::tempdir().unwrap();
        let basaltd = PathBuf::from("/bin/basaltd");
        let ground = Ground { store: store.path().to_path_buf(), basaltd, server_cores: None };
        for peer in descriptions(&[]).unwrap() {
            let fills = peer.fills(&ground).unwrap();
            for word in &peer.command {
                assert!(!fills.apply(word).contains(['{', '}']), "{word}");
            }
        }
    }
}
