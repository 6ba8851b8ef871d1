//! Who asks: identity after mapping and squashing. Made by `policy`, used by every verb.

/// Auxiliary groups that AUTH_SYS can carry (RFC 5531 appendix A).
pub const GROUPS_MAX: usize = 16;

/// Identity of the caller of a verb, after squashing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cred {
    /// User; 0 is the superuser.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    groups: [u32; GROUPS_MAX],
    groups_count: u8,
}

impl Cred {
    /// An identity with up to [`GROUPS_MAX`] auxiliary groups; further ones are left out.
    pub fn new(uid: u32, gid: u32, auxiliary: &[u32]) -> Cred {
        let mut groups = [0; GROUPS_MAX];
        let count = auxiliary.len().min(GROUPS_MAX);
        groups[..count].copy_from_slice(&auxiliary[..count]);
        Cred { uid, gid, groups, groups_count: count as u8 }
    }

    /// The superuser.
    pub fn root() -> Cred {
        Cred::new(0, 0, &[])
    }

    /// Whether this is the superuser.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Whether `gid` is the primary or an auxiliary group.
    pub fn is_member(&self, gid: u32) -> bool {
        self.gid == gid || self.groups[..usize::from(self.groups_count)].contains(&gid)
    }
}
