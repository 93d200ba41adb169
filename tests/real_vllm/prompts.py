"""The prompts and request bodies, the same in every run. Must not know answers."""

import random

WORDS = (
    "wing sky turn flock wind dusk branch river cloud signal follow near far seven rise fall quick "
    "shadow field north winter return before after leader none"
).split()


def words(seed, count):
    """`count` words that depend on `seed` only."""
    chance = random.Random(seed)
    return " ".join(chance.choice(WORDS) for _ in range(count))


def completion(prompt, tokens, model="tiny", streamed=False):
    """A text completion of exactly `tokens` tokens."""
    return _options({"model": model, "prompt": prompt}, tokens, streamed)


def chat(prompt, tokens, model="tiny", streamed=False):
    """A chat answer of exactly `tokens` tokens."""
    messages = [{"role": "system", "content": "You are one bird of many."}, {"role": "user", "content": prompt}]
    return _options({"model": model, "messages": messages}, tokens, streamed)


def _options(body, tokens, streamed):
    body |= {"max_tokens": tokens, "temperature": 0, "ignore_eos": True}
    if streamed:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


# The two routes: the path, and the function that makes a body for it.
ROUTES = {"chat": ("/v1/chat/completions", chat), "completions": ("/v1/completions", completion)}
