//! Joins the metrics of several pools on one page, and names the pool on each series.
//!
//! Must not know what a family means, beyond whether it is about the process or about a pool.

use std::collections::BTreeMap;

use murmuration::id::PoolId;
use prometheus::proto::{LabelPair, Metric, MetricFamily};

/// The label, as llm-d spells it on series of flow control. The gauges of the pool already name it by `name`.
const LABEL: &str = "inference_pool";
/// Families about the process: peers and lanes, which serve all pools.
const OF_PROCESS: [&str; 11] = [
    "llm_d_epp_info",
    "murmuration_gossip_facts_left_out_total",
    "murmuration_metrics_refused_total",
    "murmuration_panics_total",
    "murmuration_peer_bytes_total",
    "murmuration_peer_fact_age_seconds",
    "murmuration_peer_facts_total",
    "murmuration_peer_repairs_total",
    "murmuration_peers",
    "murmuration_peers_lost_total",
    "murmuration_prompt_salt_changes_total",
];
/// Families that the process counts for itself, and each pool too: connections, failed parts, reloaded files, watches.
const OF_BOTH: [&str; 9] = [
    "murmuration_actor_restarts_total",
    "murmuration_authorities_repaired_total",
    "murmuration_connections_closed_total",
    "murmuration_parts_given_up_total",
    "murmuration_peer_ignored_total",
    "murmuration_reloads_total",
    "murmuration_server_names_refused_total",
    "murmuration_watch_failures_total",
    "murmuration_watch_interrupted",
];

/// The families of the process and those of its pools, ordered by name.
pub(super) fn joined<'a>(
    process: Vec<MetricFamily>,
    pools: impl Iterator<Item = (&'a PoolId, Vec<MetricFamily>)>,
) -> Vec<MetricFamily> {
    let is_of_process = |family: &MetricFamily| OF_PROCESS.contains(&family.name()) || is_of_both(family);
    let mut joined: BTreeMap<String, MetricFamily> = BTreeMap::new();
    for family in process.into_iter().filter(is_of_process) {
        joined.insert(family.name().to_owned(), family);
    }
    for (pool, families) in pools {
        for mut family in families.into_iter().filter(|family| !is_of_process(family) || is_of_both(family)) {
            let mut metrics = family.take_metric();
            metrics.iter_mut().for_each(|metric| name(metric, pool));
            joined.entry(family.name().to_owned()).or_insert(family).mut_metric().extend(metrics);
        }
    }
    joined.into_values().collect()
}

fn is_of_both(family: &MetricFamily) -> bool {
    OF_BOTH.contains(&family.name())
}

/// Adds the pool's name, unless a label already has it.
fn name(metric: &mut Metric, pool: &PoolId) {
    let mut labels = metric.take_label();
    if !labels.iter().any(|label| label.name() == "name") {
        let mut label = LabelPair::default();
        label.set_name(LABEL.to_owned());
        label.set_value(pool.to_string());
        labels.push(label);
        labels.sort_unstable_by(|one, other| one.name().cmp(other.name()));
    }
    metric.set_label(labels);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use murmuration::event::Event;
    use murmuration::id::{EndpointId, Incarnation, ReplicaId, Ticket};
    use murmuration::request::Outcome;
    use murmuration::scheduler::{Balance, FleetSummary};

    use crate::telemetry::Telemetry;
    use crate::telemetry::span::Tracer;

    use super::*;

    #[test]
    fn series_of_pools_bear_their_names_and_those_of_the_process_none() {
        let process = Telemetry::new("default", Tracer::default()).unwrap();
        let pools = ["a", "b"].map(|name| PoolId::new(name).unwrap());
        let of_pools = pools.each_ref().map(|pool| process.of_pool(pool).unwrap());
        process.record(&Event::PeerJoined { peer: ReplicaId("r1".into()), incarnation: Incarnation(1) });
        for (times, telemetry) in [1, 2].into_iter().zip(&of_pools) {
            let (endpoints, tickets, peers) = (Vec::new(), Balance::default(), Vec::new());
            telemetry.pool(&FleetSummary { endpoints, tickets, index_bytes: 0, sessions: 0, peers }, &[]);
            for _ in 0..times {
                telemetry.record(&Event::TicketClosed { ticket: Ticket(1), outcome: Outcome::Completed });
                telemetry.record(&Event::EndpointLeft(EndpointId::new("default", "e0")));
            }
        }
        let page = process.page_of(pools.iter().zip(&of_pools));
        for line in [
            "murmuration_peers 1",
            "murmuration_tickets_closed_total{inference_pool=\"a\",outcome=\"Completed\"} 1",
            "murmuration_tickets_closed_total{inference_pool=\"b\",outcome=\"Completed\"} 2",
            "llm_d_epp_ready_endpoints{name=\"a\"} 0",
            "inference_pool_ready_pods{name=\"b\"} 0",
            "llm_d_epp_extproc_streams_inflight{inference_pool=\"a\"} 0",
        ] {
            assert_eq!(page.lines().filter(|shown| *shown == line).count(), 1, "{line}\n{page}");
        }
        let of_process =
            |line: &&str| !line.starts_with('#') && !line.contains("inference_pool=") && !line.contains("{name=");
        for line in page.lines().filter(of_process) {
            let family = line.split(['{', ' ']).next().unwrap();
            let family =
                ["_bucket", "_sum", "_count"].iter().find_map(|end| family.strip_suffix(end)).unwrap_or(family);
            let former = family == "inference_extension_info";
            assert!(former || OF_PROCESS.contains(&family) || OF_BOTH.contains(&family), "{line}");
        }
        let heads: Vec<&str> = page.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let mut once = heads.clone();
        once.dedup();
        assert_eq!(heads, once, "each family has one head");
    }

    #[test]
    fn every_family_that_is_of_the_process_exists() {
        let sources = [
            include_str!("metrics.rs"),
            include_str!("replication_metrics.rs"),
            include_str!("connection_metrics.rs"),
            include_str!("kubernetes_metrics.rs"),
        ];
        for family in OF_PROCESS.iter().chain(&OF_BOTH) {
            assert!(sources.iter().any(|source| source.contains(&format!("\"{family}\""))), "{family}");
        }
    }
}
