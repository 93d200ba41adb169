//! What a replica's page of peers says of the tier.
//!
//! Must not know how it was fetched.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What a replica reports of replication.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeersPage {
    /// Peers that it sees, and follows where there are streams.
    pub(crate) well: BTreeSet<usize>,
    /// Requests of each peer that it counts as open.
    pub(crate) open: BTreeMap<usize, u64>,
    /// The digests of its beliefs, by part.
    pub(crate) digest: BTreeMap<String, String>,
}

// === impl PeersPage ===

impl PeersPage {
    /// Reads `/debug/peers`; `None` if it is no JSON. `streams` says whether replicas should follow each other by
    /// streams.
    pub(crate) fn read(text: &str, streams: bool) -> Option<Self> {
        let page: Value = serde_json::from_str(text).ok()?;
        let parts = page["digest"].as_object().into_iter().flatten();
        let digest = parts.map(|(part, digest)| (part.clone(), digest.to_string())).collect();
        let mut read = Self { digest, ..Self::default() };
        for peer in page["peers"].as_array().into_iter().flatten() {
            let Some(index) = peer["replica"].as_str().and_then(index) else { continue };
            let stream = &peer["stream"];
            let follows = !streams || (stream["connected"] == true && stream["caught_up"] == true);
            if !peer["member"].is_null() && !peer["heard"].is_null() && follows {
                read.well.insert(index);
            }
            read.open.insert(index, peer["heard"]["in_flight"]["requests"].as_u64().unwrap_or(0));
        }
        Some(read)
    }
}

/// The number in a replica's name.
pub(crate) fn index(name: &str) -> Option<usize> {
    name.strip_prefix("replica-")?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_well_when_it_is_a_member_heard_and_followed() {
        let page = serde_json::json!({ "digest": { "reports": 7 }, "peers": [
            { "replica": "replica-1", "member": {}, "heard": { "in_flight": { "requests": 3 } }, "stream": { "connected": true, "caught_up": true } },
            { "replica": "replica-2", "member": {}, "heard": { "in_flight": { "requests": 0 } }, "stream": { "connected": false } },
        ] })
        .to_string();
        let with = PeersPage::read(&page, true).unwrap();
        assert_eq!((with.well, with.open[&1], with.digest["reports"].as_str()), (BTreeSet::from([1]), 3, "7"));
        assert_eq!(PeersPage::read(&page, false).unwrap().well, BTreeSet::from([1, 2]));
        assert!(PeersPage::read("<html>", false).is_none());
    }
}
