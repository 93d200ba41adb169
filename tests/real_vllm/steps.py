"""steps.py DIR FILE: drives a real vLLM in this process, step by step, with requests that arrive at given steps, and
writes what its scheduler decided to FILE: the tokens that each step computes of each request, who loses its blocks, who
is found in the cache.

The engine model replays the same arrivals (chaos/engine-sim/src/model/recorded_tests.rs). DIR is what `install` made;
run it with DIR's own Python. Must not know the model.
"""

import itertools
import json
import os
import pathlib
import random
import sys

os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
os.environ |= {"VLLM_HOST_IP": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
os.environ |= {"VLLM_TARGET_DEVICE": "cpu", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}

import vllm  # noqa: E402
from vllm import EngineArgs, LLMEngine, SamplingParams  # noqa: E402
from vllm.inputs import TokensPrompt  # noqa: E402
from vllm.lora.request import LoRARequest  # noqa: E402

BLOCK_TOKENS = 32
STEPS_MAX = 2000
LENGTH_MAX = 1024
WORDS = 7997
ADAPTERS = {"lora-a": 1, "lora-b": 2}


def tokens(prompt):
    """The tokens of a prompt, which is a list of texts: (number of the text, tokens of it)."""
    return [3 + (text * 7919 + at * 104_729) % WORDS for text, length in prompt for at in range(length)]


def scenarios():
    """What arrives, by name: settings of the engine, and requests with the step before which they arrive."""
    chance = random.Random(7)
    texts = itertools.count(10)

    def new(least, most):
        return next(texts), chance.randrange(least, most)

    def shared():
        return chance.choice([(1, 256), (2, 384), (3, 160)])

    def several(number, prompt, answer, adapters=(None,)):
        step, requests = 0, []
        for _ in range(number):
            step += chance.choice([0, 0, 1, 2, 5])
            length = chance.randrange(*answer)
            requests.append({"step": step, "prompt": prompt(), "answer": length, "adapter": chance.choice(adapters)})
        return requests

    def turn():
        return [shared(), new(1, 120)]

    yield "chunks", {"blocks": 512, "seqs": 16, "batched": 256}, several(24, lambda: [new(1, 900)], (1, 40))
    yield "prefixes", {"blocks": 512, "seqs": 8, "batched": 512}, several(30, turn, (1, 30))
    yield "evictions", {"blocks": 48, "seqs": 4, "batched": 512}, several(40, turn, (1, 30))
    yield "preemptions", {"blocks": 40, "seqs": 16, "batched": 256}, several(20, lambda: [new(64, 300)], (60, 200))
    yield "preempted prefixes", {"blocks": 44, "seqs": 12, "batched": 192}, several(24, turn, (60, 160))
    settings = {"blocks": 256, "seqs": 6, "batched": 256, "adapters": 1}
    yield "adapters", settings, several(24, turn, (1, 30), (None, *ADAPTERS))


def engine(lab, settings):
    """A real engine with these settings."""
    arguments = {"model": str(lab / "models/tiny"), "enforce_eager": True, "dtype": "float32"}
    arguments |= {"max_model_len": LENGTH_MAX, "max_num_seqs": settings["seqs"]}
    arguments |= {"max_num_batched_tokens": settings["batched"]}
    arguments |= {"seed": 0, "num_gpu_blocks_override": settings["blocks"], "block_size": BLOCK_TOKENS}
    arguments |= {"enable_prefix_caching": True, "kv_cache_memory_bytes": 16 << 20, "async_scheduling": False}
    if "adapters" in settings:
        arguments |= {"enable_lora": True, "max_loras": settings["adapters"], "max_lora_rank": 8}
    return LLMEngine.from_engine_args(EngineArgs(**arguments, disable_log_stats=False))


def record(lab, settings, requests):
    """The steps of one scenario."""
    server = engine(lab, settings)
    scheduler = server.engine_core.engine_core.scheduler
    steps, schedule = [], scheduler.schedule

    def watched(*arguments, **named):
        output = schedule(*arguments, **named)
        number = lambda name: int(name.split("-")[0])  # noqa: E731
        again = output.scheduled_cached_reqs
        found = {number(new.req_id): new.num_computed_tokens for new in output.scheduled_new_reqs}
        for name, computed in zip(again.req_ids, again.num_computed_tokens, strict=True):
            if name in again.resumed_req_ids:
                found[number(name)] = computed
        step = {"computed": {number(name): count for name, count in output.num_scheduled_tokens.items()}}
        if found:
            step["found"] = found
        if output.preempted_req_ids:
            step["preempted"] = sorted(map(number, output.preempted_req_ids))
        steps.append(step)
        return output

    scheduler.schedule = watched
    waiting = list(enumerate(requests))
    while waiting or server.has_unfinished_requests():
        if len(steps) > STEPS_MAX:
            sys.exit(f"not done after {STEPS_MAX} steps")
        while waiting and (waiting[0][1]["step"] <= len(steps) or not server.has_unfinished_requests()):
            number, asked = waiting.pop(0)
            asked["step"] = len(steps)
            sampling = SamplingParams(max_tokens=asked["answer"], ignore_eos=True, temperature=0.0)
            adapter = asked["adapter"]
            lora = adapter and LoRARequest(adapter, ADAPTERS[adapter], str(lab / "models" / adapter))
            prompt = TokensPrompt(prompt_token_ids=tokens(asked["prompt"]))
            server.add_request(f"{number}", prompt, sampling, lora_request=lora or None)
        server.step()
    server.engine_core.shutdown()
    return steps


def main():
    """Records all scenarios."""
    lab, file = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    recorded = []
    for name, settings, requests in scenarios():
        steps = record(lab, settings, requests)
        print(f"{name}: {len(requests)} requests, {len(steps)} steps", file=sys.stderr)
        recorded.append({"name": name, "settings": settings, "requests": requests, "steps": steps})
    page = {"vllm": vllm.__version__, "block_tokens": BLOCK_TOKENS, "scenarios": recorded}
    file.write_text(json.dumps(page, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
