"""Checks of an engine's death and return. Must not know how engines are started."""

import http.client
import time
from concurrent.futures import ThreadPoolExecutor

from . import talk
from .answers import good
from .load import REST_MAX, at_rest
from .prompts import completion, words
from .report import must

# Streams that run when the engine dies.
STREAMS, STREAM_TOKENS = 8, 1200
# Requests, one after the other, that the other engine must answer alone.
ALONE = 12
# Until every replica has seen it.
SEEN_MAX = 30
# Requests until one goes to the engine that is back.
RETURN_ASKS = 40


def run(report, tier):
    """All of them, in this order: each leaves the tier as the next one needs it."""
    victim, other = tier.engines
    with ThreadPoolExecutor(STREAMS) as pool:
        asks = [pool.submit(_stream, tier, number) for number in range(STREAMS)]
        report.check(
            "an engine is killed under its streams: every replica calls it unreachable, and meanwhile each "
            "request gets an answer",
            killed,
            tier,
            victim,
        )
        report.check(
            "the streams of the killed engine end cut, those of the other one whole, and none hangs",
            cut,
            tier,
            other,
            asks,
        )
    report.check("requests go on with the other engine alone", alone, tier, other)
    report.check("the books balance without it", books, tier)
    victim.start()
    if report.check("it is started again, and every replica reads it", returned, tier, victim):
        report.check("requests go to it again", used_again, tier, victim)


def _stream(tier, number):
    body = completion(words(f"stream {number}", 40), STREAM_TOKENS, streamed=True)
    try:
        return talk.ask(tier.public, "/v1/completions", body)
    except (OSError, http.client.HTTPException, talk.Hung) as end:
        return end


def killed(tier, victim):
    """A refusal of the proxy is an answer; silence is none."""

    def both_run():
        return all(engine.gauges()[0] for engine in tier.engines)

    must(talk.eventually(both_run, 60, every=0.02), "the streams never ran on both engines at once")
    victim.kill()
    begun = time.monotonic()
    asked = lost = 0
    while asked == 0 or any(row["reachable"] for row in tier.rows(victim)):
        must(time.monotonic() - begun < SEEN_MAX, f"after {SEEN_MAX} s some replica still believes in it")
        answer = talk.ask(tier.public, "/v1/completions", completion(words(f"noticed {asked}", 30), 2))
        must(answer.status in (200, 502, 503, 504), f"{answer.status}: {answer.body[:200]!r}")
        lost += answer.status != 200
        asked += 1
    return f"{asked} meanwhile, {asked - lost} of them with 200"


def cut(tier, other, asks):
    """Which stream ran where, the replicas tell."""
    ends = [ask.result() for ask in asks]
    must(not any(isinstance(end, talk.Hung) for end in ends), f"{ends}")
    whole = [end for end in ends if not isinstance(end, Exception) and end.status == 200 and end.error is None]
    for end in whole:
        good(end, STREAM_TOKENS)
    decisions = tier.decisions()
    must(all(decisions[end.id][1] is other for end in whole), "a stream on the killed engine looks whole")
    must(0 < len(whole) < STREAMS, f"{len(whole)} of {STREAMS} streams were whole")
    return f"{len(whole)} whole, {STREAMS - len(whole)} cut"


def alone(tier, other):
    """Prompts that nobody has seen: nothing but the death decides."""
    answers = []
    for number in range(ALONE):
        body = completion(words(f"alone {number}", 30), 4, streamed=number % 2 == 0)
        answers.append(good(talk.ask(tier.public, "/v1/completions", body), 4))
    decisions = tier.decisions()
    must(all(decisions[answer.id][1] is other for answer in answers), "one was sent to the dead engine")
    must(len({decisions[answer.id][0] for answer in answers}) == len(tier.replicas), "not every replica decided")


def books(tier):
    """Tickets of cut streams are closed too."""
    must(talk.eventually(tier.at_rest, REST_MAX), f"{[tier.fleet(replica)[1] for replica in tier.replicas]}")


def returned(tier, victim):
    """Its cache is empty and its counters begin anew."""
    victim.wait()
    at_rest(tier)


def used_again(tier, victim):
    """Cold prompts spread over both."""
    for number in range(RETURN_ASKS):
        answer = good(talk.ask(tier.public, "/v1/completions", completion(words(f"again {number}", 40), 4)), 4)
        if tier.decisions()[answer.id][1] is victim:
            must(talk.eventually(victim.finished, REST_MAX), f"{victim.name} had no request")
            return f"request {number + 1}"
    must(False, f"none of {RETURN_ASKS} requests did")
