//! Where endpoints run, by their labels, and how near two of them are.
//!
//! Must not know what nearness is worth, nor how labels got to an endpoint.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// The labels that say where an endpoint runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyLabels {
    /// The label of its host.
    pub host: Cow<'static, str>,
    /// The label of its rack.
    pub rack: Cow<'static, str>,
    /// The label of its zone.
    pub zone: Cow<'static, str>,
    /// The label of its region.
    pub region: Cow<'static, str>,
}

/// Kubernetes' own labels, and llm-d's for racks.
pub static STANDARD_LABELS: TopologyLabels = TopologyLabels {
    host: Cow::Borrowed("kubernetes.io/hostname"),
    rack: Cow::Borrowed("topology.kubernetes.io/rack"),
    zone: Cow::Borrowed("topology.kubernetes.io/zone"),
    region: Cow::Borrowed("topology.kubernetes.io/region"),
};

/// Where an endpoint runs; `None` for what its labels don't say. An empty label says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Location<'a> {
    /// Its host.
    pub host: Option<&'a str>,
    /// Its rack.
    pub rack: Option<&'a str>,
    /// Its zone.
    pub zone: Option<&'a str>,
    /// Its region.
    pub region: Option<&'a str>,
}

/// The nearest level that two endpoints share, in order from near to far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nearness {
    /// One host.
    Host,
    /// One rack.
    Rack,
    /// One zone.
    Zone,
    /// One region.
    Region,
    /// Nothing that is known.
    Apart,
}

// === impl TopologyLabels ===

impl TopologyLabels {
    /// Where an endpoint with these labels runs.
    pub fn locate<'a>(&self, labels: &'a BTreeMap<String, String>) -> Location<'a> {
        let value = |label: &str| labels.get(label).map(String::as_str).filter(|value| !value.is_empty());
        Location {
            host: value(&self.host),
            rack: value(&self.rack),
            zone: value(&self.zone),
            region: value(&self.region),
        }
    }
}

impl Default for TopologyLabels {
    fn default() -> Self {
        STANDARD_LABELS.clone()
    }
}

// === impl Location ===

impl Location<'_> {
    /// The nearest level that is known of both and equal. What is known of one alone matches nothing.
    pub fn nearness(self, other: Location<'_>) -> Nearness {
        let levels = [
            (Nearness::Host, self.host, other.host),
            (Nearness::Rack, self.rack, other.rack),
            (Nearness::Zone, self.zone, other.zone),
            (Nearness::Region, self.region, other.region),
        ];
        let shared = levels.into_iter().find(|(_, one, other)| one.is_some() && one == other);
        shared.map_or(Nearness::Apart, |(level, ..)| level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_nearest_level_that_both_share_counts() {
        let near = |one: &[(&str, &str)], other: &[(&str, &str)]| {
            let (one, other) = (labels(one), labels(other));
            STANDARD_LABELS.locate(&one).nearness(STANDARD_LABELS.locate(&other))
        };
        let (host, zone) = (("kubernetes.io/hostname", "h1"), ("topology.kubernetes.io/zone", "z1"));
        assert_eq!(near(&[host, zone], &[host, zone]), Nearness::Host);
        assert_eq!(near(&[host, zone], &[zone]), Nearness::Zone);
        assert_eq!(
            near(&[("topology.kubernetes.io/rack", "r")], &[("topology.kubernetes.io/rack", "r")]),
            Nearness::Rack
        );
        assert_eq!(near(&[host], &[zone]), Nearness::Apart);
        assert_eq!(near(&[], &[]), Nearness::Apart, "unknown is not equal");
        let empty = [("topology.kubernetes.io/region", "")];
        assert_eq!(near(&empty, &empty), Nearness::Apart);
    }

    #[test]
    fn an_operator_s_own_labels_count_instead() {
        let mine = TopologyLabels { host: "slice".into(), ..TopologyLabels::default() };
        let (one, other) = (labels(&[("slice", "7")]), labels(&[("slice", "7"), ("kubernetes.io/hostname", "h")]));
        assert_eq!(mine.locate(&one).nearness(mine.locate(&other)), Nearness::Host);
    }
}
