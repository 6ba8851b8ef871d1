//! ONC RPC version 2, RFC 5531: the headers of calls and replies, AUTH_NONE and AUTH_SYS.
//!
//! Callers: `shard`'s RPC door reads calls and writes replies, `perf` does the reverse. Both are headers only:
//! arguments and results follow in the same reader or writer.
//! Promises: a call that can be answered at all is answered with what RFC 5531 9 has for it, see [`BadCall`].

use crate::xdr::{Array, Decode, Encode, Malformed, Opaque, Reader, Result, Writer};

/// The version of the RPC protocol, RFC 5531 9.
pub const RPC_VERSION: u32 = 2;
/// The most bytes of a credential's or verifier's body, RFC 5531 8.2.
pub const AUTH_BODY_MAX: usize = 400;
/// The most bytes of the machine's name in AUTH_SYS, RFC 5531 Appendix A.
pub const MACHINE_NAME_MAX: usize = 255;
/// The most auxiliary groups in AUTH_SYS, RFC 5531 Appendix A.
pub const GIDS_MAX: usize = 16;

/// `msg_type`, RFC 5531 9.
const CALL: u32 = 0;
const REPLY: u32 = 1;

/// A number that says how a credential is to be read, RFC 5531 8.2. Unknown ones are carried as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AuthFlavor(pub u32);

impl AuthFlavor {
    pub const NONE: Self = Self(0);
    pub const SYS: Self = Self(1);
    pub const SHORT: Self = Self(2);
    pub const DH: Self = Self(3);
    pub const RPCSEC_GSS: Self = Self(6);
}

impl Decode<'_> for AuthFlavor {
    #[inline]
    fn decode(r: &mut Reader<'_>) -> Result<Self> {
        r.u32().map(Self)
    }
}

impl Encode for AuthFlavor {
    #[inline]
    fn encode(&self, w: &mut Writer<'_>) {
        w.u32(self.0);
    }
}

xdr_struct! {
    /// `opaque_auth`, RFC 5531 8.2: a credential or a verifier.
    pub struct OpaqueAuth<'a> {
        pub flavor: AuthFlavor,
        pub body: Opaque<'a, AUTH_BODY_MAX>,
    }
}

impl OpaqueAuth<'_> {
    /// The empty credential and verifier.
    pub const NONE: OpaqueAuth<'static> = OpaqueAuth { flavor: AuthFlavor::NONE, body: Opaque::EMPTY };
}

impl<'a> OpaqueAuth<'a> {
    /// An AUTH_SYS credential, its body held by `scratch`.
    pub fn sys(scratch: &'a mut Vec<u8>, sys: &AuthSys<'_>) -> Result<Self> {
        scratch.clear();
        Writer::new(scratch).encode(sys);
        Ok(Self { flavor: AuthFlavor::SYS, body: Opaque::new(scratch)? })
    }

    /// Who calls, or with what AUTH_ERROR the call is to be denied: AUTH_BADCRED for a garbled body,
    /// AUTH_REJECTEDCRED for a flavor that is not spoken here.
    #[inline]
    pub fn credential(&self) -> std::result::Result<Credential<'a>, AuthStat> {
        match self.flavor {
            AuthFlavor::NONE if self.body.is_empty() => Ok(Credential::None),
            AuthFlavor::NONE => Err(AuthStat::Badcred),
            AuthFlavor::SYS => match crate::xdr::decode_all(self.body.bytes()) {
                Ok(sys) => Ok(Credential::Sys(sys)),
                Err(_) => Err(AuthStat::Badcred),
            },
            _ => Err(AuthStat::Rejectedcred),
        }
    }
}

/// Who a caller says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential<'a> {
    None,
    Sys(AuthSys<'a>),
}

xdr_struct! {
    /// `authsys_parms`, RFC 5531 Appendix A.
    pub struct AuthSys<'a> {
        pub stamp: u32,
        pub machinename: Opaque<'a, MACHINE_NAME_MAX>,
        pub uid: u32,
        pub gid: u32,
        pub gids: Array<u32, GIDS_MAX>,
    }
}

