//! The daemon as its users meet it: started as a program, asked over sockets, ended by signals.

#![cfg(test)]

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use wire::mount::{self, Dirpath, MountResult, Mountres3};
use wire::nfs3;
use wire::record::{self, Step};
use wire::rpc::{AuthSys, CallHeader, OpaqueAuth, ReplyHeader};
use wire::xdr::{Array, Opaque};
use wire::{Encode, Reader, Writer};

/// Longest time that anything here waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running basaltd; killed when dropped.
struct Daemon {
    child: Child,
    nfs: SocketAddr,
    admin: SocketAddr,
    message: String,
}

impl Daemon {
    /// Starts it and reads its start message to the end.
    fn start(arguments: &[&str]) -> Daemon {
        let mut child = basaltd(arguments).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut message = String::new();
        for line in BufReader::new(stdout).lines() {
            message.push_str(&line.unwrap());
            message.push('\n');
            if message.contains("mount -t nfs") {
                break;
            }
        }
        let nfs = after(&message, "NFS and MOUNT  ").parse().unwrap_or_else(|_| panic!("no address in:\n{message}"));
        let admin = after(&message, "http://").split('/').next().unwrap().parse().unwrap();
        Daemon { child, nfs, admin, message }
    }

    /// On a pool of its own, as an ordinary user would try it.
    fn try_out(pool: &Path) -> Daemon {
        let pool = pool.to_str().unwrap();
        Daemon::start(&["--pool", pool, "--share", "/try", "--listen", "127.0.0.1:0", "--memory", "128MiB"])
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The first line of an HTTP answer and its body.
    fn http(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    fn client(&self) -> Client {
        let stream = TcpStream::connect(self.nfs).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream, xid: 100 }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The rest of the line after `mark`.
fn after<'a>(text: &'a str, mark: &str) -> &'a str {
    let rest = text.split_once(mark).unwrap_or_else(|| panic!("'{mark}' is missing in:\n{text}")).1;
    rest.split_whitespace().next().unwrap()
}

fn basaltd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_basaltd"));
    command.args(arguments).stdin(Stdio::null()).env_remove("NOTIFY_SOCKET");
    // The machine may have a portmapper of its own, which tests leave alone.
    command.env("BASALT_PORTMAP_MODE", "off");
    command
}

fn output(arguments: &[&str]) -> Output {
    basaltd(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An RPC client on one connection, acting as the superuser.
struct Client {
    stream: TcpStream,
    xid: u32,
}

impl Client {
    /// The results of a call that has to be accepted.
    fn call(&mut self, program: u32, version: u32, procedure: u32, arguments: &impl Encode) -> Vec<u8> {
        self.xid += 1;
        let mut scratch = Vec::new();
        let machinename = Opaque::new(b"tester").unwrap();
        let sys = AuthSys { stamp: 1, machinename, uid: 0, gid: 0, gids: Array::new(&[]).unwrap() };
        let cred = OpaqueAuth::sys(&mut scratch, &sys).unwrap();
        let mut bytes = Vec::new();
        let mut w = Writer::new(&mut bytes);
        let mark = record::begin(&mut w);
        w.encode(&CallHeader { xid: self.xid, program, version, procedure, cred, verf: OpaqueAuth::NONE });
        w.encode(arguments);
        record::finish(&mut w, mark, 0);
        self.stream.write_all(&bytes).unwrap();
        let mut received = Vec::new();
        loop {
            if let Step::Record { body, .. } = record::next_record(&mut received, 1 << 20).unwrap() {
                let mut reader = Reader::new(&received[body]);
                let header: ReplyHeader<'_> = reader.decode().unwrap();
                assert!(header.is_success(), "{header:?}");
                assert_eq!(header.xid, self.xid);
                return reader.rest().to_vec();
            }
            let mut part = [0; 4096];
            let bytes = self.stream.read(&mut part).unwrap();
            assert!(bytes > 0, "the connection was closed");
            received.extend_from_slice(&part[..bytes]);
        }
    }

    /// The handle of a path, or the status.
    fn mnt(&mut self, path: &str) -> Result<Vec<u8>, mount::Mountstat3> {
        let path = Dirpath::new(path.as_bytes()).unwrap();
        let results = self.call(mount::PROGRAM, mount::VERSION_3, mount::Procedure::Mnt as u32, &path);
        match wire::xdr::decode_all::<Mountres3<'_>>(&results).unwrap() {
            MountResult::Ok(body) => Ok(body.fhandle.to_vec()),
            MountResult::Fail(status) => Err(status),
        }
    }

    /// Makes a directory; its status.
    fn mkdir(&mut self, dir: &[u8], name: &str) -> u32 {
        let mut arguments = Vec::new();
        let mut w = Writer::new(&mut arguments);
        w.opaque(dir);
        w.opaque(name.as_bytes());
        // sattr3: mode 0755, nothing else (RFC 1813 2.5.3).
        for word in [1, 0o755, 0, 0, 0, 0, 0] {
            w.u32(word);
        }
        let results = self.call(nfs3::PROGRAM, nfs3::VERSION, 9, &Raw(&arguments));
        u32::from_be_bytes(results[..4].try_into().unwrap())
    }
}

struct Raw<'a>(&'a [u8]);

