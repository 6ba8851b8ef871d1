//! A full disk. Data gets NFS3ERR_NOSPC; what frees space or makes data stable works from a reserve, kill -9 and the
//! next start too; and with space freed, data is taken again.

use crate::client::{Client, status_name};
use crate::disk::Disk;
use crate::failure::{Failure, Outcome, While, ensure, fail};
use crate::lab::Lab;
use crate::server::Server;
use std::thread::sleep;
use std::time::{Duration, Instant};
use wire::nfs3::{FileHandleBuf, Nfsstat3, StableHow};

pub(crate) fn run(lab: &Lab) -> Outcome {
    let disk = Disk::make(lab, "disk", "ext4", DISK_BYTES)?;
    let mut server = Server::start(lab, &disk.folder("pool")?)?;
    let place = server.place().clone();
    let mut client = Client::new(server.address(), 1);
    let root = client.root(place.mountport, &place.share)?;
    let first = fill(&mut client, root, "first")?;
    ensure!(first >= DISK_BYTES / 2, "only {first} of {DISK_BYTES} bytes were taken");
    check(&mut client, root, "first", first).during("while full")?;

    server.kill()?;
    server.verify().during("verify while full")?;
    server.start_again().during("start while full")?;
    client.disconnect();
    check(&mut client, root, "first", first).during("while full, after kill -9")?;
    client.remove(root, "first").during("while full")?;
    let second = fill_again(&mut client, root, first)?;
    check(&mut client, root, "second", second)?;
    server.stop()?;
    server.verify()?;
    Ok(format!("{} MB taken, and {} MB after the remove", first / 1_000_000, second / 1_000_000))
}

/// Writes until there is no space, makes it stable, and removes a small file; bytes written.
fn fill(client: &mut Client, root: FileHandleBuf, name: &str) -> Result<u64, Failure> {
    create_patiently(client, root, "small")?;
    let file = create_patiently(client, root, name)?;
    let mut offset = 0;
    while offset < DISK_BYTES * 2 {
        match client.write(file, offset, &block(offset), StableHow::Unstable)? {
            Ok(_) => offset += BLOCK_BYTES as u64,
            Err(status) if status == Nfsstat3::Nospc as u32 => {
                client.commit(file)?.map_err(status_name).during("COMMIT while full")?;
                client.remove(root, "small").during("while full")?;
                return Ok(offset);
            }
            Err(status) if status == Nfsstat3::Jukebox as u32 => sleep(Duration::from_millis(20)),
            Err(status) => fail!("WRITE at {offset}: {}", status_name(status)),
        }
    }
    fail!("a disk of {DISK_BYTES} bytes took {offset}")
}

/// Space comes back in the background: until most of it can be written again.
fn fill_again(client: &mut Client, root: FileHandleBuf, first: u64) -> Result<u64, Failure> {
    let began = Instant::now();
    loop {
        let second = fill(client, root, "second")?;
        if second >= first - first / 4 {
            return Ok(second);
        }
        ensure!(began.elapsed() < SPACE_LIMIT, "{SPACE_LIMIT:?} after the remove only {second} bytes of {first}");
        client.remove(root, "second")?;
        sleep(Duration::from_secs(1));
    }
}

/// A CREATE that may be refused for a while after the space was freed.
fn create_patiently(client: &mut Client, root: FileHandleBuf, name: &str) -> Result<FileHandleBuf, Failure> {
    let began = Instant::now();
    loop {
        match client.create(root, name, 0o644) {
            Err(_) if began.elapsed() < SPACE_LIMIT => sleep(Duration::from_millis(200)),
            outcome => return outcome,
        }
    }
}

/// All blocks that were taken are there, and after them at most the part of the one that was refused.
fn check(client: &mut Client, root: FileHandleBuf, name: &str, bytes: u64) -> Result<(), Failure> {
    let file = client.lookup(root, name)?;
    let size = client.getattr(file)?.size;
    ensure!((bytes..bytes + BLOCK_BYTES as u64).contains(&size), "{name} has {size} bytes instead of {bytes}");
    for offset in (0..size).step_by(BLOCK_BYTES) {
        let data = client.read(file, offset, BLOCK_BYTES as u32)?;
        let whole = BLOCK_BYTES.min((size - offset) as usize);
        ensure!(data == block(offset)[..whole], "{name} differs at {offset}");
    }
    Ok(())
}

/// Bytes that tell where they belong.
fn block(offset: u64) -> Vec<u8> {
    offset.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes().repeat(BLOCK_BYTES / 8)
}

const DISK_BYTES: u64 = 1 << 30;
const BLOCK_BYTES: usize = 512 << 10;
const SPACE_LIMIT: Duration = Duration::from_secs(60);
