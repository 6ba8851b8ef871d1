//! `basalt dump frame`: RPC messages as text, decoded with the codecs that the server uses.
//!
//! Takes what packet analysers and the golden frames give: hexadecimal text with `#` comments, or raw
//! bytes; one bare message, or a stream of records with their marks (RFC 5531 11). A reply does not
//! say what it answers: that comes from the call with its xid in the same input, from a first line
//! `# reply nfs3 LOOKUP`, or from `--answers`.

use crate::{Failure, text};
use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::io::{Read, Write};
use std::path::PathBuf;
use wire::nfs3::{self, *};
use wire::portmap::{self, PmapProcedure, RpcbProcedure};
use wire::record::{self, Step};
use wire::rpc::{Accepted, BadCall, CallHeader, Credential, ReplyBody, ReplyHeader};
use wire::{Decode, Malformed, Reader, mount};

/// Decodes RPC messages of NFSv3, MOUNT and the portmapper
#[derive(clap::Args)]
#[command(long_about = "\
Decodes RPC messages of NFSv3, MOUNT and the portmapper: hexadecimal text (white space and # comments are skipped) or \
raw bytes; one bare message, or a TCP stream with its record marks.

A reply does not say what it answers. The call with the same xid in the same input tells, or a first line \
`# reply nfs3 LOOKUP`, or --answers.")]
pub(crate) struct Args {
    /// File to read, or - for standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    /// What replies answer, for instance "nfs3 LOOKUP", "mount3 MNT", "portmap2 DUMP"
    #[arg(long, value_name = "PROTOCOL PROCEDURE")]
    answers: Option<String>,
    /// Show long values whole
    #[arg(long)]
    full: bool,
}

/// Program, version and procedure of a call.
type Asked = (u32, u32, u32);

/// Most bytes of input.
const INPUT_BYTES_MAX: u64 = 256 << 20;
/// Characters of a line before it is cut.
const LINE_CHARS_MAX: usize = 240;

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    let input = read(args)?;
    let (mut bytes, title) = unpacked(input);
    let told = args.answers.clone().or(title);
    let told = told.map(|words| asked(&words).ok_or(format!("there is no `{words}` here: --help has examples")));
    let mut decoder = Decoder { told: told.transpose()?, calls: HashMap::new() };
    let mut shown = String::new();
    for message in messages(&mut bytes)? {
        decoder.show(&bytes[message], &mut shown);
        for line in shown.lines() {
            writeln!(out, "{}", if args.full { line.to_owned() } else { cut(line) })?;
        }
        shown.clear();
    }
    Ok(())
}

fn read(args: &Args) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::Told(format!("{}: {error}", args.file.display()));
    let mut input = Vec::new();
    let source: Box<dyn Read> = match args.file.as_os_str() == "-" {
        true => Box::new(std::io::stdin()),
        false => Box::new(std::fs::File::open(&args.file).map_err(failed)?),
    };
    source.take(INPUT_BYTES_MAX + 1).read_to_end(&mut input).map_err(failed)?;
    match input.len() as u64 > INPUT_BYTES_MAX {
        true => Err(format!("{} is longer than {}", args.file.display(), text::bytes(INPUT_BYTES_MAX)).into()),
        false => Ok(input),
    }
}

/// The bytes that the input stands for, and what its first line says of a reply.
fn unpacked(input: Vec<u8>) -> (Vec<u8>, Option<String>) {
    let Some((text, bytes)) = str::from_utf8(&input).ok().and_then(|text| Some((text, text::parse_hex(text)?))) else {
        return (input, None);
    };
    let title = text.lines().next().and_then(|line| line.strip_prefix("# reply ")).map(str::to_owned);
    (bytes, title)
}

/// Where the messages lie: records where the marks fit the input exactly, otherwise one bare message.
fn messages(bytes: &mut [u8]) -> Result<Vec<std::ops::Range<usize>>, Failure> {
    if bytes.is_empty() {
        return Err("there is nothing to decode".to_owned().into());
    }
    let mut copy = bytes.to_vec();
    let mut found = Vec::new();
    let mut at = 0;
    while at < copy.len() {
        match record::next_record(&mut copy[at..], usize::MAX) {
            Ok(Step::Record { body, consumed }) => {
                found.push(at + body.start..at + body.end);
                at += consumed;
            }
            _ => return Ok(std::iter::once(0..bytes.len()).collect()),
        }
    }
    bytes.copy_from_slice(&copy);
    Ok(found)
}

struct Decoder {
    /// What replies answer when no call tells.
    told: Option<Asked>,
    /// By xid.
    calls: HashMap<u32, Asked>,
}

