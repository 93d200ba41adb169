"""Real vLLM servers as processes: starts, probes, kills and stops them.

Must not know the tier. Each server listens on loopback only, and ends even if its parent is killed.
"""

import os
import re
import signal
import socket
import subprocess

from . import http_client, parent_death

# The longest time that a server may take to load: 30 to 60 s on an idle machine, several times that on a busy one.
START_MAX = 420
# A server ends after this at the latest, even if its parent was killed.
RUN_MAX = 3000
# The most requests that a server computes at once, and the most that it accepts, waiting ones included.
BATCH = 8
QUEUE = 16
BLOCK = 32
# Bytes for the KV cache: 512 blocks, 16,384 tokens of the tiny model.
CACHE_BYTES = 16 << 20

ENVIRONMENT = {
    "VLLM_TARGET_DEVICE": "cpu",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
    "PYTHONHASHSEED": "0",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}


class Engine:
    """One server."""

    def __init__(self, name, lab, run, arguments=None, environment=None):
        """`arguments` stand in place of those for LoRA; `environment` is added."""
        self.name = name
        self.lab = lab
        self.log = run / f"{name}.log"
        self.place = f"127.0.0.1:{free_port()}"
        self.process = None
        models = lab / "models"
        self._arguments = arguments if arguments is not None else _lora(models)
        self._environment = environment or {}

    def start(self):
        """Starts it without waiting."""
        models = self.lab / "models"
        port = self.place.rsplit(":", 1)[1]
        command = ["timeout", "--kill-after=10", str(RUN_MAX), "nice", "-n", "5"]
        command += [str(self.lab / "venv/bin/vllm"), "serve", str(models / "tiny")]
        command += ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", port]
        command += ["--enforce-eager", "--dtype", "float32", "--max-model-len", "8192"]
        command += ["--max-num-seqs", str(BATCH), "--max-num-batched-tokens", "2048"]
        command += ["--max-num-queued-reqs", str(QUEUE)]
        command += ["--block-size", str(BLOCK), "--kv-cache-memory-bytes", str(CACHE_BYTES), "--enable-prefix-caching"]
        command += ["--enable-prompt-tokens-details", *self._arguments]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, **ENVIRONMENT, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.lab,
                preexec_fn=parent_death.end_with_parent,
            )

    def wait(self):
        """Waits until it serves."""

        def serves():
            if self.process.poll() is not None:
                raise RuntimeError(
                    f"{self.name} ended ({self.process.returncode}); {self.log} ends with\n{self.tail()}"
                )
            try:
                return http_client.ask(self.place, "/health", seconds=10).status == 200
            except (OSError, http_client.Hung):
                return False

        if not http_client.eventually(serves, START_MAX, every=0.5):
            raise RuntimeError(f"{self.name} does not serve after {START_MAX} s; see {self.log}")

    def tail(self):
        """The last 20 lines of its log."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-20:])

    def signal_all(self, number):
        """Sends a signal to the server and all its child processes."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def kill(self):
        """Kills the server and all its child processes, as when a machine loses power."""
        self.signal_all(signal.SIGKILL)
        self.process.wait(30)

    def stop(self):
        """Stops it with SIGTERM, and kills what is left after at most 20 s."""
        if self.process is None:
            return
        self.signal_all(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            pass
        self.signal_all(signal.SIGKILL)

    def gauges(self):
        """From its metrics page: (running requests, waiting requests, used part of the KV cache)."""
        text = http_client.ask(self.place, "/metrics", seconds=30).body.decode()
        names = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
        found = [re.search(rf"^vllm:{name}\{{[^}}]*\}} (\S+)$", text, re.M) for name in names]
        if not all(found):
            raise ValueError(f"the metrics page of {self.name} lacks one of {names}")
        running, waiting, used = (float(one[1]) for one in found)
        return int(running), int(waiting), used

    def finished(self):
        """The number of requests that it has answered since its start."""
        text = http_client.ask(self.place, "/metrics", seconds=30).body.decode()
        return int(sum(float(one) for one in re.findall(r"^vllm:request_success_total\{[^}]*\} (\S+)$", text, re.M)))

    def counter(self, name, **labels):
        """The sum of a counter's series with these labels; 0 if there is none."""
        text = http_client.ask(self.place, "/metrics", seconds=30).body.decode()
        return http_client.counter(text, name, **labels)

    def tokens(self, prompt):
        """The number of tokens that the server makes of a prompt."""
        return http_client.ask(self.place, "/tokenize", {"model": "tiny", "prompt": prompt}).json["count"]


def _lora(models):
    adapters = [f"{name}={models / name}" for name in ("lora-a", "lora-b")]
    return ["--enable-lora", "--max-loras", "2", "--max-lora-rank", "8", "--lora-modules", *adapters]


def free_port():
    """A port below the range of outgoing connections, so that a killed server finds it free when it restarts."""
    for port in range(18_000 + os.getpid() % 2_000, 22_000):
        if port in free_port.given:
            continue
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
        free_port.given.add(port)
        return port
    raise RuntimeError("no free port on 127.0.0.1 between 18000 and 22000")


free_port.given = set()
