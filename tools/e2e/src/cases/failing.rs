//! A disk that fails under a running server: what needs the disk gets an error from then on, never success; what was
//! acknowledged before is there after disk and server are started again, under a new verifier.

use crate::client::{Client, status_name};
use crate::disk::Disk;
use crate::failure::{Failure, Outcome, While, ensure};
use crate::lab::Lab;
use crate::server::Server;
use wire::nfs3::{FileHandleBuf, Nfsstat3, StableHow};

pub(crate) fn run(lab: &Lab) -> Outcome {
    let disk = Disk::make(lab, "disk", "xfs", DISK_BYTES)?;
    let mut server = Server::start(lab, &disk.folder("pool")?)?;
    let place = server.place().clone();
    let mut client = Client::new(server.address(), 1);
    let root = client.root(place.mountport, &place.share)?;
    let file = client.create(root, "file", 0o644)?;
    let before = client.write(file, 0, KEPT, StableHow::FileSync)?.map_err(status_name).during("WRITE")?;
    let unstable = client.write(file, 4096, b"lost or not", StableHow::Unstable)?;
    unstable.map_err(status_name).during("WRITE unstable")?;

    disk.cut_power()?;
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(refused(client.commit(file).map(|reply| reply.map(drop))).during("COMMIT")?);
        let write = client.write(file, 0, b"never", StableHow::FileSync).map(|reply| reply.map(drop));
        answers.push(refused(write).during("WRITE")?);
        answers.push(refused(create(&mut client, root)).during("CREATE")?);
    }

    server.kill_anyhow()?;
    disk.unmount()?;
    disk.mount()?;
    server.verify()?;
    server.start_again()?;
    client.disconnect();
    let after = client.commit(file)?.map_err(status_name).during("COMMIT after the restart")?;
    ensure!(after != before, "the verifier is the same after the disk had failed");
    ensure!(client.read(file, 0, KEPT.len() as u32)? == KEPT, "acknowledged data is gone");
    ensure!(client.lookup(root, "new").is_err(), "a refused CREATE took effect");
    server.stop()?;
    server.verify()?;
    answers.sort();
    answers.dedup();
    Ok(format!("answers of the failing server: {}", answers.join(", ")))
}

fn create(client: &mut Client, root: FileHandleBuf) -> Result<Result<(), u32>, Failure> {
    use wire::nfs3::*;
    let location = Diropargs3 { dir: root.handle(), name: Filename::new(b"new").during("name")? };
    let how = Createhow3::Guarded(Sattr3::default());
    let status = client.nfs(Procedure::Create, &CreateArgs { location, how })?.status()?;
    Ok(if status == NFS3_OK { Ok(()) } else { Err(status) })
}

/// An error, or no server any more: both are honest.
fn refused(outcome: Result<Result<(), u32>, Failure>) -> Result<String, Failure> {
    let Ok(answer) = outcome else { return Ok("no answer".to_string()) };
    let allowed = [Nfsstat3::Io, Nfsstat3::Rofs, Nfsstat3::Serverfault];
    match answer {
        Err(status) if allowed.iter().any(|one| *one as u32 == status) => Ok(status_name(status)),
        other => Err(Failure::new(format!("{:?} from a server whose disk had failed", other.map_err(status_name)))),
    }
}

const DISK_BYTES: u64 = 2 << 30;
const KEPT: &[u8] = b"acknowledged as stable";