impl Decoder {
    fn show(&mut self, message: &[u8], out: &mut String) {
        let mut reader = Reader::new(message);
        let shown = match message.get(4..8) {
            Some([0, 0, 0, 1]) => self.reply(&mut reader, out),
            _ => self.call(&mut reader, out),
        };
        // Writing to a String does not fail.
        let _ = match shown {
            Ok(()) if reader.remaining() > 0 => {
                writeln!(out, "  and {} bytes that do not belong to it: {}", reader.remaining(), hex(reader.rest()))
            }
            Ok(()) => Ok(()),
            Err(malformed) => {
                writeln!(out, "  malformed at byte {}: {malformed}\n  {}", reader.position(), hex(reader.rest()))
            }
        };
    }

    fn call(&mut self, reader: &mut Reader<'_>, out: &mut String) -> Result<(), Malformed> {
        let header = match CallHeader::parse(reader) {
            Ok(header) => header,
            Err(BadCall::Unanswerable(malformed)) => return Err(malformed),
            Err(BadCall::Denied { xid, why }) => {
                let _ = writeln!(out, "call {xid:#010x}, to be denied: {why:?}");
                return Ok(());
            }
        };
        let asked = (header.program, header.version, header.procedure);
        self.calls.insert(header.xid, asked);
        let _ = writeln!(out, "call {:#010x} {}", header.xid, name(asked));
        let _ = match header.cred.credential() {
            Ok(Credential::None) => writeln!(out, "  AUTH_NONE"),
            Ok(Credential::Sys(sys)) => writeln!(
                out,
                "  AUTH_SYS uid {} gid {} groups {:?} machine {:?} stamp {}",
                sys.uid, sys.gid, sys.gids, sys.machinename, sys.stamp
            ),
            Err(_) => writeln!(out, "  {:?}", header.cred),
        };
        body(asked, Side::Arguments, reader, out)
    }

    fn reply(&mut self, reader: &mut Reader<'_>, out: &mut String) -> Result<(), Malformed> {
        let header: ReplyHeader<'_> = reader.decode()?;
        let asked = self.calls.get(&header.xid).copied().or(self.told);
        let _ = write!(out, "reply {:#010x}", header.xid);
        if let Some(asked) = asked {
            let _ = write!(out, " {}", name(asked));
        }
        match (header.body, asked) {
            (ReplyBody::Accepted { stat: Accepted::Success, .. }, Some(asked)) => {
                out.push('\n');
                body(asked, Side::Results, reader, out)
            }
            (ReplyBody::Accepted { stat: Accepted::Success, .. }, None) => {
                let _ = writeln!(out, "\n  success; say with --answers what it answers: {}", hex(reader.rest()));
                while reader.remaining() > 0 {
                    reader.u32()?;
                }
                Ok(())
            }
            (ReplyBody::Accepted { stat, .. }, _) => {
                let _ = writeln!(out, "\n  {stat:?}");
                Ok(())
            }
            (ReplyBody::Denied(why), _) => {
                let _ = writeln!(out, "\n  denied: {why:?}");
                Ok(())
            }
        }
    }
}

/// Which half of a procedure follows the header.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Arguments,
    Results,
}

fn show<'a, T: Decode<'a> + Debug>(reader: &mut Reader<'a>, out: &mut String) -> Result<(), Malformed> {
    let value: T = reader.decode()?;
    for line in format!("{value:#?}").lines() {
        out.push_str("  ");
        out.push_str(line);
        out.push('\n');
    }
    Ok(())
}

