//! Several shares from one configuration file: what each client may do with each of them, whose name what it makes
//! bears, and which of them outlives a restart.

use crate::failure::{Failure, Outcome, ensure};
use crate::guest::Mount;
use crate::lab::Lab;
use crate::server::Server;

pub(crate) fn run(lab: &Lab) -> Outcome {
    let pool = lab.folder("pool")?;
    let config = CONFIG.replace("POOL", &pool.display().to_string());
    let mut server = Server::start_configured(lab, &pool, "/disk", &config)?;
    Mount::of(lab, &server, "writer").id(1).shell(WRITER)?;
    let refused = Mount::of(lab, &server, "stranger").id(3).shell("true");
    denied(refused)?;
    server.stop()?;
    server.verify()?;
    server.start_again()?;
    Mount::of(lab, &server, "reader").id(2).shell(READER)?;
    server.stop()?;
    server.verify()?;
    Ok("no squash, root squash, all squash, read-only, denied, in memory; 1 MiB reads and writes".to_string())
}

fn denied(refused: Outcome) -> Result<(), Failure> {
    match refused {
        Ok(_) => Err(Failure::new("a client that is not listed could mount")),
        Err(failure) => {
            let text = failure.to_string();
            ensure!(text.contains("access denied"), "a client that is not listed was told: {text}");
            Ok(())
        }
    }
}

/// The first client may do everything; what it makes is seen by the second.
const WRITER: &str = r#"
refused() { if "$@" 2>/tmp/error; then echo "not refused: $*"; exit 1; fi; }
grep -E ' /mnt nfs .*rsize=1048576,wsize=1048576' /proc/mounts
echo kept >file
chown 1000:1000 file
[ "$(stat -c %u:%g file)" = 1000:1000 ]

cd /
mkdir squashed everyone memory
for share in squashed everyone memory; do
    mount -t nfs -o vers=3,nolock,port=2049,mountport=2049 server:/$share /$share
done

touch squashed/of-root
[ "$(stat -c %u:%g squashed/of-root)" = 65534:65534 ]
refused chown 1000 squashed/of-root
setpriv --reuid 1000 --regid 1000 --clear-groups touch squashed/of-1000
[ "$(stat -c %u:%g squashed/of-1000)" = 1000:1000 ]

touch everyone/of-root
setpriv --reuid 1000 --regid 1000 --clear-groups touch everyone/of-1000
[ "$(stat -c %u:%g everyone/of-root everyone/of-1000 | sort -u)" = 1234:1235 ]

dd if=/dev/urandom of=random bs=1M count=64 status=none
cp random memory/data
echo 3 >/proc/sys/vm/drop_caches
cmp random memory/data
refused dd if=/dev/zero of=memory/too-much bs=1M count=300 conv=fsync
grep 'No space left' /tmp/error
rm memory/too-much
# Space comes back in the background.
for try in $(seq 60); do
    cp random memory/again && break
    rm -f memory/again
    sleep 1
done
cmp random memory/again
cmp random memory/data
"#;

/// The second client may only read the first share, and comes after a restart.
const READER: &str = r#"
[ "$(cat file)" = kept ]
[ "$(stat -c %u:%g file)" = 1000:1000 ]
if touch new 2>/tmp/error; then echo "made a file on a read-only share"; exit 1; fi
grep 'Read-only file system' /tmp/error
if echo more >>file 2>/tmp/error; then echo "wrote to a read-only share"; exit 1; fi
mkdir /memory
mount -t nfs -o vers=3,nolock,port=2049,mountport=2049 server:/memory /memory
[ -z "$(ls -A /memory)" ]
"#;

const CONFIG: &str = r#"
[server]
listen = "0.0.0.0:2049"

[pool]
path = "POOL"

[[share]]
name = "/disk"
clients = [{ who = "10.99.0.11", access = "rw", squash = "none" }, { who = "10.99.0.12", access = "ro" }]

[[share]]
name = "/squashed"
root = { uid = 0, gid = 0, mode = "1777" }
clients = [{ who = "10.99.0.0/16", access = "rw" }]

[[share]]
name = "/everyone"
root = { uid = 0, gid = 0, mode = "1777" }
clients = [{ who = "anyone", access = "rw", squash = "all", anonuid = 1234, anongid = 1235 }]

[[share]]
name = "/memory"
store = "memory"
size = "256MiB"
root = { uid = 0, gid = 0, mode = "1777" }
clients = [{ who = "10.99.0.0/16", access = "rw", squash = "none" }]
"#;
