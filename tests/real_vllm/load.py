"""Checks under load: prefixes meet, metrics are read right, and what is too much gets the engine's own answer.

Must not know failures of processes.
"""

import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from . import engines, talk
from .answers import good
from .prompts import ROUTES, chat, completion, words
from .report import must

# Groups with a shared head, and the requests of each: five, so that Envoy, which takes the replicas in turn, brings
# each group to each replica.
GROUPS, ROUNDS = 5, 7
HEAD_WORDS = 900
# A burst that both engines take in (16 each) but can't compute at once (8 each).
BURST, BURST_TOKENS = 20, 1200
# A burst far beyond what they take in.
FLOOD, FLOOD_TOKENS = 96, 400
# Slow machines need time to come to rest; a quiet one needs less than a second.
REST_MAX = 60


def run(report, tier):
    """All of them."""
    report.check("at rest every replica reads both engines: EXACT, nothing running, nothing waiting", at_rest, tier)
    report.check("each engine's metrics page is read by one replica alone", one_keeper, tier)
    report.check("shared prefixes meet on one engine, and vLLM finds them in its cache", prefixes, tier)
    report.check("in a burst every replica reads what vLLM's own metrics say", metrics, tier)
    report.check("every replica reads which adapters run", adapters, tier)
    report.check("a burst beyond the queue limit: each request gets an answer or vLLM's own error", flood, tier)
    report.check("after the bursts all books balance", rest, tier)


def at_rest(tier):
    """The geometry of the cache comes from the page too, so it is no made-up row."""

    def quiet():
        rows = [(engine, row) for engine in tier.engines for row in tier.rows(engine)]
        return all(row["trust"] == "EXACT" and row["reachable"] and _read(row) == (0, 0) for _, row in rows) and rows

    rows = talk.eventually(quiet, REST_MAX)
    must(rows, f"after {REST_MAX} s: {[tier.rows(engine) for engine in tier.engines]}")
    for engine, row in rows:
        cache = row["report"]["cache"]
        must(cache == {"block_tokens": engines.BLOCK, "blocks": 512}, f"{engine.name}'s cache is read as {cache}")
        must(row["report"]["kv_usage"] == 0 and row["report"]["awake"], f"{engine.name} is read as {row['report']}")


def _read(row):
    report = row["report"] or {}
    return report.get("running"), report.get("waiting")


def one_keeper(tier):
    """vLLM's own access log tells: replicas keep their connections, so one connection is one replica."""

    def readers(engine):
        begun = engine.log.stat().st_size
        time.sleep(1)
        with open(engine.log, "rb") as log:
            log.seek(begun)
            return Counter(re.findall(r'(127\.0\.0\.1:\d+) - "GET /metrics', log.read().decode("utf-8", "replace")))

    for engine in tier.engines:
        found = {}

        def one_reader():
            found[engine] = readers(engine)
            return len(found[engine]) == 1

        must(talk.eventually(one_reader, REST_MAX), f"{engine.name}'s page is read over {dict(found[engine])}")


