"""A real Prometheus beside the pickers of `standalone`: every query of the dashboards and alerts against real series.

Must not know how the pickers are run.
"""

import json
import urllib.parse
import urllib.request

from . import monitoring

AT = "127.0.0.1:9091"
# What has no series while nothing is wrong or asked for: refusals, failures, pairs, rewrites, sessions, several pools or zones.
QUIET = {
    "llm_d_epp_datalayer_poll_errors_total",
    "llm_d_epp_disagg_decision_total",
    "llm_d_epp_model_rewrite_decisions_total",
    "llm_d_epp_request_error_total",
    "murmuration_actor_restarts_total",
    "murmuration_caches_cleared_total",
    "murmuration_connections_closed_total",
    "murmuration_gauges_missing_total",
    "murmuration_gossip_facts_left_out_total",
    "murmuration_local_replies_total",
    "murmuration_peer_endpoints_outside",
    "murmuration_peer_facts_refused_total",
    "murmuration_peer_ignored_total",
    "murmuration_peer_repairs_total",
    "murmuration_peer_zone_bytes_total",
    "murmuration_prefix_predictions_total",
    "murmuration_preparations_total",
    "murmuration_prompt_salt_changes_total",
    "murmuration_refusals_total",
    "murmuration_reloads_total",
    "murmuration_scrape_failures_total",
    "murmuration_served_by_other_endpoint_total",
    "murmuration_server_names_refused_total",
}


def configuration(addresses):
    """Scrapes pickers once a second, with the labels that the Prometheus operator adds."""
    targets = [
        {"targets": [f"{address}:9090"], "labels": {"namespace": "models", "job": "vllm-epp", "pod": f"vllm-epp-{at}"}}
        for at, address in enumerate(addresses)]
    scrape = {"job_name": "pickers", "scrape_interval": "1s", "static_configs": targets}
    return json.dumps({"global": {"evaluation_interval": "1s"}, "scrape_configs": [scrape]})


def command(prometheus, folder):
    """How to start it."""
    return [
        prometheus, f"--config.file={folder}/prometheus.json", f"--storage.tsdb.path={folder}/tsdb",
        f"--web.listen-address={AT}", "--log.level=warn"]


def query(text):
    """The number of series that a query gives; an error as text."""
    url = f"http://{AT}/api/v1/query?" + urllib.parse.urlencode({"query": text})
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return len(json.load(answer)["data"]["result"]), None
    except urllib.error.HTTPError as error:
        return 0, error.read().decode()


def problems():
    """Queries that fail, and those that should give data and don't."""
    for path in sorted(monitoring.DASHBOARDS.glob("*.json")):
        for text in monitoring.queries(json.loads(path.read_text())):
            count, error = query(text)
            if error or count == 0 and not any(name in text for name in QUIET):
                yield f"{path.name}: {text}: {error or 'no data'}"