xdr_enum! {
    /// `auth_stat`, RFC 5531 9, without AUTH_OK: why a credential or verifier is refused.
    pub enum AuthStat {
        Badcred = 1 "AUTH_BADCRED",
        Rejectedcred = 2 "AUTH_REJECTEDCRED",
        Badverf = 3 "AUTH_BADVERF",
        Rejectedverf = 4 "AUTH_REJECTEDVERF",
        Tooweak = 5 "AUTH_TOOWEAK",
        Invalidresp = 6 "AUTH_INVALIDRESP",
        Failed = 7 "AUTH_FAILED",
        KerbGeneric = 8 "AUTH_KERB_GENERIC",
        Timeexpire = 9 "AUTH_TIMEEXPIRE",
        TktFile = 10 "AUTH_TKT_FILE",
        Decode = 11 "AUTH_DECODE",
        NetAddr = 12 "AUTH_NET_ADDR",
        GssCredproblem = 13 "RPCSEC_GSS_CREDPROBLEM",
        GssCtxproblem = 14 "RPCSEC_GSS_CTXPROBLEM",
    }
}

/// The header of a call, RFC 5531 9: `rpc_msg` with `call_body`. The arguments follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallHeader<'a> {
    pub xid: u32,
    pub program: u32,
    pub version: u32,
    pub procedure: u32,
    pub cred: OpaqueAuth<'a>,
    pub verf: OpaqueAuth<'a>,
}

/// A message that is no well-formed call, and how to answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCall {
    /// Not a call, or too short to know which: there is nobody to answer. Drop it, and its connection.
    Unanswerable(Malformed),
    /// Deny it; the stream stays in step.
    Denied { xid: u32, why: Rejected },
}

impl BadCall {
    /// The reply, if one can be given.
    pub fn reply(&self) -> Option<ReplyHeader<'static>> {
        match *self {
            Self::Unanswerable(_) => None,
            Self::Denied { xid, why } => Some(ReplyHeader::denied(xid, why)),
        }
    }
}

impl From<Malformed> for BadCall {
    fn from(malformed: Malformed) -> Self {
        Self::Unanswerable(malformed)
    }
}

impl<'a> CallHeader<'a> {
    /// Reads the header of a call and says, if it is a bad one, what to answer: RPC_MISMATCH for another version
    /// of RPC, AUTH_BADCRED or AUTH_BADVERF for a credential or verifier that is cut off or longer than allowed.
    #[inline]
    pub fn parse(r: &mut Reader<'a>) -> std::result::Result<Self, BadCall> {
        let xid = r.u32()?;
        let msg_type = r.u32()?;
        if msg_type != CALL {
            return Err(bad_msg_type(msg_type).into());
        }
        let deny = |why| BadCall::Denied { xid, why };
        if r.u32()? != RPC_VERSION {
            return Err(deny(Rejected::RPC_MISMATCH));
        }
        Ok(Self {
            xid,
            program: r.u32()?,
            version: r.u32()?,
            procedure: r.u32()?,
            cred: r.decode().map_err(|_| deny(Rejected::AuthError(AuthStat::Badcred)))?,
            verf: r.decode().map_err(|_| deny(Rejected::AuthError(AuthStat::Badverf)))?,
        })
    }
}

impl Encode for CallHeader<'_> {
    fn encode(&self, w: &mut Writer<'_>) {
        w.u32(self.xid);
        w.u32(CALL);
        w.u32(RPC_VERSION);
        w.u32(self.program);
        w.u32(self.version);
        w.u32(self.procedure);
        w.encode(&self.cred);
        w.encode(&self.verf);
    }
}

/// The header of a reply, RFC 5531 9: `rpc_msg` with `reply_body`. After [`Accepted::Success`] the results follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyHeader<'a> {
    pub xid: u32,
    pub body: ReplyBody<'a>,
}

/// `reply_body`, RFC 5531 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyBody<'a> {
    /// The call was looked at. A verifier of the server's comes with it.
    Accepted {
        verf: OpaqueAuth<'a>,
        stat: Accepted,
    },
    Denied(Rejected),
}

