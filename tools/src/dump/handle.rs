//! `basalt dump handle`: what a file handle names.

use crate::Failure;
use crate::pool::SECRET_BYTES;
use crate::text;
use shard::net::handle::{HANDLE_BYTES, HandleKey};
use std::io::Write;
use std::path::PathBuf;

/// Shows what a file handle names
#[derive(clap::Args)]
#[command(long_about = "\
Shows what a file handle names: filesystem, inode, generation. With --pool it also tells whether that pool gave it out.

A handle is what clients hold for a file; packet analysers show it as hexadecimal digits. The filesystem in it is the \
fsid that clients see, not the identity in the ledger, which is a secret.")]
pub(crate) struct Args {
    /// The handle's bytes as hexadecimal digits
    handle: String,
    /// The pool whose secret is to check it
    #[arg(long, value_name = "POOL")]
    pool: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    let bytes = text::parse_hex(&args.handle).ok_or_else(|| "the handle is not hexadecimal".to_owned())?;
    let Ok(handle) = <[u8; HANDLE_BYTES]>::try_from(bytes.as_slice()) else {
        return Err(format!("a handle of ours has {HANDLE_BYTES} bytes, this one has {}", bytes.len()).into());
    };
    writeln!(out, "version {}", handle[0])?;
    writeln!(out, "filesystem {:016x}", u64::from_le_bytes(fixed(&handle[4..12])))?;
    writeln!(out, "inode {}", u64::from_le_bytes(fixed(&handle[12..20])))?;
    writeln!(out, "generation {}", u32::from_le_bytes(fixed(&handle[20..24])))?;
    writeln!(out, "mac {}", text::hex(&handle[24..]))?;
    if let Some(pool) = &args.pool {
        let file = pool.join("secret");
        let secret = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let secret: [u8; SECRET_BYTES] =
            secret.try_into().map_err(|_| format!("{} does not have {SECRET_BYTES} bytes", file.display()))?;
        let genuine = HandleKey::new(&secret).open(&handle).is_ok();
        writeln!(out, "{}", if genuine { "genuine" } else { "not given out by this pool" })?;
    }
    Ok(())
}

/// A part of a handle; the caller's range has the length of the array.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
mod tests {
    use super::*;
    use shard::inode::{FileId, Ino};
    use shard::net::handle::Target;

    fn shown(args: &Args) -> String {
        let mut out = Vec::new();
        run(args, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_handle_tells_what_it_names_and_who_gave_it_out() {
        let pool = tempfile::tempdir().unwrap();
        std::fs::write(pool.path().join("secret"), [7; SECRET_BYTES]).unwrap();
        let target = Target { filesystem: 0xABCD, file: FileId { ino: Ino(77), generation: 5 } };
        let pool = Some(pool.path().to_path_buf());
        let of = |secret| text::hex(&HandleKey::new(&[secret; SECRET_BYTES]).seal(target));
        let ours = shown(&Args { handle: of(7), pool: pool.clone() });
        assert!(ours.contains("filesystem 000000000000abcd\ninode 77\ngeneration 5\n"), "{ours}");
        assert!(ours.ends_with("genuine\n"), "{ours}");
        assert!(shown(&Args { handle: of(8), pool }).ends_with("not given out by this pool\n"));
    }
}
