//! An engine's address in a header: `host:port`, and lists of them.
//!
//! Must not know which stage it serves, or whether it is allowed.

use std::fmt;
use std::net::IpAddr;

/// The most targets of one header.
const TARGETS_MAX: usize = 16;
/// The longest name of a host, as DNS has it.
const HOST_MAX: usize = 253;

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// An address or a name, in lower case; IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

// === impl Target ===

impl Target {
    /// Reads `host:port`. The scheme of an older spelling (`http://host:port`) is ignored: flags say what is encrypted.
    ///
    /// # Errors
    /// One sentence.
    pub fn read(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let bare = trimmed.strip_prefix("http://").or_else(|| trimmed.strip_prefix("https://")).unwrap_or(trimmed);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        let (host, port) = split(bare).ok_or_else(|| format!("{text:?} is no host:port"))?;
        let digits = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        let port = digits.and_then(|port| port.parse().ok()).filter(|port| *port > 0);
        let port = port.ok_or_else(|| format!("{text:?} has no port from 1 to 65535"))?;
        let host = host.to_ascii_lowercase();
        let is_name = |name: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !name.is_empty() && name.len() <= HOST_MAX && name.bytes().all(allowed)
        };
        match host.parse::<IpAddr>() {
            Ok(address) => Ok(Self { host: address.to_canonical().to_string(), port }),
            Err(_) if is_name(&host) => Ok(Self { host, port }),
            Err(_) => Err(format!("{text:?} names no host")),
        }
    }

    /// Its address, where it is none that must be looked up.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Reads the targets of a header's values, each a comma-separated list.
///
/// # Errors
/// One sentence about the first that can't be read, or about their number.
pub(crate) fn read_list<'v>(values: impl Iterator<Item = &'v str>) -> Result<Vec<Target>, String> {
    let mut targets = Vec::new();
    for one in values.flat_map(|value| value.split(',')).filter(|one| !one.trim().is_empty()) {
        if targets.len() == TARGETS_MAX {
            return Err(format!("more than {TARGETS_MAX} targets"));
        }
        let target = Target::read(one)?;
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    Ok(targets)
}

/// Host and port; IPv6 addresses stand in brackets.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        return Some((host, port.strip_prefix(':')?));
    }
    text.rsplit_once(':').filter(|(host, _)| !host.contains(':'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_names_and_the_older_spelling_are_read() {
        for (text, shown) in [
            ("10.0.0.7:8000", "10.0.0.7:8000"),
            (" Prefill-0.ns.svc:8000 ", "prefill-0.ns.svc:8000"),
            ("[FD00::7]:1", "[fd00::7]:1"),
            ("[::ffff:10.0.0.7]:1", "10.0.0.7:1"),
            ("http://10.0.0.7:8000", "10.0.0.7:8000"),
            ("http://10.0.0.7:8000/", "10.0.0.7:8000"),
        ] {
            assert_eq!(Target::read(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused_with_its_text() {
        for text in ["", ":8000", "a", "a:", "a:0", "a:99999", "fd00::7:80", "a b:1", "a/b:1", "u@h:1", "h:1/x", "h:+1"]
        {
            let why = Target::read(text).unwrap_err();
            assert!(why.contains(&format!("{text:?}")), "{text}: {why}");
        }
    }

    #[test]
    fn a_list_keeps_its_order_and_is_bounded() {
        let list = read_list(["b:1, a:1,", "c:1", "a:1"].into_iter()).unwrap();
        assert_eq!(list.iter().map(ToString::to_string).collect::<Vec<_>>(), ["b:1", "a:1", "c:1"]);
        let many: Vec<String> = (1..=17).map(|port| format!("a:{port}")).collect();
        assert!(read_list(std::iter::once(many.join(",").as_str())).unwrap_err().contains("16"));
        assert!(read_list(["a:1,b"].into_iter()).unwrap_err().contains("\"b\""));
    }
}