xdr_struct! {
    /// The versions that are spoken, both included.
    pub struct Versions {
        pub low: u32,
        pub high: u32,
    }
}

xdr_union! {
    /// `accept_stat` with its data, RFC 5531 9.
    pub enum Accepted {
        /// Executed; the results follow.
        Success = 0,
        /// The program is not here.
        ProgUnavail = 1,
        /// The program is here, the version is not.
        ProgMismatch(Versions) = 2,
        /// The program has no such procedure.
        ProcUnavail = 3,
        /// The arguments can't be decoded.
        GarbageArgs = 4,
        /// The server is out of memory or the like.
        SystemErr = 5,
    }
}

xdr_union! {
    /// `rejected_reply`, RFC 5531 9.
    pub enum Rejected {
        RpcMismatch(Versions) = 0,
        AuthError(AuthStat) = 1,
    }
}

impl Rejected {
    /// Only RPC version 2 is spoken.
    pub const RPC_MISMATCH: Self = Self::RpcMismatch(Versions { low: RPC_VERSION, high: RPC_VERSION });
}

impl ReplyHeader<'_> {
    /// The header before results.
    #[inline]
    pub fn success(xid: u32) -> ReplyHeader<'static> {
        Self::accepted(xid, Accepted::Success)
    }

    /// With an empty verifier, as AUTH_NONE and AUTH_SYS have it.
    #[inline]
    pub fn accepted(xid: u32, stat: Accepted) -> ReplyHeader<'static> {
        let verf = OpaqueAuth::NONE;
        let body = ReplyBody::Accepted { verf, stat };
        ReplyHeader { xid, body }
    }

    pub fn denied(xid: u32, why: Rejected) -> ReplyHeader<'static> {
        let body = ReplyBody::Denied(why);
        ReplyHeader { xid, body }
    }

    /// Whether results follow.
    pub fn is_success(&self) -> bool {
        let stat = Accepted::Success;
        matches!(self.body, ReplyBody::Accepted { stat: is, .. } if is == stat)
    }
}

impl<'a> Decode<'a> for ReplyHeader<'a> {
    #[inline]
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let xid = r.u32()?;
        let msg_type = r.u32()?;
        if msg_type != REPLY {
            return Err(bad_msg_type(msg_type));
        }
        let body = match r.u32()? {
            MSG_ACCEPTED => ReplyBody::Accepted { verf: r.decode()?, stat: r.decode()? },
            MSG_DENIED => ReplyBody::Denied(r.decode()?),
            value => {
                return Err(Malformed::BadDiscriminant { of: "reply_stat", value });
            }
        };
        Ok(Self { xid, body })
    }
}

impl Encode for ReplyHeader<'_> {
    #[inline]
    fn encode(&self, w: &mut Writer<'_>) {
        w.u32(self.xid);
        w.u32(REPLY);
        match &self.body {
            ReplyBody::Accepted { verf, stat } => {
                w.u32(MSG_ACCEPTED);
                w.encode(verf);
                w.encode(stat);
            }
            ReplyBody::Denied(why) => {
                w.u32(MSG_DENIED);
                w.encode(why);
            }
        }
    }
}

/// `reply_stat`, RFC 5531 9.
const MSG_ACCEPTED: u32 = 0;
const MSG_DENIED: u32 = 1;

