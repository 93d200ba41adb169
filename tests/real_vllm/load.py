"""Checks under load: shared prefixes go to one engine, metrics are read correctly, and an overload gets the engine's
own answer.

Must not know failures of processes.
"""

import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from . import engines, http_client
from .answers import good
from .prompts import ROUTES, chat, completion, words
from .report import must

# Groups of requests with a shared prefix, and the requests of each group. Envoy takes the three replicas in turn, so
# with five groups each group gets to each replica.
GROUPS, ROUNDS = 5, 7
HEAD_WORDS = 900
# A burst that both engines accept (16 each) but can't compute at once (8 each).
BURST, BURST_TOKENS = 20, 1200
# A burst far above what they accept.
FLOOD, FLOOD_TOKENS = 96, 400
# Seconds until all engines are idle. An idle machine needs less than one; a slow one needs more.
IDLE_MAX = 60


def run(report, tier):
    """Runs all checks of this file."""
    report.check("every replica has EXACT reports of both idle engines: none running, none waiting", all_idle, tier)
    report.check("each engine's metrics page is read by one replica only", one_keeper, tier)
    report.check("requests with a shared prefix go to one engine, and vLLM finds it in its cache", prefixes, tier)
    report.check("in a burst every replica has the values of vLLM's own metrics", metrics, tier)
    report.check("every replica knows which adapters run", adapters, tier)
    report.check("a burst beyond the queue limit: each request gets an answer or vLLM's own error", flood, tier)
    report.check("after the bursts no ticket is open", no_open_tickets, tier)


def all_idle(tier):
    """Also checks the geometry of the cache, which proves that the row comes from the metrics page."""

    def idle():
        rows = [(engine, row) for engine in tier.engines for row in tier.rows(engine)]
        return all(row["trust"] == "EXACT" and row["reachable"] and _read(row) == (0, 0) for _, row in rows) and rows

    rows = http_client.eventually(idle, IDLE_MAX)
    must(rows, f"after {IDLE_MAX} s: {[tier.rows(engine) for engine in tier.engines]}")
    for engine, row in rows:
        cache = row["report"]["cache"]
        must(cache == {"block_tokens": engines.BLOCK, "blocks": 512}, f"{engine.name}'s cache is read as {cache}")
        must(row["report"]["kv_usage"] == 0 and row["report"]["awake"], f"{engine.name} is read as {row['report']}")


def _read(row):
    report = row["report"] or {}
    return report.get("running"), report.get("waiting")


def one_keeper(tier):
    """Counts connections in vLLM's access log. A replica keeps its connection, so one connection is one replica."""

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

        must(http_client.eventually(one_reader, IDLE_MAX), f"{engine.name}'s page is read over {dict(found[engine])}")


