//! Who may do what on the share of a history, and as whom: as the server is told, and as the model has it.
//!
//! Callers: the histories (draw one), [`super::server`] (serves under it), the judge (asks for each call what it may).
//! What a rule means is written here anew, by RFC 1813 4.4 and docs/operating.md: nothing of the server's own is asked.

use super::client::address_of;
use super::crash::OBSERVER;
use super::op::User;
use crate::policy;
use cache::sim::Rng;

/// The rules of the one share, of which the first that names a client counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    rules: [Option<Rule>; RULES],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    hosts: Hosts,
    standing: Standing,
}

/// Whom a rule names, by the numbers of the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hosts {
    Anyone,
    One(u8),
    /// This one, which is even, and the next.
    Two(u8),
}

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) may_change: bool,
    squash: Squash,
    anonymous: User,
}

/// Who is taken for the anonymous user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Squash {
    Nobody,
    Superuser,
    Everyone,
}

impl Policy {
    /// Everyone may do everything, as whoever they say they are.
    pub(crate) const PLAIN: Policy =
        Policy { rules: [Some(Rule { hosts: Hosts::Anyone, standing: FREE }), None, None] };

    /// That of a seed. One that is odd has the plain one, so that its history is what it was before there were others.
    pub(crate) fn of(seed: u64) -> Policy {
        if seed % 2 == 1 {
            return Policy::PLAIN;
        }
        let mut rng = Rng::new(seed ^ STREAM);
        let hosts = [Hosts::One(1), Hosts::One(2), Hosts::One(3), Hosts::Two(2), Hosts::Anyone];
        let first = hosts[rng.below(5) as usize];
        let drawn = Some(Rule { hosts: first, standing: Standing::drawn(&mut rng) });
        // Without it, whoever is not named is refused.
        let others = (!rng.one_in(3)).then(|| Rule { hosts: Hosts::Anyone, standing: Standing::drawn(&mut rng) });
        // Who looks at what is left sees everything.
        let observer = Some(Rule { hosts: Hosts::One(OBSERVER), standing: FREE });
        Policy { rules: [observer, drawn, others] }
    }

    /// What this client may do; nothing where no rule names it.
    pub(crate) fn standing(&self, client: u8) -> Option<Standing> {
        self.rules().find(|rule| rule.hosts.has(client)).map(|rule| rule.standing)
    }

    /// As the server is told.
    pub(crate) fn exported(&self) -> Vec<policy::Rule> {
        self.rules().map(|rule| rule.exported()).collect()
    }

    /// As EXPORT lists it.
    pub(crate) fn listed(&self) -> Vec<String> {
        self.rules().map(|rule| rule.hosts.listed()).collect()
    }

    /// Where the clients are that may mount it.
    pub(crate) fn admitted(&self) -> Vec<String> {
        let numbers = (1..=OBSERVER).filter(|number| self.standing(*number).is_some());
        numbers.map(|number| address_of(number).to_string()).collect()
    }

    fn rules(&self) -> impl Iterator<Item = Rule> {
        self.rules.into_iter().flatten()
    }
}

impl Standing {
    fn drawn(rng: &mut Rng) -> Standing {
        let (uid, gid) = [(700, 701), (1000, 701), (65_534, 65_533)][rng.below(3) as usize];
        Standing {
            may_change: !rng.one_in(4),
            squash: [Squash::Nobody, Squash::Superuser, Squash::Superuser, Squash::Everyone][rng.below(4) as usize],
            anonymous: User { uid, gid },
        }
    }

    /// As whom somebody acts who says that he is `user`.
    pub(crate) fn identity(&self, user: User) -> User {
        let instead = |number, anonymous| if number == 0 { anonymous } else { number };
        match self.squash {
            Squash::Nobody => user,
            Squash::Everyone => self.anonymous,
            Squash::Superuser => {
                User { uid: instead(user.uid, self.anonymous.uid), gid: instead(user.gid, self.anonymous.gid) }
            }
        }
    }
}

impl Rule {
    fn exported(&self) -> policy::Rule {
        let Standing { may_change, squash, anonymous } = self.standing;
        let network = |number, bits| {
            let network = policy::Network::new(address_of(number), bits);
            policy::Who::Network(network.expect("an address has as many bits"))
        };
        let who = match self.hosts {
            Hosts::Anyone => policy::Who::Anyone,
            Hosts::One(number) => network(number, 32),
            Hosts::Two(number) => network(number, 31),
        };
        policy::Rule {
            who,
            access: if may_change { policy::Access::ReadWrite } else { policy::Access::ReadOnly },
            squash: match squash {
                Squash::Nobody => policy::Squash::None,
                Squash::Superuser => policy::Squash::Root,
                Squash::Everyone => policy::Squash::All,
            },
            anon_uid: anonymous.uid,
            anon_gid: anonymous.gid,
        }
    }
}

impl Hosts {
    fn has(self, client: u8) -> bool {
        match self {
            Hosts::Anyone => true,
            Hosts::One(number) => number == client,
            Hosts::Two(number) => number == client & !1,
        }
    }

    fn listed(self) -> String {
        match self {
            Hosts::Anyone => "*".to_owned(),
            Hosts::One(number) => format!("10.0.0.{number}"),
            Hosts::Two(number) => format!("10.0.0.{number}/31"),
        }
    }
}

const FREE: Standing =
    Standing { may_change: true, squash: Squash::Nobody, anonymous: User { uid: 65_534, gid: 65_534 } };
const RULES: usize = 3;
/// Sets what is drawn here apart from what the rest of the history is drawn from.
const STREAM: u64 = 0x5ba2_e000_9011_c4ed;