fn bad_msg_type(value: u32) -> Malformed {
    Malformed::BadDiscriminant { of: "msg_type", value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xdr::{decode_all, encode_vec};

    fn call() -> CallHeader<'static> {
        CallHeader {
            xid: 0x1234,
            program: 100_003,
            version: 3,
            procedure: 1,
            cred: OpaqueAuth::NONE,
            verf: OpaqueAuth::NONE,
        }
    }

    fn parse(bytes: &[u8]) -> std::result::Result<CallHeader<'_>, BadCall> {
        CallHeader::parse(&mut Reader::new(bytes))
    }

    #[test]
    fn a_call_is_forty_bytes_when_it_has_no_credential() {
        let bytes = encode_vec(&call());
        assert_eq!(bytes.len(), 40);
        assert_eq!(parse(&bytes), Ok(call()));
    }

    #[test]
    fn another_version_of_rpc_is_answered_with_ours() {
        let mut bytes = encode_vec(&call());
        bytes[11] = 3;
        let reply = parse(&bytes).unwrap_err().reply().unwrap();
        assert_eq!(encode_vec(&reply), [0, 0, 0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 2]);
    }

    #[test]
    fn a_credential_above_400_bytes_is_a_bad_credential() {
        let mut bytes = encode_vec(&call());
        bytes[30] = 1;
        bytes[31] = 0x91;
        bytes.extend([0; 404]);
        let why = Rejected::AuthError(AuthStat::Badcred);
        assert_eq!(parse(&bytes), Err(BadCall::Denied { xid: 0x1234, why }));
    }

    #[test]
    fn a_verifier_that_is_cut_off_is_a_bad_verifier() {
        let bytes = encode_vec(&call());
        let why = Rejected::AuthError(AuthStat::Badverf);
        assert_eq!(parse(&bytes[..36]), Err(BadCall::Denied { xid: 0x1234, why }));
    }

    #[test]
    fn a_reply_sent_to_a_server_is_dropped() {
        let bytes = encode_vec(&ReplyHeader::success(1));
        assert_eq!(parse(&bytes).unwrap_err().reply(), None);
    }

    #[test]
    fn every_cut_of_a_call_is_denied_or_dropped() {
        let bytes = encode_vec(&call());
        for len in 0..bytes.len() {
            let bad = parse(&bytes[..len]).unwrap_err();
            assert_eq!(bad.reply().is_some(), len >= 24, "cut at {len}");
        }
    }

    #[test]
    fn auth_sys_is_read_strictly_to_its_end() {
        let sys = AuthSys {
            stamp: 9,
            machinename: Opaque::new(b"render-07").unwrap(),
            uid: 1000,
            gid: 100,
            gids: Array::new(&[4, 24, 27]).unwrap(),
        };
        let mut scratch = Vec::new();
        let cred = OpaqueAuth::sys(&mut scratch, &sys).unwrap();
        assert_eq!(cred.credential(), Ok(Credential::Sys(sys)));

        let mut longer = cred.body.to_vec();
        longer.extend([0; 4]);
        let shorter = &cred.body[..cred.body.len() - 4];
        for body in [&longer[..], shorter] {
            let body = Opaque::new(body).unwrap();
            let cred = OpaqueAuth { body, ..cred };
            assert_eq!(cred.credential(), Err(AuthStat::Badcred));
        }
    }

    #[test]
    fn seventeen_groups_are_one_too_many() {
        let mut body = vec![0; 16];
        body.extend(17_u32.to_be_bytes());
        body.extend([0; 17 * 4]);
        let flavor = AuthFlavor::SYS;
        let body = Opaque::new(&body).unwrap();
        assert_eq!(OpaqueAuth { flavor, body }.credential(), Err(AuthStat::Badcred));
        assert!(Array::<u32, GIDS_MAX>::new(&[0; 17]).is_err());
    }

    #[test]
    fn auth_none_has_no_body() {
        assert_eq!(OpaqueAuth::NONE.credential(), Ok(Credential::None));
        let body = Opaque::new(b"who?").unwrap();
        let cred = OpaqueAuth { body, ..OpaqueAuth::NONE };
        assert_eq!(cred.credential(), Err(AuthStat::Badcred));
    }

    #[test]
    fn a_flavor_that_is_not_spoken_here_is_rejected() {
        let flavor = AuthFlavor::RPCSEC_GSS;
        let body = Opaque::EMPTY;
        let cred = OpaqueAuth { flavor, body };
        assert_eq!(cred.credential(), Err(AuthStat::Rejectedcred));
    }

    #[test]
    fn a_program_mismatch_names_both_ends_of_the_versions() {
        let versions = Versions { low: 3, high: 4 };
        let reply = ReplyHeader::accepted(7, Accepted::ProgMismatch(versions));
        let bytes = encode_vec(&reply);
        assert_eq!(bytes[20..], [0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4]);
        assert_eq!(decode_all(&bytes), Ok(reply));
        assert!(!reply.is_success());
    }
}
