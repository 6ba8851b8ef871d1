//! What a server promises between two of its lives: unstable data vanishes only together with its verifier, an
//! exclusive create is known again, a stale handle stays stale. And all sixteen groups count.

use crate::client::{Client, Identity, status_name};
use crate::failure::{Failure, Outcome, While, ensure, fail};
use crate::lab::Lab;
use crate::server::Server;
use crate::share::Raw;
use wire::nfs3::*;

pub(crate) fn run(lab: &Lab) -> Outcome {
    let mut server = lab.serve()?;
    let place = server.place().clone();
    let mut client = Client::new(server.address(), 1);
    let root = client.root(place.mountport, &place.share)?;
    let dir = Raw::worker_folder(&mut client, root, "promises")?;
    unstable_data(&mut server, &mut client, dir).during("unstable data")?;
    exclusive_create(&mut server, &mut client, dir).during("exclusive create")?;
    stale_handles(&mut server, &mut client, dir).during("stale handles")?;
    sixteen_groups(&mut client, dir).during("groups")?;
    server.stop()?;
    server.verify()?;
    Ok("kept".to_string())
}

fn unstable_data(server: &mut Server, client: &mut Client, dir: FileHandleBuf) -> Result<(), Failure> {
    let file = client.create(dir, "unstable", 0o644)?;
    let fill = |round: u8| vec![round + 1; 300_000];
    for round in 0..6_u8 {
        let offset = u64::from(round) * 300_000;
        let written = client.write(file, offset, &fill(round), StableHow::Unstable)?;
        let written = written.map_err(status_name).during("WRITE")?;
        let committed_before_kill = round % 2 == 0;
        if committed_before_kill {
            let committed = client.commit(file)?.map_err(status_name).during("COMMIT")?;
            ensure!(committed == written, "the verifier changed in one life of the server");
        }
        restart(server, client)?;
        let committed = client.commit(file)?.map_err(status_name).during("COMMIT after kill -9")?;
        let there = client.read(file, offset, 300_000)? == fill(round);
        let kept = there || (!committed_before_kill && committed != written);
        ensure!(kept, "round {round}: data is gone, verifier {written:?} before and {committed:?} after");
        if !there {
            let again = client.write(file, offset, &fill(round), StableHow::FileSync)?;
            again.map_err(status_name).during("WRITE again")?;
        }
    }
    for round in 0..6_u8 {
        let data = client.read(file, u64::from(round) * 300_000, 300_000)?;
        ensure!(data == fill(round), "round {round}'s data changed later");
    }
    Ok(())
}

fn exclusive_create(server: &mut Server, client: &mut Client, dir: FileHandleBuf) -> Result<(), Failure> {
    let name = Filename::new(b"exclusive").during("name")?;
    let location = Diropargs3 { dir: dir.handle(), name };
    let create = |client: &mut Client, verifier: u64| {
        let how = Createhow3::Exclusive(Createverf3(verifier.to_be_bytes()));
        client.nfs(Procedure::Create, &CreateArgs { location, how })
    };
    // All eight bytes count, the highest bits of each half too.
    let verifier = 0x8000_0001_8000_0002;
    ensure!(create(client, verifier)?.status()? == NFS3_OK, "the first");
    let file = client.lookup(dir, "exclusive")?;
    for _ in 0..2 {
        let again = create(client, verifier)?;
        match again.results::<CreateRes<'_>>()? {
            Res::Ok(CreateResOk { obj: Some(obj), .. }) => ensure!(*obj == *file, "the same verifier, another file"),
            _ => fail!("the same verifier: {}", status_name(again.status()?)),
        }
        for bit in [0, 31, 32, 63] {
            let status = create(client, verifier ^ (1 << bit))?.status()?;
            ensure!(status == Nfsstat3::Exist as u32, "bit {bit} of the verifier: {}", status_name(status));
        }
        restart(server, client)?;
    }
    Ok(())
}

fn stale_handles(server: &mut Server, client: &mut Client, dir: FileHandleBuf) -> Result<(), Failure> {
    let old = client.create(dir, "old", 0o644)?;
    client.remove(dir, "old")?;
    // Whatever number the removed file had, one of these may have it now.
    for number in 0..50 {
        client.create(dir, &format!("new-{number}"), 0o644)?;
    }
    for _ in 0..2 {
        let status = client.nfs(Procedure::Getattr, &GetattrArgs { object: old.handle() })?.status()?;
        ensure!(status == Nfsstat3::Stale as u32, "GETATTR: {}", status_name(status));
        let written = client.write(old, 0, b"late", StableHow::FileSync)?;
        ensure!(written == Err(Nfsstat3::Stale as u32), "WRITE: {:?}", written.map_err(status_name));
        restart(server, client)?;
    }
    Ok(())
}

fn sixteen_groups(client: &mut Client, dir: FileHandleBuf) -> Result<(), Failure> {
    let file = client.create(dir, "group", 0o040)?;
    let new_attributes = Sattr3 { uid: Some(1), gid: Some(5015), ..Sattr3::default() };
    client.done(Procedure::Setattr, &SetattrArgs { object: file.handle(), new_attributes, guard: None })?;
    for (gids, wanted) in [((5000..5016).collect(), ACCESS3_READ), ((5000..5015).collect(), 0)] {
        client.become_user(Identity { uid: 1000, gid: 1000, gids });
        let reply = client.done(Procedure::Access, &AccessArgs { object: file.handle(), access: ACCESS3_READ })?;
        let Res::Ok(ok) = reply.results::<AccessRes>()? else { fail!("ACCESS without results") };
        ensure!(ok.access == wanted, "access {} instead of {wanted}", ok.access);
    }
    client.become_user(Identity::default());
    Ok(())
}

fn restart(server: &mut Server, client: &mut Client) -> Result<(), Failure> {
    server.kill()?;
    server.verify()?;
    server.start_again()?;
    client.disconnect();
    Ok(())
}