def prefixes(tier):
    """One after the other, round by round, so that each finds what the one before it left."""
    heads = [words(f"head {group}", HEAD_WORDS) for group in range(GROUPS)]
    shared = [tier.engines[0].tokens(head) // engines.BLOCK * engines.BLOCK for head in heads]
    before = [engine.finished() for engine in tier.engines]
    asked = []
    for turn in range(ROUNDS):
        for group, head in enumerate(heads):
            prompt = f"{head}\n{words(f'tail {group} {turn}', 20)}"
            asked.append((group, turn, good(talk.ask(tier.public, "/v1/completions", completion(prompt, 4)), 4)))
    decisions = tier.decisions()
    places = [set() for _ in heads]
    for group, turn, answer in asked:
        places[group].add(decisions[answer.id][1].name)
        # The last block of the head may hold the first token of a tail.
        least = shared[group] - engines.BLOCK if turn else 0
        must(
            (answer.cached_tokens or 0) >= least,
            f"group {group}, round {turn}: {answer.cached_tokens} tokens cached of {shared[group]} shared",
        )
    must(all(len(one) == 1 for one in places), f"groups went to {places}")
    must(len(set.union(*places)) == len(tier.engines), f"all groups went to {places[0]}, the other engine had none")
    replicas = Counter(decisions[answer.id][0] for _, _, answer in asked)
    must(len(replicas) == len(tier.replicas), f"only {len(replicas)} replicas decided")
    # Envoy went where the replicas said.
    sent = Counter(decisions[answer.id][1] for _, _, answer in asked)

    def counted():
        return all(engine.finished() - old == sent[engine] for engine, old in zip(tier.engines, before))

    must(
        talk.eventually(counted, REST_MAX),
        f"decisions: {[sent[engine] for engine in tier.engines]}, "
        f"vLLM: {[engine.finished() - old for engine, old in zip(tier.engines, before)]}",
    )
    cached = sum(answer.cached_tokens for _, _, answer in asked)
    return (
        f"{cached / sum(answer.usage['prompt_tokens'] for _, _, answer in asked):.0%} of all prompt tokens were cached"
    )


def metrics(tier):
    """Compares whenever vLLM said the same before and after, and the replica's report is from in between."""
    compared = Counter()
    with ThreadPoolExecutor(BURST + len(tier.engines)) as pool:
        asks = [pool.submit(_burst_one, tier, number) for number in range(BURST)]
        watches = [pool.submit(_watch, tier, engine, asks, compared) for engine in tier.engines]
        answers = [good(ask.result(), BURST_TOKENS) for ask in asks]
        busiest = [watch.result() for watch in watches]
    for engine in tier.engines:
        for replica in tier.replicas:
            must(compared[engine.name, replica], f"{engine.name} was never at one load long enough to be compared")
    decisions = tier.decisions()
    sent = Counter(decisions[answer.id][1] for answer in answers)
    each = ", ".join(
        f"{sent[engine]} requests and {most} at once on {engine.name}" for engine, most in zip(tier.engines, busiest)
    )
    return f"{sum(compared.values())} comparisons; {each}"


def _burst_one(tier, number):
    body = completion(words(f"burst {number}", 40), BURST_TOKENS, streamed=number % 2 == 0)
    return talk.ask(tier.public, "/v1/completions", body)


def _watch(tier, engine, asks, compared):
    """Compares for as long as the burst lasts; gives the most requests that ran at once."""
    most = 0
    while not all(ask.done() for ask in asks):
        most = max(most, _compare(tier, engine, compared))
    return most


def _compare(tier, engine, compared):
    """One comparison, if the engine stands still for it; gives how many requests run."""
    first = engine.gauges()
    since = time.monotonic()
    time.sleep(0.4)
    rows = []
    for replica in tier.replicas:
        row = tier.fleet(replica)[0][engine]
        # The age is at least that much older than the reading of the clock after the page came.
        rows.append((replica, row, time.monotonic() - since))
    last = engine.gauges()
    if first[:2] != last[:2] or first[0] == 0:
        return max(first[0], last[0])
    for replica, row, span in rows:
        age = row["age"]["secs"] + row["age"]["nanos"] / 1e9
        if age > span - 0.05:
            continue
        must(_read(row) == last[:2], f"{replica} reads {_read(row)} of {engine.name}, whose page says {last[:2]}")
        used, low, high = row["report"]["kv_usage"], min(first[2], last[2]), max(first[2], last[2])
        must(
            low - 0.02 <= used <= high + 0.02, f"{replica} reads KV use {used} of {engine.name}, it was {low} to {high}"
        )
        compared[engine.name, replica] += 1
    return first[0]


def adapters(tier):
    """While requests to both adapters run, some engine's row names each of them."""
    seen = {replica: set() for replica in tier.replicas}
    with ThreadPoolExecutor(8) as pool:
        asks = []
        for number in range(8):
            body = chat(words(f"adapters {number}", 30), 400, model=("lora-a", "lora-b")[number % 2])
            asks.append(pool.submit(talk.ask, tier.public, "/v1/chat/completions", body))
        while not all(ask.done() for ask in asks):
            for replica in tier.replicas:
                for row in tier.fleet(replica)[0].values():
                    told = row["report"]["adapters"] or {"running": [], "max": 2}
                    must(told["max"] == 2, f"{replica} reads {told}")
                    seen[replica] |= set(told["running"])
            time.sleep(0.05)
        for ask in asks:
            good(ask.result(), 400)
    for replica, names in seen.items():
        must(names == {"lora-a", "lora-b"}, f"{replica} saw {sorted(names)} running")


def flood(tier):
    """Chat and completions, whole and streamed, all at once."""
    before = tier.errors()
    with ThreadPoolExecutor(FLOOD) as pool:
        asks = [pool.submit(_flood_one, tier, number) for number in range(FLOOD)]
        kinds = Counter(_kind(ask.result()) for ask in asks)
    strange = {kind: count for kind, count in kinds.items() if kind not in ("answered", "503", "200 with an error")}
    must(not strange, f"{strange}")
    must(
        kinds["answered"] >= engines.QUEUE,
        f"only {kinds['answered']} were answered, one engine alone takes {engines.QUEUE}",
    )
    must(kinds["answered"] < FLOOD, "nothing was refused: the burst was not beyond the limit")
    # A 200 whose only event is an error is an error to the replicas too.
    told = Counter({"503": kinds["503"], "ModelServerError": kinds["200 with an error"]})
    must(
        talk.eventually(lambda: tier.errors() - before == +told, REST_MAX),
        f"clients saw {dict(told)}, the replicas counted {dict(tier.errors() - before)}",
    )
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def _flood_one(tier, number):
    path, body = list(ROUTES.values())[number % 2]
    try:
        return talk.ask(tier.public, path, body(words(f"flood {number}", 30), FLOOD_TOKENS, streamed=number % 4 < 2))
    except Exception as error:  # Which one it was is the finding.
        return error


def _kind(answer):
    if isinstance(answer, Exception):
        return f"{type(answer).__name__}: {answer}"
    error = answer.error
    if error is None:
        good(answer, FLOOD_TOKENS)
        return "answered"
    own = isinstance(error, dict) and error.get("code") == 503 and "currently busy" in error.get("message", "")
    if not own:
        return f"{answer.status}: {answer.body[:200]!r}"
    return "503" if answer.status == 503 else f"{answer.status} with an error"


def rest(tier):
    """No ticket is open, here or by hearsay; the engines have nothing left."""
    must(talk.eventually(tier.at_rest, REST_MAX), f"{[tier.fleet(replica)[1] for replica in tier.replicas]}")
    at_rest(tier)
