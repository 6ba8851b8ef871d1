//! The server under test: `basaltd` on a pool, or nfs-ganesha on a folder as the control. Started inside the lab,
//! killed, stopped and started again by its own process id alone.

use crate::failure::{Failure, While, ensure, fail};
use crate::lab::Lab;
use crate::{ServerKind, places};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Where a client finds the share.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) share: String,
    pub(crate) port: u16,
    pub(crate) mountport: u16,
    /// Mount options that this server needs.
    pub(crate) options: &'static str,
}

pub(crate) struct Server {
    kind: ServerKind,
    pool: PathBuf,
    state: PathBuf,
    place: Place,
    settings: Settings,
    /// Its configuration file, if flags are not enough.
    config: Option<PathBuf>,
    child: Option<Child>,
}

/// Memory of a server.
#[derive(Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) resident_bytes: u64,
    /// The part of it that is no file's: without the program, and without the pages of the ledger, which is mapped. The
    /// kernel takes back those whenever it needs memory.
    pub(crate) own_bytes: u64,
}

/// Environment of the daemon under test: its configuration's `BASALT_<SECTION>_<KEY>`.
pub(crate) type Settings = &'static [(&'static str, &'static str)];

impl Server {
    /// Starts it on `pool` and waits until it answers.
    pub(crate) fn start(lab: &Lab, pool: &Path) -> Result<Server, Failure> {
        Server::start_with(lab, pool, &[])
    }

    pub(crate) fn start_with(lab: &Lab, pool: &Path, settings: Settings) -> Result<Server, Failure> {
        let kind = lab.options.server;
        let state = lab.folder("server")?;
        let place = match kind {
            ServerKind::Basaltd => {
                Place { share: "/share".to_string(), port: 2049, mountport: 2049, options: "nolock" }
            }
            ServerKind::Ganesha => {
                prepare_ganesha(&state, pool)?;
                // Its SETACL answers with an error where there are no ACLs.
                Place { share: "/export".to_string(), port: 12049, mountport: 12050, options: "nolock,noacl" }
            }
        };
        let mut server = Server { kind, pool: pool.to_path_buf(), state, place, settings, config: None, child: None };
        server.start_again()?;
        Ok(server)
    }

    /// Starts basaltd with a configuration file of this text, whose first share is `share`.
    pub(crate) fn start_configured(lab: &Lab, pool: &Path, share: &str, text: &str) -> Result<Server, Failure> {
        let state = lab.folder("server")?;
        let config = state.join("basalt.toml");
        fs::write(&config, text)?;
        let place = Place { share: share.to_string(), port: 2049, mountport: 2049, options: "nolock" };
        let (kind, pool) = (ServerKind::Basaltd, pool.to_path_buf());
        let mut server = Server { kind, pool, state, place, settings: &[], config: Some(config), child: None };
        server.start_again()?;
        Ok(server)
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn pool(&self) -> &Path {
        &self.pool
    }

    /// Starts it on the same pool after `kill` or `stop`; the time until it answered.
    pub(crate) fn start_again(&mut self) -> Result<Duration, Failure> {
        assert!(self.child.is_none(), "the server runs already");
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = self.command()?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let began = Instant::now();
        self.child = Some(command.spawn().during("starting the server")?);
        while !answers(self.address()) {
            self.still_runs()?;
            ensure!(
                began.elapsed() < START_LIMIT,
                "the server does not answer after {START_LIMIT:?}:\n{}",
                self.log_tail()
            );
            sleep(Duration::from_millis(5));
        }
        Ok(began.elapsed())
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        self.still_runs()?;
        self.kill_anyhow()
    }

    /// SIGKILL, also when it has already ended by itself: its disk failed.
    pub(crate) fn kill_anyhow(&mut self) -> Result<(), Failure> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGTERM, and a clean end within the stated time.
    pub(crate) fn stop(&mut self) -> Result<Duration, Failure> {
        self.still_runs()?;
        let Some(mut child) = self.child.take() else { return Ok(Duration::ZERO) };
        let began = Instant::now();
        let pid = Pid::from_child(&child);
        kill_process(pid, Signal::TERM).during("SIGTERM")?;
        while began.elapsed() < STOP_LIMIT {
            if let Some(status) = child.try_wait()? {
                let clean = status.success() || self.kind == ServerKind::Ganesha;
                ensure!(clean, "the server ended with {status} on SIGTERM:\n{}", self.log_tail());
                return Ok(began.elapsed());
            }
            sleep(Duration::from_millis(5));
        }
        child.kill()?;
        child.wait()?;
        fail!("the server had not ended {STOP_LIMIT:?} after SIGTERM:\n{}", self.log_tail())
    }

    /// Fails when the server ended by itself.
    pub(crate) fn still_runs(&mut self) -> Result<(), Failure> {
        let Some(child) = self.child.as_mut() else { return Ok(()) };
        if let Some(status) = child.try_wait()? {
            self.child = None;
            fail!("the server ended by itself with {status}:\n{}", self.log_tail());
        }
        Ok(())
    }

    /// `basalt verify` on the pool of a server that does not run. Nothing to verify with the control.
    pub(crate) fn verify(&self) -> Result<(), Failure> {
        assert!(self.child.is_none(), "verify is offline");
        if self.kind == ServerKind::Ganesha {
            return Ok(());
        }
        let output = Command::new(places::sibling("basalt")?).arg("verify").arg(&self.pool).output()?;
        let text = [output.stdout, output.stderr].concat();
        ensure!(output.status.success(), "basalt verify: {}:\n{}", output.status, String::from_utf8_lossy(&text));
        Ok(())
    }

    /// Where the server listens, from inside the lab.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.place.port))
    }