impl Encode for Raw<'_> {
    fn encode(&self, w: &mut Writer<'_>) {
        w.raw(self.0);
    }
}

#[test]
fn help_and_version_are_told_and_wrong_flags_are_refused() {
    let help = output(&["--help"]);
    assert!(help.status.success());
    assert!(text(&help.stdout).contains("basaltd --pool /tmp/pool --share /try"));
    assert!(text(&output(&["--version"]).stdout).starts_with("basaltd "));
    let wrong = output(&["--pool"]);
    assert_eq!(wrong.status.code(), Some(2));
    let nothing = output(&[]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(text(&nothing.stderr).contains("--config"));
}

#[test]
fn check_tells_a_good_configuration_from_a_bad_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("basalt.toml");
    let check = || output(&["--config", file.to_str().unwrap(), "--check"]);
    std::fs::write(&file, "[[share]]\nname = '/a'\nclients = [{ who = '*', access = 'rw' }]\n").unwrap();
    let good = check();
    assert!(good.status.success(), "{}", text(&good.stderr));
    std::fs::write(&file, "[server]\nlisen = '0.0.0.0:2049'\n").unwrap();
    let bad = check();
    assert_eq!(bad.status.code(), Some(1));
    let error = text(&bad.stderr);
    assert!(error.contains("line 2") && error.contains("lisen") && error.contains("basalt.toml"), "{error}");
    let missing = output(&["--config", "/nonexistent/basalt.toml", "--check"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("/nonexistent/basalt.toml"));
}

#[test]
fn a_share_is_served_and_is_still_there_after_a_clean_stop() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::try_out(folder.path());
    let port = daemon.nfs.port();
    let command = format!("mount -t nfs -o vers=3,proto=tcp,port={port},mountport={port},nolock 127.0.0.1:/try /mnt");
    assert!(daemon.message.contains(&command), "{}", daemon.message);
    let mut client = daemon.client();
    client.call(nfs3::PROGRAM, nfs3::VERSION, 0, &());
    let root = client.mnt("/try").unwrap();
    assert_eq!(client.mkdir(&root, "made"), 0);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0));

    let daemon = Daemon::try_out(folder.path());
    let mut client = daemon.client();
    assert_eq!(client.mnt("/try").unwrap(), root, "a handle outlives a restart");
    assert_eq!(client.mkdir(&root, "made"), nfs3::Nfsstat3::Exist as u32);
}

#[test]
fn what_was_acknowledged_outlives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::try_out(folder.path());
    let mut client = daemon.client();
    let root = client.mnt("/try").unwrap();
    assert_eq!(client.mkdir(&root, "made"), 0);
    daemon.signal(Signal::KILL);
    daemon.wait();
    let daemon = Daemon::try_out(folder.path());
    assert_eq!(daemon.client().mkdir(&root, "made"), nfs3::Nfsstat3::Exist as u32);
}

#[test]
fn mount_answers_for_shares_and_directories_in_them_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::try_out(folder.path());
    let mut client = daemon.client();
    let root = client.mnt("/try").unwrap();
    assert_eq!(client.mkdir(&root, "inner"), 0);
    assert_eq!(client.mnt("/try/"), Ok(root.clone()));
    let inner = client.mnt("/try/inner").unwrap();
    assert_ne!(inner, root);
    assert_eq!(client.mkdir(&inner, "below"), 0);
    assert_eq!(client.mnt("/try//inner/below/.."), Err(mount::Mountstat3::Inval));
    assert_eq!(client.mnt("/try/none"), Err(mount::Mountstat3::Noent));
    assert_eq!(client.mnt("/other"), Err(mount::Mountstat3::Noent));
    assert_eq!(client.mnt("/tryout"), Err(mount::Mountstat3::Noent));

    let mounted = |client: &mut Client| {
        let results = client.call(mount::PROGRAM, mount::VERSION_3, mount::Procedure::Dump as u32, &());
        let list: mount::Mountlist<'_> = wire::xdr::decode_all(&results).unwrap();
        list.iter().map(|entry| text(&entry.ml_directory)).collect::<Vec<_>>()
    };
    assert_eq!(mounted(&mut client), ["/try", "/try/inner"]);
    let path = Dirpath::new(b"/try/inner").unwrap();
    client.call(mount::PROGRAM, mount::VERSION_3, mount::Procedure::Umnt as u32, &path);
    assert_eq!(mounted(&mut client), ["/try"]);
    client.call(mount::PROGRAM, mount::VERSION_3, mount::Procedure::Umntall as u32, &());
    assert!(mounted(&mut client).is_empty());

    for version in [mount::VERSION_1, mount::VERSION_3] {
        let results = client.call(mount::PROGRAM, version, mount::Procedure::Export as u32, &());
        let list: mount::Exports<'_> = wire::xdr::decode_all(&results).unwrap();
        let shares: Vec<_> = list.iter().map(|node| text(&node.ex_dir)).collect();
        assert_eq!(shares, ["/try"]);
    }
}