/// Arguments or results of a procedure; of one that is not known, its bytes.
fn body<'a>(asked: Asked, side: Side, reader: &mut Reader<'a>, out: &mut String) -> Result<(), Malformed> {
    use wire::nfs3::Procedure as Nfs;
    macro_rules! show {
        ($args:ty => $res:ty) => {
            match side {
                Side::Arguments => show::<$args>(reader, out),
                Side::Results => show::<$res>(reader, out),
            }
        };
    }
    match asked {
        (nfs3::PROGRAM, nfs3::VERSION, procedure) => match Nfs::try_from(procedure)? {
            Nfs::Null => Ok(()),
            Nfs::Getattr => show!(GetattrArgs<'a> => GetattrRes),
            Nfs::Setattr => show!(SetattrArgs<'a> => SetattrRes),
            Nfs::Lookup => show!(LookupArgs<'a> => LookupRes<'a>),
            Nfs::Access => show!(AccessArgs<'a> => AccessRes),
            Nfs::Readlink => show!(ReadlinkArgs<'a> => ReadlinkRes<'a>),
            Nfs::Read => show!(ReadArgs<'a> => ReadRes<'a>),
            Nfs::Write => show!(WriteArgs<'a> => WriteRes),
            Nfs::Create => show!(CreateArgs<'a> => CreateRes<'a>),
            Nfs::Mkdir => show!(MkdirArgs<'a> => MkdirRes<'a>),
            Nfs::Symlink => show!(SymlinkArgs<'a> => SymlinkRes<'a>),
            Nfs::Mknod => show!(MknodArgs<'a> => MknodRes<'a>),
            Nfs::Remove => show!(RemoveArgs<'a> => RemoveRes),
            Nfs::Rmdir => show!(RmdirArgs<'a> => RmdirRes),
            Nfs::Rename => show!(RenameArgs<'a> => RenameRes),
            Nfs::Link => show!(LinkArgs<'a> => LinkRes),
            Nfs::Readdir => show!(ReaddirArgs<'a> => ReaddirRes<'a>),
            Nfs::Readdirplus => show!(ReaddirplusArgs<'a> => ReaddirplusRes<'a>),
            Nfs::Fsstat => show!(FsstatArgs<'a> => FsstatRes),
            Nfs::Fsinfo => show!(FsinfoArgs<'a> => FsinfoRes),
            Nfs::Pathconf => show!(PathconfArgs<'a> => PathconfRes),
            Nfs::Commit => show!(CommitArgs<'a> => CommitRes),
        },
        (mount::PROGRAM, version @ (mount::VERSION_1 | mount::VERSION_3), procedure) => {
            match (mount::Procedure::try_from(procedure)?, version) {
                (mount::Procedure::Null | mount::Procedure::Umntall, _) => Ok(()),
                (mount::Procedure::Mnt, mount::VERSION_1) => show!(mount::Dirpath<'a> => mount::Fhstatus),
                (mount::Procedure::Mnt, _) => show!(mount::Dirpath<'a> => mount::Mountres3<'a>),
                (mount::Procedure::Dump, _) => show!(() => mount::Mountlist<'a>),
                (mount::Procedure::Umnt, _) => show!(mount::Dirpath<'a> => ()),
                (mount::Procedure::Export | mount::Procedure::Exportall, _) => show!(() => mount::Exports<'a>),
            }
        }
        (portmap::PROGRAM, portmap::VERSION_2, procedure) => match PmapProcedure::try_from(procedure)? {
            PmapProcedure::Null => Ok(()),
            PmapProcedure::Set | PmapProcedure::Unset => show!(portmap::Mapping => bool),
            PmapProcedure::Getport => show!(portmap::Mapping => u32),
            PmapProcedure::Dump => show!(() => portmap::Pmaplist<'a>),
            PmapProcedure::Callit => opaque(reader, out),
        },
        (portmap::PROGRAM, portmap::VERSION_3 | portmap::VERSION_4, procedure) => {
            match RpcbProcedure::try_from(procedure)? {
                RpcbProcedure::Null => Ok(()),
                RpcbProcedure::Set | RpcbProcedure::Unset => show!(portmap::Rpcb<'a> => bool),
                RpcbProcedure::Getaddr | RpcbProcedure::Getversaddr => {
                    show!(portmap::Rpcb<'a> => portmap::Uaddr<'a>)
                }
                RpcbProcedure::Dump => show!(() => portmap::Rpcblist<'a>),
                RpcbProcedure::Gettime => show!(() => u32),
                _ => opaque(reader, out),
            }
        }
        _ => opaque(reader, out),
    }
}

/// What has no type here, as it is.
fn opaque(reader: &mut Reader<'_>, out: &mut String) -> Result<(), Malformed> {
    let _ = writeln!(out, "  {}", hex(reader.rest()));
    while reader.remaining() > 0 {
        reader.u32()?;
    }
    Ok(())
}

/// The protocols by the names that `--answers` and golden frames use.
const PROTOCOLS: [(&str, u32, u32); 6] = [
    ("nfs3", nfs3::PROGRAM, nfs3::VERSION),
    ("mount3", mount::PROGRAM, mount::VERSION_3),
    ("mount1", mount::PROGRAM, mount::VERSION_1),
    ("portmap2", portmap::PROGRAM, portmap::VERSION_2),
    ("rpcbind3", portmap::PROGRAM, portmap::VERSION_3),
    ("rpcbind4", portmap::PROGRAM, portmap::VERSION_4),
];

fn name((program, version, procedure): Asked) -> String {
    let is_named = |(_, known, at): &&(&str, u32, u32)| (*known, *at) == (program, version);
    match PROTOCOLS.iter().find(is_named) {
        Some((protocol, ..)) => match procedure_name(protocol, procedure) {
            Some(procedure) => format!("{protocol} {procedure}"),
            None => format!("{protocol} procedure {procedure}"),
        },
        None => format!("program {program} version {version} procedure {procedure}"),
    }
}

fn procedure_name(protocol: &str, number: u32) -> Option<&'static str> {
    match protocol {
        "nfs3" => nfs3::Procedure::try_from(number).ok().map(nfs3::Procedure::name),
        "mount3" | "mount1" => mount::Procedure::try_from(number).ok().map(mount::Procedure::name),
        "portmap2" => PmapProcedure::try_from(number).ok().map(PmapProcedure::name),
        _ => RpcbProcedure::try_from(number).ok().map(RpcbProcedure::name),
    }
}

/// What `nfs3 LOOKUP` means.
fn asked(words: &str) -> Option<Asked> {
    let (protocol, procedure) = words.trim().split_once(char::is_whitespace)?;
    let procedure = procedure.trim().to_ascii_uppercase();
    let &(protocol, program, version) = PROTOCOLS.iter().find(|(name, ..)| *name == protocol)?;
    let number = (0..PROCEDURES_MAX).find(|&number| procedure_name(protocol, number) == Some(&procedure))?;
    Some((program, version, number))
}

/// No protocol here has more procedures.
const PROCEDURES_MAX: u32 = 64;

fn hex(bytes: &[u8]) -> String {
    text::hex(bytes)
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(LINE_CHARS_MAX) {
        Some((end, _)) => format!("{}... ({} characters more; --full)", &line[..end], line[end..].chars().count()),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(name: &str) -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../wire/golden")).join(name)
    }

    fn shown(args: &Args) -> Result<String, Failure> {
        let mut out = Vec::new();
        run(args, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn of(file: PathBuf) -> Args {
        Args { file, answers: None, full: true }
    }

    #[test]
    fn every_golden_frame_is_decoded_without_a_complaint() {
        for entry in std::fs::read_dir(golden("")).unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_none_or(|end| end != "hex") {
                continue;
            }
            let text = shown(&of(file.clone())).unwrap();
            let title = std::fs::read_to_string(&file).unwrap();
            let words: Vec<&str> = title.lines().next().unwrap().split_whitespace().skip(1).collect();
            let first = text.lines().next().unwrap();
            assert!(first.starts_with(words[0]), "{}: {first}", file.display());
            assert!(first.ends_with(&format!("{} {}", words[1], words[2])), "{}: {first}", file.display());
            assert!(!text.contains("malformed") && !text.contains("do not belong"), "{}: {text}", file.display());
        }
    }

    #[test]
    fn a_stream_of_records_pairs_replies_with_their_calls() {
        let mut stream = Vec::new();
        for name in ["nfs3-getattr-1-call.hex", "nfs3-getattr-1-reply.hex"] {
            let message = text::parse_hex(&std::fs::read_to_string(golden(name)).unwrap()).unwrap();
            stream.extend((message.len() as u32 | 1 << 31).to_be_bytes());
            stream.extend(message);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &stream).unwrap();
        let text = shown(&of(file.path().to_path_buf())).unwrap();
        assert!(text.contains("GetattrArgs") && text.contains("GetattrResOk"), "{text}");
    }

    #[test]
    fn a_reply_alone_says_what_it_lacks_and_takes_it_from_the_option() {
        let hex = std::fs::read_to_string(golden("nfs3-getattr-1-reply.hex")).unwrap();
        let body = hex.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), body).unwrap();
        let mut args = of(file.path().to_path_buf());
        assert!(shown(&args).unwrap().contains("--answers"));
        args.answers = Some("nfs3 getattr".into());
        assert!(shown(&args).unwrap().contains("GetattrResOk"));
        args.answers = Some("nfs9 getattr".into());
        assert!(shown(&args).is_err());
    }

    #[test]
    fn damaged_messages_are_shown_as_far_as_they_go() {
        let message = text::parse_hex(&std::fs::read_to_string(golden("nfs3-write-1-call.hex")).unwrap()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        for len in 1..message.len() {
            std::fs::write(file.path(), text::hex(&message[..len])).unwrap();
            let text = shown(&of(file.path().to_path_buf())).unwrap();
            assert!(text.contains("malformed") || text.contains("denied"), "cut at {len}: {text}");
        }
    }
}
