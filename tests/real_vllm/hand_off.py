"""Checks that answers computed in two places equal those of one place, and that a prefill engine's failure changes
none of them.

Must not know how engines and sidecars are started. With temperature 0 a prompt has one answer. What the decode engine
says alone is asked past the sidecar, under a cache salt, so that no block of it is found later.
"""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from . import http_client
from .answers import good
from .pair import PREFILL_SECONDS
from .prompts import ROUTES, completion, words
from .report import must

TOKENS = 24
# Words of prompts whose blocks are counted: with these none has one token more than its blocks (see `least_external`).
WORDS = 62
# Requests at once: each engine computes eight.
AT_ONCE = 12
# The longest time of one request whatever its prefill engine does. It is far above what any step may take.
ENDS_MAX = 90


def run(report, pair):
    """Runs all checks in this order: each leaves the engines in the state that the next one needs."""
    for route in ROUTES:
        for streamed in (False, True):
            sentence = f"{route}, {'streamed' if streamed else 'whole'}: both legs give the decode engine's own answer"
            report.check(sentence, both_legs, pair, route, streamed)
    report.check(f"a long prompt of {pair.connector.long_words:,} words is handed over", long_prompt, pair)
    report.check(f"{AT_ONCE} requests at once keep their answers, and every replica pairs", at_once, pair)
    report.check("a prefill engine that refuses leaves the prompt to the decode engine", refused, pair)
    report.check("a prefill engine that pauses and goes on hands over", paused, pair)
    report.check("one that pauses for too long leaves the prompt to the decode engine", too_late, pair)
    report.check("one that is killed while it computes leaves it, too", killed_in_its_leg, pair)
    report.check("while it is gone no answer is wrong and none hangs", gone, pair)
    report.check("a sidecar that is to give errors gives one, and no answer hangs", strict, pair)
    report.check("it is started again, and its new process hands over", started_again, pair)
    report.check("one that is killed between both legs changes no answer", killed_between_legs, pair)
    report.check("the decode engine has lived through all of it; no block of its cache is wrong", no_wrong_block, pair)


def alone(pair, route, prompt, tokens=TOKENS):
    """What the decode engine answers alone."""
    path, body = ROUTES[route]
    salted = body(prompt, tokens) | {"cache_salt": f"alone {time.monotonic_ns()}"}
    return good(http_client.ask(pair.decode.place, path, salted), tokens)


def through(pair, route, prompt, tokens=TOKENS, streamed=False):
    """What the tier answers. It may not take for ever."""
    path, body = ROUTES[route]
    return good(http_client.ask(pair.tier.public, path, body(prompt, tokens, streamed=streamed), ENDS_MAX), tokens)


def external(pair):
    """Prompt tokens that the decode engine did not compute but got."""
    return pair.decode.counter("vllm:prompt_tokens_by_source_total", source="external_kv_transfer")


def handed_over(pair):
    """Hand-offs that the sidecar used."""
    return pair.sidecar.counter("handoffs", result="ok")


def same(ours, expected):
    """Fails the check unless both answers are the same."""
    must(ours.text == expected.text, f"{ours.text!r}, alone {expected.text!r}")
    must(ours.usage["prompt_tokens"] == expected.usage["prompt_tokens"], "the prompt changed on its way")


def is_handed_over(pair, route, prompt, tokens=TOKENS, streamed=False):
    """Asks, and fails the check unless the prompt's blocks came from the prefill engine. Returns a note."""
    expected = alone(pair, route, prompt, tokens)
    before = external(pair), handed_over(pair), pair.prefill.finished()
    ours = through(pair, route, prompt, tokens, streamed)
    same(ours, expected)
    must(ours.streamed == streamed, "the kinds of answers are mixed up")
    length = expected.usage["prompt_tokens"]
    least = pair.connector.least_external(length)
    must(least > 0, f"a prompt of {length} tokens shows nothing")
    enough = http_client.eventually(lambda: external(pair) - before[0] >= least, 20)
    got = external(pair) - before[0]
    must(enough and got <= length, f"{got} of {length} prompt tokens came from elsewhere, not at least {least}")
    must(handed_over(pair) == before[1] + 1, f"{handed_over(pair) - before[1]} hand-offs")
    must(pair.prefill.finished() == before[2] + 1, "the prefill engine had no leg")
    if pair.connector.reads_from_engine:
        must(not ours.cached_tokens, f"{ours.cached_tokens} tokens that the prefill engine computed are called cached")
    return f"{got} of {length} prompt tokens transferred"


def is_computed_alone(pair, name, meanwhile=lambda: None):
    """Asks on both routes at once, and fails the check unless the decode engine's own answers come."""
    prompts = {route: words(f"{name} {route}", 60) for route in ROUTES}
    expected = {route: alone(pair, route, prompt) for route, prompt in prompts.items()}
    before, begun = handed_over(pair), time.monotonic()
    with ThreadPoolExecutor(len(ROUTES)) as pool:
        streamed = {route: route == "chat" for route in ROUTES}
        asks = {r: pool.submit(through, pair, r, prompt, TOKENS, streamed[r]) for r, prompt in prompts.items()}
        meanwhile()
        for route, ask in asks.items():
            same(ask.result(), expected[route])
    must(handed_over(pair) == before, "a hand-off is counted as used")
    return f"after {time.monotonic() - begun:.1f} s"


def both_legs(pair, route, streamed):
    """One prompt that neither engine has seen."""
    return is_handed_over(pair, route, words(f"both {route} {streamed}", WORDS), streamed=streamed)