    /// Memory of the running server.
    pub(crate) fn memory(&self) -> Result<Memory, Failure> {
        let status = fs::read_to_string(self.process()?.join("status"))?;
        let bytes = |which: &str| -> Result<u64, Failure> {
            let line = status.lines().find_map(|line| line.strip_prefix(which));
            let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
            kib.map(|kib| kib << 10).ok_or_else(|| Failure::new(format!("no {which} of the server")))
        };
        Ok(Memory { resident_bytes: bytes("VmRSS:")?, own_bytes: bytes("RssAnon:")? + bytes("RssShmem:")? })
    }

    /// How many files and sockets the running server has open.
    pub(crate) fn open_files(&self) -> Result<usize, Failure> {
        Ok(fs::read_dir(self.process()?.join("fd"))?.count())
    }

    /// What the kernel tells of the running server.
    fn process(&self) -> Result<PathBuf, Failure> {
        let child = self.child.as_ref().ok_or_else(|| Failure::new("the server does not run"))?;
        Ok(PathBuf::from(format!("/proc/{}", child.id())))
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.state.join("log")
    }

    pub(crate) fn log_tail(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
    }

    fn command(&self) -> Result<Command, Failure> {
        let mut command;
        match self.kind {
            ServerKind::Basaltd => {
                command = Command::new(places::sibling("basaltd")?);
                command.envs(self.settings.iter().copied());
                if let Some(config) = &self.config {
                    command.arg("--config").arg(config);
                    return Ok(command);
                }
                command.arg("--pool").arg(&self.pool).args(["--share", &self.place.share]);
                command.args(["--listen", "0.0.0.0:2049", "--admin", "127.0.0.1:2050", "--allow", "10.99.0.0/16"]);
            }
            ServerKind::Ganesha => {
                command = Command::new("ganesha.nfsd");
                command.args(["-F", "-L"]).arg(self.log()).arg("-f").arg(self.state.join("conf"));
                command.arg("-p").arg(self.state.join("pid"));
            }
        }
        Ok(command)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself, which the case has noticed if it cares.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether NFSv3 NULL gets an accepted answer: the server serves, it does not merely listen.
fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        // It may listen before it serves: asking again soon tells when it does.
        stream.set_read_timeout(Some(Duration::from_millis(250)))?;
        // Record mark; xid, CALL, RPC 2, program 100003, version 3, procedure 0, two empty AUTH_NONE (RFC 5531 9).
        let words: [u32; 11] = [0x8000_0028, 1, 0, 2, 100_003, 3, 0, 0, 0, 0, 0];
        stream.write_all(&words.map(u32::to_be_bytes).concat())?;
        let mut reply = [0u8; 28];
        stream.read_exact(&mut reply)?;
        Ok(reply[24..] == [0; 4])
    };
    ask().unwrap_or(false)
}

/// Ganesha needs a configuration, and the port mapper and status daemon beside it, in the lab.
fn prepare_ganesha(state: &Path, pool: &Path) -> Result<(), Failure> {
    for folder in ["recovery", "statd/sm", "statd/sm.bak"] {
        fs::create_dir_all(state.join(folder))?;
    }
    fs::create_dir_all("/run/ganesha")?;
    let config = GANESHA_CONFIG
        .replace("RECOVERY", &state.join("recovery").display().to_string())
        .replace("POOL", &pool.display().to_string());
    fs::write(state.join("conf"), config)?;
    ensure!(Command::new("rpcbind").arg("-w").status()?.success(), "rpcbind does not start");
    let statd = Command::new("rpc.statd").args(["--no-notify", "-P"]).arg(state.join("statd")).status()?;
    ensure!(statd.success(), "rpc.statd does not start");
    Ok(())
}

const GANESHA_CONFIG: &str = r#"
NFS_CORE_PARAM {
    NFS_Port = 12049; MNT_Port = 12050; NLM_Port = 12051;
    Enable_RQUOTA = false; Protocols = 3; mount_path_pseudo = true;
}
NFSv4 { Graceless = true; RecoveryBackend = fs; RecoveryRoot = "RECOVERY"; }
EXPORT {
    Export_Id = 1; Path = "POOL"; Pseudo = /export; Access_Type = RW; Squash = No_Root_Squash; SecType = sys;
    Protocols = 3; Transports = TCP; FSAL { Name = VFS; }
}
"#;

/// A server that does not answer by then will not.
const START_LIMIT: Duration = Duration::from_secs(30);
/// The stated time of a clean stop is shorter; this one allows for a busy machine.
const STOP_LIMIT: Duration = Duration::from_secs(20);
const LOG_LINES_MAX: usize = 30;
