"""Checks that an engine may be killed and started again. Must not know how engines are started."""

import http.client
import time
from concurrent.futures import ThreadPoolExecutor

from . import http_client
from .answers import good
from .load import IDLE_MAX, all_idle
from .prompts import completion, words
from .report import must

# Streams that are open when the engine is killed.
STREAMS, STREAM_TOKENS = 8, 1200
# Requests, one after the other, that the other engine must answer.
REQUESTS_TO_OTHER = 12
# Seconds until every replica has noticed the kill.
NOTICED_MAX = 30
# Requests within which one must go to the restarted engine.
RETURN_REQUESTS = 40


def run(report, tier):
    """Runs all checks in this order, because each one leaves the tier in the state that the next one needs."""
    victim, other = tier.engines
    with ThreadPoolExecutor(STREAMS) as pool:
        asks = [pool.submit(_stream, tier, number) for number in range(STREAMS)]
        report.check(
            "an engine is killed while it streams: every replica finds it unreachable, and meanwhile each "
            "request gets an answer",
            killed,
            tier,
            victim,
        )
        report.check(
            "the streams of the killed engine are cut, those of the other one are complete, and none hangs",
            cut,
            tier,
            other,
            asks,
        )
    report.check("the other engine serves all requests", other_engine_only, tier, other)
    report.check("no ticket stays open", no_open_tickets, tier)
    victim.start()
    if report.check("the engine is started again, and every replica has its load", returned, tier, victim):
        report.check("requests go to the engine again", used_again, tier, victim)


def _stream(tier, number):
    body = completion(words(f"stream {number}", 40), STREAM_TOKENS, streamed=True)
    try:
        return http_client.ask(tier.public, "/v1/completions", body)
    except (OSError, http.client.HTTPException, http_client.Hung) as end:
        return end


def killed(tier, victim):
    """Requests meanwhile may get an error of the proxy, but none may go without an answer."""

    def both_run():
        return all(engine.gauges()[0] for engine in tier.engines)

    must(http_client.eventually(both_run, 60, every=0.02), "the streams never ran on both engines at once")
    victim.kill()
    begun = time.monotonic()
    asked = lost = 0
    while asked == 0 or any(row["reachable"] for row in tier.rows(victim)):
        must(time.monotonic() - begun < NOTICED_MAX, f"after {NOTICED_MAX} s some replica still finds it reachable")
        answer = http_client.ask(tier.public, "/v1/completions", completion(words(f"noticed {asked}", 30), 2))
        must(answer.status in (200, 502, 503, 504), f"{answer.status}: {answer.body[:200]!r}")
        lost += answer.status != 200
        asked += 1
    return f"{asked} meanwhile, {asked - lost} of them with 200"


def cut(tier, other, asks):
    """The replicas' decisions show which engine served which stream."""
    ends = [ask.result() for ask in asks]
    must(not any(isinstance(end, http_client.Hung) for end in ends), f"{ends}")
    whole = [end for end in ends if not isinstance(end, Exception) and end.status == 200 and end.error is None]
    for end in whole:
        good(end, STREAM_TOKENS)
    decisions = tier.decisions()
    must(all(decisions[end.id][1] is other for end in whole), "a stream on the killed engine looks complete")
    must(0 < len(whole) < STREAMS, f"{len(whole)} of {STREAMS} streams were complete")
    return f"{len(whole)} complete, {STREAMS - len(whole)} cut"


def other_engine_only(tier, other):
    """The prompts are new, so only the kill influences the decisions."""
    answers = []
    for number in range(REQUESTS_TO_OTHER):
        body = completion(words(f"alone {number}", 30), 4, streamed=number % 2 == 0)
        answers.append(good(http_client.ask(tier.public, "/v1/completions", body), 4))
    decisions = tier.decisions()
    must(all(decisions[answer.id][1] is other for answer in answers), "a request was sent to the killed engine")
    must(len({decisions[answer.id][0] for answer in answers}) == len(tier.replicas), "not every replica decided")


def no_open_tickets(tier):
    """Tickets of cut streams are closed, too."""
    must(
        http_client.eventually(tier.no_open_tickets, IDLE_MAX),
        f"{[tier.fleet(replica)[1] for replica in tier.replicas]}",
    )


def returned(tier, victim):
    """Its cache is empty and its counters start at zero."""
    victim.wait()
    all_idle(tier)


def used_again(tier, victim):
    """Prompts that no engine has cached spread over both engines."""
    for number in range(RETURN_REQUESTS):
        answer = good(http_client.ask(tier.public, "/v1/completions", completion(words(f"again {number}", 40), 4)), 4)
        if tier.decisions()[answer.id][1] is victim:
            must(http_client.eventually(victim.finished, IDLE_MAX), f"{victim.name} had no request")
            return f"request {number + 1}"
    must(False, f"none of {RETURN_REQUESTS} requests did")