#[test]
fn a_client_that_is_not_listed_is_denied_and_a_reload_changes_that() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("basalt.toml");
    let pool = folder.path().join("pool");
    let write = |who: &str| {
        let text = format!(
            "[server]\nlisten = '127.0.0.1:0'\nmemory = '128MiB'\n[admin]\nlisten = '127.0.0.1:0'\n\
             [pool]\npath = '{}'\n[[share]]\nname = '/a'\nstore = 'memory'\nsize = '128MiB'\n\
             clients = [{{ who = '{who}', access = 'rw', squash = 'none' }}]\n",
            pool.display()
        );
        std::fs::write(&file, text).unwrap();
    };
    write("192.0.2.0/24");
    let mut daemon = Daemon::start(&["--config", file.to_str().unwrap()]);
    let mut client = daemon.client();
    assert_eq!(client.mnt("/a"), Err(mount::Mountstat3::Acces));
    write("127.0.0.1");
    daemon.signal(Signal::HUP);
    let began = Instant::now();
    while client.mnt("/a").is_err() {
        assert!(began.elapsed() < PATIENCE, "the reload has no effect");
        std::thread::sleep(Duration::from_millis(10));
    }
    let root = client.mnt("/a").unwrap();
    assert_eq!(client.mkdir(&root, "x"), 0);
    write("192.0.2.0/24");
    daemon.signal(Signal::HUP);
    while client.mkdir(&root, "y") != nfs3::Nfsstat3::Acces as u32 {
        assert!(began.elapsed() < PATIENCE, "the reload has no effect");
        std::thread::sleep(Duration::from_millis(10));
    }
    daemon.signal(Signal::INT);
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(!pool.join("a").exists(), "a share in memory leaves nothing in the pool");
}

#[test]
fn a_second_daemon_on_the_same_pool_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _daemon = Daemon::try_out(folder.path());
    let pool = folder.path().to_str().unwrap();
    let second = output(&["--pool", pool, "--share", "/try", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("in use by another basaltd"), "{}", text(&second.stderr));
}

#[test]
fn a_taken_port_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let pool = folder.path().to_str().unwrap();
    let refused = output(&["--pool", pool, "--share", "/try", "--listen", &address]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains(&address), "{}", text(&refused.stderr));
}

#[test]
fn health_and_metrics_tell_of_the_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::try_out(folder.path());
    daemon.client().mnt("/try").unwrap();
    assert!(daemon.http("/health").0.contains(" 200 "));
    assert!(daemon.http("/health/ready").0.contains(" 200 "));
    let (_, stores) = daemon.http("/health/stores");
    assert!(stores.contains("\"share\":\"/try\",\"store\":\"disk\",\"state\":\"ok\""), "{stores}");
    let (_, metrics) = daemon.http("/metrics");
    assert!(metrics.contains("basalt_calls_total{program=\"mount3\",procedure=\"MNT\"} 1"), "{metrics}");
    assert!(metrics.contains("basalt_connections 0") || metrics.contains("basalt_connections 1"));
}

#[test]
fn systemd_is_told_when_shares_answer_and_when_a_stop_begins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let pool = folder.path().join("pool");
    let mut command = basaltd(&["--pool", pool.to_str().unwrap(), "--share", "/try", "--listen", "127.0.0.1:0"]);
    let child = command.env("NOTIFY_SOCKET", &path).stdout(Stdio::null()).spawn().unwrap();
    let nowhere = "127.0.0.1:0".parse().unwrap();
    let mut daemon = Daemon { child, nfs: nowhere, admin: nowhere, message: String::new() };
    let told = || {
        let mut state = [0; 256];
        let bytes = socket.recv(&mut state).unwrap();
        text(&state[..bytes])
    };
    assert!(told().starts_with("READY=1\n"));
    daemon.signal(Signal::TERM);
    assert!(told().starts_with("STOPPING=1\n"));
    assert_eq!(daemon.wait().code(), Some(0));
}