def prefixes(tier):
    """Sends the requests one by one, round by round, so that each finds the prefix of earlier ones in the cache."""
    heads = [words(f"head {group}", HEAD_WORDS) for group in range(GROUPS)]
    shared = [tier.engines[0].tokens(head) // engines.BLOCK * engines.BLOCK for head in heads]
    before = [engine.finished() for engine in tier.engines]
    asked = []
    for turn in range(ROUNDS):
        for group, head in enumerate(heads):
            prompt = f"{head}\n{words(f'tail {group} {turn}', 20)}"
            asked.append((group, turn, good(http_client.ask(tier.public, "/v1/completions", completion(prompt, 4)), 4)))
    decisions = tier.decisions()
    places = [set() for _ in heads]
    for group, turn, answer in asked:
        places[group].add(decisions[answer.id][1].name)
        # The last block of the shared prefix may contain the first token of what follows.
        least = shared[group] - engines.BLOCK if turn else 0
        must(
            (answer.cached_tokens or 0) >= least,
            f"group {group}, round {turn}: {answer.cached_tokens} tokens cached of {shared[group]} shared",
        )
    must(all(len(one) == 1 for one in places), f"groups went to {places}")
    must(len(set.union(*places)) == len(tier.engines), f"all groups went to {places[0]}, the other engine got none")
    replicas = Counter(decisions[answer.id][0] for _, _, answer in asked)
    must(len(replicas) == len(tier.replicas), f"only {len(replicas)} replicas decided")
    # Envoy sent the requests where the replicas decided.
    sent = Counter(decisions[answer.id][1] for _, _, answer in asked)

    def counted():
        return all(engine.finished() - old == sent[engine] for engine, old in zip(tier.engines, before))

    must(
        http_client.eventually(counted, IDLE_MAX),
        f"decisions: {[sent[engine] for engine in tier.engines]}, "
        f"vLLM: {[engine.finished() - old for engine, old in zip(tier.engines, before)]}",
    )
    cached = sum(answer.cached_tokens for _, _, answer in asked)
    return (
        f"{cached / sum(answer.usage['prompt_tokens'] for _, _, answer in asked):.0%} of all prompt tokens were cached"
    )


def metrics(tier):
    """Compares when vLLM's values are equal before and after, and the replica's report is from in between."""
    compared = Counter()
    with ThreadPoolExecutor(BURST + len(tier.engines)) as pool:
        asks = [pool.submit(_burst_one, tier, number) for number in range(BURST)]
        watches = [pool.submit(_watch, tier, engine, asks, compared) for engine in tier.engines]
        answers = [good(ask.result(), BURST_TOKENS) for ask in asks]
        busiest = [watch.result() for watch in watches]
    for engine in tier.engines:
        for replica in tier.replicas:
            must(compared[engine.name, replica], f"{engine.name} never had a steady load for a comparison")
    decisions = tier.decisions()
    sent = Counter(decisions[answer.id][1] for answer in answers)
    each = ", ".join(
        f"{sent[engine]} requests and {most} at once on {engine.name}" for engine, most in zip(tier.engines, busiest)
    )
    return f"{sum(compared.values())} comparisons; {each}"


def _burst_one(tier, number):
    body = completion(words(f"burst {number}", 40), BURST_TOKENS, streamed=number % 2 == 0)
    return http_client.ask(tier.public, "/v1/completions", body)


def _watch(tier, engine, asks, compared):
    """Compares while the burst lasts. Returns the most requests that ran at once."""
    most = 0
    while not all(ask.done() for ask in asks):
        most = max(most, _compare(tier, engine, compared))
    return most


def _compare(tier, engine, compared):
    """One comparison, if the engine's load does not change meanwhile. Returns the number of running requests."""
    first = engine.gauges()
    since = time.monotonic()
    time.sleep(0.4)
    rows = []
    for replica in tier.replicas:
        row = tier.fleet(replica)[0][engine]
        # Time since the first page, measured after the row was read: a report older than this predates that page.
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
    """While requests to both adapters run, the engines' rows name both of them."""
    seen = {replica: set() for replica in tier.replicas}
    with ThreadPoolExecutor(8) as pool:
        asks = []
        for number in range(8):
            body = chat(words(f"adapters {number}", 30), 400, model=("lora-a", "lora-b")[number % 2])
            asks.append(pool.submit(http_client.ask, tier.public, "/v1/chat/completions", body))
        while not all(ask.done() for ask in asks):
            for replica in tier.replicas:
                for row in tier.fleet(replica)[0].values():
                    reported = row["report"]["adapters"] or {"running": [], "max": 2}
                    must(reported["max"] == 2, f"{replica} has {reported}")
                    seen[replica] |= set(reported["running"])
            time.sleep(0.05)
        for ask in asks:
            good(ask.result(), 400)
    for replica, names in seen.items():
        must(names == {"lora-a", "lora-b"}, f"{replica} saw {sorted(names)} running")


def flood(tier):
    """Sends chat and completions, whole and streamed, all at once."""
    before = tier.errors()
    with ThreadPoolExecutor(FLOOD) as pool:
        asks = [pool.submit(_flood_one, tier, number) for number in range(FLOOD)]
        kinds = Counter(_kind(ask.result()) for ask in asks)
    unexpected = {kind: count for kind, count in kinds.items() if kind not in ("answered", "503", "200 with an error")}
    must(not unexpected, f"{unexpected}")
    must(
        kinds["answered"] >= engines.QUEUE,
        f"only {kinds['answered']} were answered, but one engine alone accepts {engines.QUEUE}",
    )
    must(kinds["answered"] < FLOOD, "nothing was refused: the burst was not above the limit")
    # The replicas count a 200 whose only event is an error as an error, too.
    seen = Counter({"503": kinds["503"], "ModelServerError": kinds["200 with an error"]})
    must(
        http_client.eventually(lambda: tier.errors() - before == +seen, IDLE_MAX),
        f"clients saw {dict(seen)}, the replicas counted {dict(tier.errors() - before)}",
    )
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def _flood_one(tier, number):
    path, body = list(ROUTES.values())[number % 2]
    try:
        asked = body(words(f"flood {number}", 30), FLOOD_TOKENS, streamed=number % 4 < 2)
        return http_client.ask(tier.public, path, asked)
    except Exception as error:  # The kind of error is the result.
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


def no_open_tickets(tier):
    """No replica has an open ticket or believes that another one has, and the engines are idle."""
    must(
        http_client.eventually(tier.no_open_tickets, IDLE_MAX),
        f"{[tier.fleet(replica)[1] for replica in tier.replicas]}",
    )
    all_idle(tier)
