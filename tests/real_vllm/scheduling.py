"""Whether a real vLLM still schedules as it did when its steps were recorded. Must not know the engine model."""

import json
import pathlib
import subprocess

from .report import must, progress

HERE = pathlib.Path(__file__).resolve().parent
RECORDED = HERE.parent / "fixtures" / "vllm" / "steps.json"
# The longest recording: six engines, each of which takes five to ten seconds to start.
SECONDS_MAX = 600


def run(report, lab, folder):
    """Records the steps again, in a process of its own, and compares each situation."""
    progress("recording the steps of a real vLLM, which takes a minute")
    file = folder / "steps.json"
    with open(folder / "steps.log", "wb") as log:
        command = [lab / "venv/bin/python", HERE / "steps.py", lab, file]
        ended = subprocess.run(command, stdout=log, stderr=log, timeout=SECONDS_MAX, check=False)
    if ended.returncode:
        raise RuntimeError(f"steps.py failed ({ended.returncode}); {folder / 'steps.log'} says why")
    recorded, again = (json.loads(one.read_text("utf-8"))["scenarios"] for one in (RECORDED, file))
    for before, now in zip(recorded, again, strict=True):
        report.check(f"each step of `{before['name']}` is as recorded", _compare, before, now)


def _compare(before, now):
    must((before["settings"], before["requests"]) == (now["settings"], now["requests"]), "the arrivals differ")
    for number, (old, new) in enumerate(zip(before["steps"], now["steps"])):
        must(old == new, f"step {number} was {old} and is {new}")
    must(len(before["steps"]) == len(now["steps"]), f"{len(before['steps'])} steps became {len(now['steps'])}")
    return f"{len(now['steps'])} steps"
