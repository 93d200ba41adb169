"""The tier around the engines: `town` as a process, and what its replicas say of themselves.

Must not know what is asked of it.
"""

import os
import re
import signal
import subprocess
from collections import Counter

from . import last_will, talk

# How long a tier may take to start; Envoy may have to be fetched first.
START_MAX = 300
REPLICAS = 3


class Town:
    """Envoy and three replicas in front of engines that are there already."""

    def __init__(self, program, engines, run, life_max):
        self.out = run / "town.out"
        self.log = run / "town.log"
        command = [str(program), "--replicas", str(REPLICAS), "--port", "0", "--for", str(life_max)]
        command += ["--dir", str(run / "town")]
        for engine in engines:
            command += ["--engine", f"http://{engine.place}"]
        with open(self.out, "wb") as out, open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                start_new_session=True,
                preexec_fn=last_will.ends_with_us,
            )
        self.engines = engines
        self.names = {f"town/engine-{index}": engine for index, engine in enumerate(engines)}
        self.public = self.direct = None
        self.replicas = []

    def wait(self):
        """Waits for its table, which it prints when Envoy calls every replica healthy."""

        def told():
            if self.process.poll() is not None:
                said = self.log.read_text("utf-8", "replace")
                raise RuntimeError(f"town ended with {self.process.returncode}:\n{said}")
            return "Try it:" in self.out.read_text("utf-8", "replace")

        if not talk.eventually(told, START_MAX):
            raise RuntimeError(f"no town after {START_MAX} s; see {self.log}")
        table = self.out.read_text("utf-8", "replace")
        self.public, self.direct = re.findall(r"http://(\S+) +(?:through|past) the tier", table)
        self.replicas = re.findall(r"^  replica-\d+ +http://(\S+)", table, re.M)
        if len(self.replicas) != REPLICAS:
            raise RuntimeError(f"can't read the table of town:\n{table}")

    def stop(self):
        """Ends it in order, and if need be without."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def fleet(self, replica):
        """What one replica believes: each engine's row, and its tickets."""
        told = talk.page(replica, "/debug/fleet")
        rows = {self.names[row["endpoint"]["id"]]: row for row in told["endpoints"]}
        return rows, told["tickets"]

    def rows(self, engine):
        """What each replica believes of one engine."""
        return [self.fleet(replica)[0][engine] for replica in self.replicas]

    def decisions(self):
        """The latest decisions of all replicas: request id -> (replica, engine)."""
        found = {}
        for replica in self.replicas:
            for one in talk.page(replica, "/debug/decisions"):
                found[one["request_id"]] = (replica, self.names[one["endpoint"]])
        return found

    def errors(self):
        """Failed requests by code, as the replicas count them together."""
        found = Counter()
        for replica in self.replicas:
            text = talk.ask(replica, "/metrics").body.decode()
            series = re.findall(r'^llm_d_epp_request_error_total\{error_code="([^"]*)"[^}]*\} (\S+)$', text, re.M)
            for code, count in series:
                found[code] += int(float(count))
        return found

    def at_rest(self):
        """Whether no replica holds a ticket, or believes of another that it holds one."""
        for replica in self.replicas:
            rows, tickets = self.fleet(replica)
            if tickets["open"] or any(row["foreign"]["requests"] for row in rows.values()):
                return False
        return True
