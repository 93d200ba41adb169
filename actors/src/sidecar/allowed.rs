//! Which targets a header may name: hosts *with* their ports.
//!
//! A client that could name any target would have the sidecar call whatever it can reach, with a prompt of the client's
//! choice. Must not know where the list comes from.

use std::net::IpAddr;

use super::target::{self, Target};

/// The longest list.
const RULES_MAX: usize = 4_096;

/// The targets that are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedTargets {
    /// All: protection is off.
    Any,
    /// Those that a rule names.
    Listed(Vec<Rule>),
}

/// Hosts and ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    host: HostRule,
    /// The first and the last port.
    ports: (u16, u16),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostRule {
    Name(String),
    /// A domain, with its leading dot: every name below it.
    Below(String),
    /// The addresses whose first bits are these.
    Network(IpAddr, u8),
}

// === impl AllowedTargets ===

impl AllowedTargets {
    /// Reads rules, separated by commas or lines; `#` begins a comment.
    ///
    /// # Errors
    /// One sentence about the first wrong rule.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut rules = Vec::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            for rule in line.split(',').map(str::trim).filter(|rule| !rule.is_empty()) {
                if rules.len() == RULES_MAX {
                    return Err(format!("more than {RULES_MAX} targets; name a network, as in 10.0.0.0/16:8000"));
                }
                rules.push(Rule::read(rule)?);
            }
        }
        Ok(Self::Listed(rules))
    }

    /// Whether a header may name `target`.
    pub fn allows(&self, target: &Target) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(rules) => rules.iter().any(|rule| rule.allows(target)),
        }
    }

    /// The rules of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Listed(mut rules), Self::Listed(more)) => {
                rules.extend(more);
                Self::Listed(rules)
            }
            _ => Self::Any,
        }
    }
}

// === impl Rule ===

impl Rule {
    /// Reads `HOST:PORT` or `HOST:FIRST-LAST`; the host is an address, a network, a name, or `*.domain`.
    fn read(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!(
                "{text:?} {what}; write 10.0.0.7:8000, 10.0.0.0/16:8000, [fd00::/64]:8000 or *.prefill.svc:8000-8007"
            )
        };
        let (host, ports) = target::split(text).ok_or_else(|| wrong("has no port"))?;
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let port = |port: &str| port.parse().ok().filter(|port: &u16| *port > 0);
        let ports = port(first).zip(port(last)).filter(|(first, last)| first <= last);
        let ports = ports.ok_or_else(|| wrong("has no port from 1 to 65535"))?;
        let host = HostRule::read(&host.to_ascii_lowercase()).ok_or_else(|| wrong("names no host"))?;
        Ok(Self { host, ports })
    }

    fn allows(&self, target: &Target) -> bool {
        (self.ports.0..=self.ports.1).contains(&target.port) && self.host.allows(target)
    }
}

// === impl HostRule ===

impl HostRule {
    fn read(host: &str) -> Option<Self> {
        if let Some(domain) = host.strip_prefix('*') {
            return (domain.starts_with('.') && domain.len() > 1).then(|| Self::Below(domain.to_owned()));
        }
        let (address, bits) = host.split_once('/').map_or((host, None), |(address, bits)| (address, Some(bits)));
        let Ok(address) = address.parse::<IpAddr>() else {
            let named = bits.is_none().then(|| Target::read(&format!("{host}:1")).ok()).flatten()?;
            return Some(Self::Name(named.host));
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most))?;
        Some(Self::Network(address, bits))
    }

    fn allows(&self, target: &Target) -> bool {
        match self {
            Self::Name(name) => *name == target.host,
            Self::Below(domain) => target.address().is_none() && target.host.ends_with(domain.as_str()),
            Self::Network(network, bits) => target.address().is_some_and(|address| within(address, *network, *bits)),
        }
    }
}

/// Whether the first `bits` of both are equal.
fn within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let differ = match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => return false,
    };
    differ >= u32::from(bits)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_allowed_with_its_port_and_no_other() {
        let rules = "10.0.0.7:8000, 10.1.0.0/16:8000-8007\n# a comment\n[fd00::/64]:8000 # another\nprefill-0.ns:8000\n*.pool.svc:9000";
        let allowed = AllowedTargets::read(rules).unwrap();
        let allows = |target: &str| allowed.allows(&Target::read(target).unwrap());
        for target in ["10.0.0.7:8000", "10.1.2.3:8007", "[fd00::9]:8000", "PREFILL-0.ns:8000", "a.pool.svc:9000"] {
            assert!(allows(target), "{target}");
        }
        for target in [
            "10.0.0.7:8001",
            "10.0.0.8:8000",
            "10.1.2.3:8008",
            "10.2.0.1:8000",
            "[fd00:0:0:1::9]:8000",
            "prefill-1.ns:8000",
            "a.pool.svc:9001",
            "pool.svc:9000",
            "169.254.169.254:80",
        ] {
            assert!(!allows(target), "{target}");
        }
    }

    #[test]
    fn an_address_in_another_spelling_is_the_same() {
        let allowed = AllowedTargets::read("10.0.0.0/8:8000").unwrap();
        assert!(allowed.allows(&Target::read("[::ffff:10.0.0.7]:8000").unwrap()));
        assert!(!allowed.allows(&Target::read("[::ffff:11.0.0.7]:8000").unwrap()));
    }

    #[test]
    fn a_wrong_rule_says_how_to_write_one() {
        for rule in ["10.0.0.7", "10.0.0.0/33:80", "a/8:80", "*:80", "*x:80", "a:0", "a:9-8", "a b:80"] {
            let why = AllowedTargets::read(rule).unwrap_err();
            assert!(why.contains(&format!("{rule:?}")) && why.contains("10.0.0.0/16:8000"), "{why}");
        }
        assert_eq!(AllowedTargets::read("\n# nothing\n").unwrap(), AllowedTargets::Listed(Vec::new()));
    }
}
