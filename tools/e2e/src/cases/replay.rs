//! A call sent twice: each procedure that must not be executed twice is sent again with the same transaction number,
//! on the same connection, on another one, and after a kill -9. It gets the same answer, and has had one effect.

use crate::client::{Call, Client};
use crate::failure::{Failure, Outcome, While, ensure};
use crate::lab::Lab;
use crate::server::Server;
use crate::share::Raw;
use wire::nfs3::*;

pub(crate) fn run(lab: &Lab) -> Outcome {
    let mut server = lab.serve()?;
    let place = server.place().clone();
    let mut client = Client::new(server.address(), 1000);
    let root = client.root(place.mountport, &place.share)?;
    let dir = Raw::worker_folder(&mut client, root, "replay")?;
    let mut count = 0;
    for (what, prepare) in CALLS {
        let call = prepare(&mut client, dir).during(what)?;
        replayed(&mut client, &mut server, &call).during(what)?;
        count += 1;
    }
    one_effect(&mut client, dir)?;
    same_number_other_arguments(&server, &mut client, dir)?;
    server.stop()?;
    server.verify()?;
    Ok(format!("{count} calls, each sent four times"))
}

fn replayed(client: &mut Client, server: &mut Server, call: &Call) -> Result<(), Failure> {
    let first = client.exchange(call)?.accepted()?;
    ensure!(first.status()? == NFS3_OK, "the call itself was refused: {}", first.status()?);
    client.exchange(call)?.must_equal(&first).during("again on the same connection")?;
    let mut other = Client::new(server.address(), 0);
    other.exchange(call)?.must_equal(&first).during("again on another connection")?;
    server.kill()?;
    server.verify()?;
    server.start_again()?;
    client.disconnect();
    client.exchange(call)?.must_equal(&first).during("again after kill -9")
}

/// What the folder must hold after each call had one effect.
fn one_effect(client: &mut Client, dir: FileHandleBuf) -> Result<(), Failure> {
    let there = ["guarded", "exclusive", "folder", "symlink", "fifo", "renamed", "linked"];
    let gone = ["removed", "folder-removed", "old-name"];
    for (names, wanted) in [(&there[..], NFS3_OK), (&gone[..], Nfsstat3::Noent as u32)] {
        for name in names {
            let what = at(dir.handle(), name);
            let status = client.nfs(Procedure::Lookup, &LookupArgs { what })?.status()?;
            ensure!(status == wanted, "{name}: status {status} instead of {wanted}");
        }
    }
    Ok(())
}

/// A transaction number used again for something else is another call.
fn same_number_other_arguments(server: &Server, client: &mut Client, dir: FileHandleBuf) -> Result<(), Failure> {
    for name in ["number-1", "number-2"] {
        let mut other = Client::new(server.address(), 77);
        let call = other.prepare(Procedure::Mkdir, &mkdir(dir.handle(), name));
        let status = other.exchange(&call)?.accepted()?.status()?;
        ensure!(status == NFS3_OK, "MKDIR {name} with a used transaction number: {status}");
        client.lookup(dir, name).during("a call that was answered and not executed")?;
    }
    Ok(())
}

type Prepare = fn(&mut Client, FileHandleBuf) -> Result<Call, Failure>;

/// Each makes what it needs with calls of its own first.
const CALLS: &[(&str, Prepare)] = &[
    ("CREATE guarded", |client, dir| Ok(client.prepare(Procedure::Create, &create(dir.handle(), "guarded")))),
    ("CREATE exclusive", |client, dir| {
        let how = Createhow3::Exclusive(Createverf3(*b"verifier"));
        Ok(client.prepare(Procedure::Create, &CreateArgs { location: at(dir.handle(), "exclusive"), how }))
    }),
    ("MKDIR", |client, dir| Ok(client.prepare(Procedure::Mkdir, &mkdir(dir.handle(), "folder")))),
    ("SYMLINK", |client, dir| {
        let symlink_data = Nfspath::new(b"text").during("text")?;
        let symlink = Symlinkdata3 { symlink_attributes: Sattr3::default(), symlink_data };
        Ok(client.prepare(Procedure::Symlink, &SymlinkArgs { location: at(dir.handle(), "symlink"), symlink }))
    }),
    ("MKNOD", |client, dir| {
        let what = Mknoddata3::Fifo(Sattr3::default());
        Ok(client.prepare(Procedure::Mknod, &MknodArgs { location: at(dir.handle(), "fifo"), what }))
    }),
    ("REMOVE", |client, dir| {
        client.create(dir, "removed", 0o644)?;
        Ok(client.prepare(Procedure::Remove, &RemoveArgs { object: at(dir.handle(), "removed") }))
    }),
    ("RMDIR", |client, dir| {
        client.done(Procedure::Mkdir, &mkdir(dir.handle(), "folder-removed"))?;
        Ok(client.prepare(Procedure::Rmdir, &RmdirArgs { object: at(dir.handle(), "folder-removed") }))
    }),
    ("RENAME", |client, dir| {
        client.create(dir, "old-name", 0o644)?;
        let (from, to) = (at(dir.handle(), "old-name"), at(dir.handle(), "renamed"));
        Ok(client.prepare(Procedure::Rename, &RenameArgs { from, to }))
    }),
    ("LINK", |client, dir| {
        let file = client.lookup(dir, "guarded")?;
        let args = LinkArgs { file: file.handle(), link: at(dir.handle(), "linked") };
        Ok(client.prepare(Procedure::Link, &args))
    }),
    ("SETATTR guarded", |client, dir| {
        // Executed twice, its guard would not fit any more.
        let file = client.create(dir, "attributes", 0o644)?;
        let guard = Some(client.getattr(file)?.ctime);
        let new_attributes = Sattr3 { mode: Some(0o600), ..Sattr3::default() };
        Ok(client.prepare(Procedure::Setattr, &SetattrArgs { object: file.handle(), new_attributes, guard }))
    }),
];

fn create<'a>(dir: FileHandle<'a>, name: &'a str) -> CreateArgs<'a> {
    CreateArgs { location: at(dir, name), how: Createhow3::Guarded(Sattr3::default()) }
}

fn mkdir<'a>(dir: FileHandle<'a>, name: &'a str) -> MkdirArgs<'a> {
    MkdirArgs { location: at(dir, name), attributes: Sattr3::default() }
}

fn at<'a>(dir: FileHandle<'a>, name: &'a str) -> Diropargs3<'a> {
    Diropargs3 { dir, name: Filename::new(name.as_bytes()).expect("names here are short") }
}
