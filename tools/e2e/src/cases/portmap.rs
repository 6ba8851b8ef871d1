//! What a client finds without being told a port: rpcinfo and showmount against the daemon's own port mapper, and
//! against an rpcbind that ran before it.

use crate::failure::{Failure, Outcome, ensure};
use crate::guest::Mount;
use crate::lab::Lab;
use crate::server::Server;
use std::process::Command;

pub(crate) fn run(lab: &Lab) -> Outcome {
    let mut server = Server::start(lab, &lab.folder("pool")?)?;
    registered(true, &["100000"])?;
    shown(lab, &server)?;
    server.stop()?;
    ensure!(ask("rpcinfo", &["-p", "127.0.0.1"]).is_err(), "something still answers on port 111");

    ensure!(Command::new("rpcbind").arg("-w").status()?.success(), "rpcbind does not start");
    server.start_again()?;
    registered(true, &[])?;
    shown(lab, &server)?;
    server.stop()?;
    registered(false, &[])?;
    server.verify()?;
    Ok("own port mapper and rpcbind".to_string())
}

/// Whether `rpcinfo -p` has NFS 3 and MOUNT 1 and 3 over TCP on the one port; and `further` programs.
fn registered(wanted: bool, further: &[&str]) -> Result<(), Failure> {
    let text = ask("rpcinfo", &["-p", "127.0.0.1"])?;
    let rows: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().take(4).collect()).collect();
    for row in [["100003", "3", "tcp", "2049"], ["100005", "1", "tcp", "2049"], ["100005", "3", "tcp", "2049"]] {
        ensure!(rows.iter().any(|one| *one == row) == wanted, "{row:?} wanted: {wanted}, but rpcinfo -p says\n{text}");
    }
    let udp = rows.iter().any(|row| row[0] == "100003" && row.get(2) == Some(&"udp"));
    ensure!(!udp, "NFS over UDP is announced and not there:\n{text}");
    for program in further {
        ensure!(rows.iter().any(|row| row[0] == *program), "no {program} in\n{text}");
    }
    Ok(())
}

/// `showmount -e` names the share; a guest mounts without being told a port; `showmount -a` knows it while it does.
fn shown(lab: &Lab, server: &Server) -> Result<(), Failure> {
    let exports = ask("showmount", &["-e", "--no-headers", "127.0.0.1"])?;
    let share = exports.lines().find(|line| line.starts_with("/share "));
    ensure!(share.is_some_and(|line| line.contains("10.99.0.0/16")), "showmount -e: {exports:?}");
    let script = "showmount -a --no-headers server; echo; umount /mnt; showmount -a --no-headers server; mount -o nolock server:/share /mnt";
    let guest = Mount::of(lab, server, "showmount").ports_unknown();
    let text = guest.shell(&format!("cd /; {script}"))?;
    let (mounted, unmounted) = text.split_once("\n\n").ok_or_else(|| Failure::new(text.clone()))?;
    ensure!(mounted.contains(":/share"), "showmount -a while mounted: {mounted:?}");
    ensure!(!unmounted.contains(":/share"), "showmount -a after the unmount: {unmounted:?}");
    Ok(())
}

fn ask(program: &str, arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new(program).args(arguments).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}
