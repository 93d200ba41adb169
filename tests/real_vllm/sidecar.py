"""`murmuration sidecar` as a process. Must not know its engines."""

import signal
import subprocess

from . import http_client, parent_death
from .engines import free_port

# How long a sidecar may take to start.
START_MAX = 60


class Sidecar:
    """One sidecar in front of a decode engine."""

    def __init__(self, name, program, decode, prefill, run, arguments):
        """`prefill` is the only target that headers may name."""
        self.name = name
        self.place, self.metrics = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.log = run / f"{name}.log"
        port = [place.rsplit(":", 1)[1] for place in (self.place, self.metrics, decode.place)]
        self.command = [str(program), "sidecar", "--bind", "127.0.0.1", "--secure-serving=false"]
        self.command += ["--port", port[0], "--metrics-port", port[1], "--model-server-port", port[2]]
        self.command += ["--allowed-targets", prefill.place, "--drain-timeout", "2s", "-v", "4", *arguments]
        self.process = None

    def start(self):
        """Starts it, and waits until it serves."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=parent_death.end_with_parent,
            )

        def serves():
            if self.process.poll() is not None:
                text = self.log.read_text("utf-8", "replace")
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{text}")
            try:
                return http_client.ask(self.place, "/health", seconds=5).status == 200
            except (OSError, http_client.Hung):
                return False

        if not http_client.eventually(serves, START_MAX):
            raise RuntimeError(f"{self.name} does not serve after {START_MAX} s; see {self.log}")

    def counter(self, name, **labels):
        """The sum of a counter's series with these labels."""
        text = http_client.ask(self.metrics, "/metrics", seconds=20).body.decode()
        return http_client.counter(text, f"murmuration_sidecar_{name}_total", **labels)

    def stop(self):
        """Stops it with SIGTERM, and kills it if that takes more than 10 s."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