def long_prompt(pair):
    """Many blocks at once."""
    return is_handed_over(pair, "completions", words("long pair", pair.connector.long_words))


def at_once(pair):
    """Both routes, streamed and not."""
    kinds = [(list(ROUTES)[number % 2], words(f"at once {number}", 40), number % 4 < 2) for number in range(AT_ONCE)]
    expected = [alone(pair, route, prompt) for route, prompt, _ in kinds]
    before = handed_over(pair)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asks = [pool.submit(through, pair, route, prompt, TOKENS, streamed) for route, prompt, streamed in kinds]
        answers = [ask.result() for ask in asks]
    for ours, alone_text in zip(answers, expected, strict=True):
        same(ours, alone_text)
    must(handed_over(pair) == before + AT_ONCE, f"{handed_over(pair) - before} of {AT_ONCE} were handed over")
    decisions = pair.tier.decisions()
    replicas = {decisions[answer.id][0] for answer in answers}
    must(len(replicas) == len(pair.tier.replicas), f"{len(replicas)} replicas decided")
    must(all(decisions[answer.id][1] is pair.sidecar for answer in answers), "a request was sent to the prefill engine")


def refused(pair):
    """As a prefill engine whose queue is full."""
    pair.relay.refuses = 503
    try:
        return is_computed_alone(pair, "refused")
    finally:
        pair.relay.refuses = None


def paused(pair):
    """For less than the sidecar waits."""
    stopped(pair)
    timer = threading.Timer(2, pair.prefill.signal_all, (signal.SIGCONT,))
    timer.start()
    try:
        return is_handed_over(pair, "chat", words("paused", WORDS))
    finally:
        pair.prefill.signal_all(signal.SIGCONT)


def too_late(pair):
    """For longer than the sidecar waits; the engine answers nobody then."""
    expected = [alone(pair, route, words("too late", 60)) for route in ROUTES]
    stopped(pair)
    begun = time.monotonic()
    try:
        for route, alone_text in zip(ROUTES, expected, strict=True):
            same(through(pair, route, words("too late", 60)), alone_text)
    finally:
        pair.prefill.signal_all(signal.SIGCONT)
    must(time.monotonic() - begun >= PREFILL_SECONDS, "nobody waited for it")
    return f"after {time.monotonic() - begun:.1f} s"


def stopped(pair):
    """The engine's processes stand still."""
    os.killpg(pair.prefill.process.pid, signal.SIGSTOP)


def killed_in_its_leg(pair):
    """It has the request, and has not answered."""
    has_it = threading.Event()
    stopped(pair)
    pair.relay.before = has_it.set

    def kill():
        must(has_it.wait(30), "the prefill engine got no leg")
        # The request lies in the engine's socket.
        time.sleep(0.5)
        pair.prefill.kill()

    return is_computed_alone(pair, "killed in its leg", kill)


def gone(pair):
    """The replicas notice it after some requests."""
    begun = time.monotonic()
    for number in range(9):
        name = f"gone {number}"
        prompt, route = words(name, 40), list(ROUTES)[number % 2]
        same(through(pair, route, prompt, streamed=number % 3 == 0), alone(pair, route, prompt))
    return f"9 answers in {time.monotonic() - begun:.1f} s"


def strict(pair):
    """It is asked past the tier, with the header that a picker sets."""
    headers = {"x-prefiller-host-port": pair.relay.place}
    body = completion(words("strict", 40), TOKENS)
    answer = http_client.ask(pair.strict.place, "/v1/completions", body, ENDS_MAX, headers)
    must(answer.status in (502, 503, 504) and answer.error, f"{answer.status}: {answer.body[:200]!r}")
    must(pair.strict.counter("refusals", reason="prefill") == 1, "it is not counted")
    return f"{answer.status}: {answer.error['message']}"


def started_again(pair):
    """Under another id: the decode engine must not read from the old one."""
    # It lives where the check before failed.
    pair.prefill.kill()
    pair.prefill.start()
    pair.prefill.wait()
    before = pair.relay.asked

    def is_used():
        good(http_client.ask(pair.tier.public, "/v1/completions", completion(words("used", 20), 2), ENDS_MAX), 2)
        return pair.relay.asked >= before + 3

    must(http_client.eventually(is_used, 60), "the replicas do not use it again")
    note = is_handed_over(pair, "chat", words("started again", WORDS), streamed=True)
    if pair.connector.reads_from_engine:
        must(pair.sidecar.counter("prefiller_restarts") == 1, "the sidecar did not notice the restart")
    return note


def killed_between_legs(pair):
    """Its answer is on its way to the sidecar, which then tells the decode engine to read from it."""
    prompt = words("between the legs", 60)
    expected = alone(pair, "completions", prompt)
    pair.relay.after = pair.prefill.kill
    begun, before = time.monotonic(), pair.sidecar.counter("fallbacks", stage="decode")
    same(through(pair, "completions", prompt), expected)
    alone_after_all = pair.sidecar.counter("fallbacks", stage="decode") - before
    must(alone_after_all == pair.connector.reads_from_engine, f"the decode engine began anew {alone_after_all} times")
    return f"after {time.monotonic() - begun:.1f} s"


def no_wrong_block(pair):
    """Prompts of failed hand-offs are asked again, now with what the decode engine has cached."""
    for name in ("too late", "between the legs"):
        prompt = words(name, 60)
        cached = good(http_client.ask(pair.decode.place, "/v1/completions", completion(prompt, TOKENS)), TOKENS)
        same(cached, alone(pair, "completions", prompt))
