//! A guest of kclient: a real Linux kernel with the share mounted by NFSv3 at `/mnt`, running one command.

use crate::failure::{Failure, While, ensure};
use crate::lab::Lab;
use crate::server::Server;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// How to mount, and what the guest may use. `Mount::of(..)`, then the changes, then `run` or `spawn`.
pub(crate) struct Mount<'a> {
    lab: &'a Lab,
    source: String,
    /// NFS and MOUNT; without them the client asks the port mapper.
    ports: Option<(u16, u16)>,
    options: String,
    memory: &'static str,
    writable: Vec<PathBuf>,
    limit_s: u32,
    id: Option<u8>,
    name: String,
}

/// A guest that runs by itself.
pub(crate) struct Running {
    child: Child,
    output: PathBuf,
    name: String,
}

impl<'a> Mount<'a> {
    pub(crate) fn of(lab: &'a Lab, server: &Server, name: &str) -> Mount<'a> {
        let place = server.place();
        Mount {
            lab,
            source: format!("server:{}", place.share),
            ports: Some((place.port, place.mountport)),
            options: place.options.to_string(),
            memory: "1G",
            writable: Vec::new(),
            limit_s: 1500,
            id: None,
            name: name.to_string(),
        }
    }

    /// Further mount options, comma-separated.
    pub(crate) fn options(mut self, options: &str) -> Mount<'a> {
        self.options = format!("{},{options}", self.options);
        self
    }

    /// The client's address is 10.99.0.(10 + `id`).
    pub(crate) fn id(mut self, id: u8) -> Mount<'a> {
        self.id = Some(id);
        self
    }

    /// The client finds the ports by itself.
    pub(crate) fn ports_unknown(mut self) -> Mount<'a> {
        self.ports = None;
        self
    }

    pub(crate) fn memory(mut self, memory: &'static str) -> Mount<'a> {
        self.memory = memory;
        self
    }

    /// A folder of the host that the guest may write.
    pub(crate) fn writable(mut self, folder: &Path) -> Mount<'a> {
        self.writable.push(folder.to_path_buf());
        self
    }

    pub(crate) fn limit_s(mut self, limit_s: u32) -> Mount<'a> {
        self.limit_s = limit_s;
        self
    }

    /// Runs a shell script in `/mnt` and waits; its output, both streams. Fails unless it ended with 0.
    pub(crate) fn shell(self, script: &str) -> Result<String, Failure> {
        self.spawn(&["bash", "-euc", script])?.finish()
    }

    pub(crate) fn spawn_agent(self, arguments: &[&str]) -> Result<Running, Failure> {
        let exe = std::env::current_exe()?;
        let exe = exe.to_str().ok_or_else(|| Failure::new("this program's path is not text"))?;
        let mut command = vec![exe, "agent"];
        command.extend(arguments);
        self.spawn(&command)
    }

    pub(crate) fn spawn(self, command: &[&str]) -> Result<Running, Failure> {
        let output = self.lab.path(&format!("guest-{}.out", self.name));
        let file = File::create(&output)?;
        let mut kclient = Command::new(&self.lab.kclient);
        kclient.args(["mount", "--vers", "3", "--mem", self.memory, "--opts", &self.options]);
        if let Some((port, mountport)) = self.ports {
            kclient.args(["--port", &port.to_string(), "--mountport", &mountport.to_string()]);
        }
        kclient.args(["--timeout", &self.limit_s.to_string()]);
        if let Some(id) = self.id {
            kclient.args(["--id", &id.to_string()]);
        }
        for folder in &self.writable {
            kclient.arg("--rw").arg(folder);
        }
        kclient.arg(&self.source).arg("--").args(command);
        kclient.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = kclient.spawn().during("kclient mount")?;
        Ok(Running { child, output, name: self.name })
    }
}

impl Running {
    /// Waits for the end of the command; its output. Fails unless it ended with 0.
    pub(crate) fn finish(mut self) -> Result<String, Failure> {
        let status = self.child.wait()?;
        let output = self.output()?;
        ensure!(status.success(), "guest {} ended with {status}:\n{}", self.name, tail(&output));
        Ok(output)
    }

    /// What the command has written so far.
    pub(crate) fn output(&self) -> Result<String, Failure> {
        Ok(String::from_utf8_lossy(&fs::read(&self.output)?).into_owned())
    }

    /// Fails when the command has ended before it should.
    pub(crate) fn still_runs(&mut self) -> Result<(), Failure> {
        if let Some(status) = self.child.try_wait()? {
            let output = self.output()?;
            crate::failure::fail!("guest {} ended early with {status}:\n{}", self.name, tail(&output));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The guest goes with its kclient; both are already gone after `finish`, and then the errors say so.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES_MAX)..].join("\n")
}

const TAIL_LINES_MAX: usize = 40;
