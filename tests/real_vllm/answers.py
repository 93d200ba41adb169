"""Checks of single answers: the tier passes on what the engine answers.

Must not know load or failures.
"""

import json

from . import http_client
from .prompts import ROUTES, words
from .report import must

TOKENS = 24


def run(report, tier):
    """Runs all checks of this file."""
    report.check("the list of models passes through, with both adapters", models, tier)
    for route in ROUTES:
        report.check(f"{route}: whole and streamed answers equal the one past the tier", same_answer, tier, route)
    for route in ROUTES:
        report.check(f"{route}: the answer of an adapter is that adapter's own", adapter, tier, route)
    report.check("a long prompt of 3,500 words arrives unchanged", long_prompt, tier)
    report.check("vLLM's own errors pass through unchanged", engine_errors, tier)
    report.check("a body that is no JSON is refused by the tier, and reaches no engine", no_json, tier)


def good(answer, tokens):
    """Fails the check unless this is a complete answer of `tokens` tokens. Returns the answer."""
    must(answer.status == 200, f"{answer.status}: {answer.body[:300]!r}")
    must(answer.error is None, f"an error within a 200: {answer.error}")
    if answer.streamed:
        must(answer.done, f"the stream does not end with [DONE], but {answer.body[-100:]!r}")
    must(answer.usage is not None, "no usage")
    must(answer.usage["completion_tokens"] == tokens, f"{tokens} tokens were asked for, usage is {answer.usage}")
    must(answer.text != "", "the answer has no text")
    return answer


def models(tier):
    """A GET request without a body."""
    listed = {one["id"] for one in http_client.page(tier.public, "/v1/models")["data"]}
    must(listed == {"tiny", "lora-a", "lora-b"}, f"the list has {sorted(listed)}")


def same_answer(tier, route):
    """Sends one prompt in three ways. With temperature 0 there is one answer."""
    path, body = ROUTES[route]
    prompt = words(route, 60)
    whole = good(http_client.ask(tier.public, path, body(prompt, TOKENS)), TOKENS)
    streamed = good(http_client.ask(tier.public, path, body(prompt, TOKENS, streamed=True)), TOKENS)
    past = good(http_client.ask(tier.direct, path, body(prompt, TOKENS)), TOKENS)
    must(streamed.streamed and not whole.streamed, "the kinds of answers are mixed up")
    must(whole.text == past.text, f"{whole.text!r} through the tier, {past.text!r} past it")
    must(streamed.text == whole.text, f"{streamed.text!r} streamed, {whole.text!r} whole")
    must(whole.usage["prompt_tokens"] == past.usage["prompt_tokens"], "the prompt changed on its way")


def adapter(tier, route):
    """The adapters' weights are random, so their answers differ from the base model's."""
    path, body = ROUTES[route]
    prompt = words(f"adapter {route}", 60)
    base = good(http_client.ask(tier.public, path, body(prompt, TOKENS)), TOKENS)
    texts = {base.text}
    for model in ("lora-a", "lora-b"):
        answer = good(http_client.ask(tier.public, path, body(prompt, TOKENS, model=model)), TOKENS)
        must(answer.json["model"] == model, f"{model} was asked, {answer.json['model']} answered")
        streamed = good(http_client.ask(tier.public, path, body(prompt, TOKENS, model=model, streamed=True)), TOKENS)
        must(streamed.text == answer.text, f"{model}: {streamed.text!r} streamed, {answer.text!r} whole")
        texts.add(answer.text)
    must(len(texts) == 3, "two of three models give the same answer")


def long_prompt(tier):
    """About 20 KB, most of the context."""
    body = ROUTES["completions"][1](words("long", 3_500), TOKENS)
    answer = good(http_client.ask(tier.public, "/v1/completions", body), TOKENS)
    past = good(http_client.ask(tier.direct, "/v1/completions", body), TOKENS)
    must(answer.text == past.text, "the answer through the tier differs from the one past it")
    return f"{answer.usage['prompt_tokens']} tokens"


def engine_errors(tier):
    """Unknown model, bad parameter, prompt longer than the context: status and body equal those past the tier."""
    body = ROUTES["completions"][1]
    bad = {
        404: body("x", 1, model="nope"),
        400: body("x", 1) | {"temperature": -1},
        "too long": body(words("too long", 9_000), 1),
    }
    for kind, one in bad.items():
        ours, past = (http_client.ask(place, "/v1/completions", one) for place in (tier.public, tier.direct))
        must(past.status == (400 if kind == "too long" else kind), f"past the tier: {past.status} {past.body[:200]!r}")
        must((ours.status, ours.json) == (past.status, past.json), f"{ours.status} {ours.body!r}, past: {past.body!r}")


def no_json(tier):
    """A 400 that does not come from an engine."""
    answer = http_client.ask(tier.public, "/v1/completions", b'{"model": "tiny", "prompt": ')
    must(answer.status == 400, f"{answer.status}: {answer.body[:200]!r}")
    must("vllm" not in json.dumps(answer.headers) and answer.headers.get("server") != "uvicorn", "an engine answered")
