"""The tier around the engines: `testbed` as a process, and the debug pages of its replicas.

Must not know which requests are sent to it.
"""

import json
import os
import re
import signal
import subprocess
from collections import Counter

from . import http_client, parent_death

# How long a tier may take to start; Envoy may have to be fetched first.
START_MAX = 300
REPLICAS = 3


class Testbed:
    """Envoy and three replicas in front of running engines."""

    def __init__(self, program, engines, run, life_max, arguments=()):
        """`engines` have a `place`; `arguments` are further ones of `testbed`."""
        self.listed = run / "testbed" / "endpoints.json"
        self.out = run / "testbed.out"
        self.log = run / "testbed.log"
        command = [str(program), "--replicas", str(REPLICAS), "--port", "0", "--for", str(life_max)]
        command += ["--dir", str(run / "testbed")]
        for engine in engines:
            command += ["--engine", f"http://{engine.place}"]
        command += arguments
        with open(self.out, "wb") as out, open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                start_new_session=True,
                preexec_fn=parent_death.end_with_parent,
            )
        self.engines = engines
        self.names = {f"testbed/engine-{index}": engine for index, engine in enumerate(engines)}
        self.public = self.direct = None
        self.replicas = []

    def wait(self):
        """Waits for its table, which it prints when Envoy finds every replica healthy."""

        def printed():
            if self.process.poll() is not None:
                output = self.log.read_text("utf-8", "replace")
                raise RuntimeError(f"testbed ended with {self.process.returncode}:\n{output}")
            return "Try it:" in self.out.read_text("utf-8", "replace")

        if not http_client.eventually(printed, START_MAX):
            raise RuntimeError(f"no testbed after {START_MAX} s; see {self.log}")
        table = self.out.read_text("utf-8", "replace")
        self.public, self.direct = re.findall(r"http://(\S+) +(?:through|past) the tier", table)
        self.replicas = re.findall(r"^  replica-\d+ +http://(\S+)", table, re.M)
        if len(self.replicas) != REPLICAS:
            raise RuntimeError(f"can't read the table of testbed:\n{table}")

    def give_roles(self, roles):
        """Gives the engines these roles, in their order. The replicas follow the file, which the testbed wrote once."""
        listed = json.loads(self.listed.read_text("utf-8"))
        for endpoint, role in zip(listed["endpoints"], roles, strict=True):
            endpoint["labels"] = {"llm-d.ai/role": role}
        changed = self.listed.with_suffix(".new")
        changed.write_text(json.dumps(listed), "utf-8")
        changed.replace(self.listed)

    def stop(self):
        """Stops it with SIGTERM, and kills what is left after at most 30 s."""
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
        page = http_client.page(replica, "/debug/fleet")
        rows = {self.names[row["endpoint"]["id"]]: row for row in page["endpoints"]}
        return rows, page["tickets"]

    def rows(self, engine):
        """What each replica believes of one engine."""
        return [self.fleet(replica)[0][engine] for replica in self.replicas]

    def decisions(self):
        """The latest decisions of all replicas: request id -> (replica, engine)."""
        found = {}
        for replica in self.replicas:
            for one in http_client.page(replica, "/debug/decisions"):
                found[one["request_id"]] = (replica, self.names[one["endpoint"]])
        return found

    def errors(self):
        """Failed requests by code, summed over the replicas."""
        found = Counter()
        for replica in self.replicas:
            text = http_client.ask(replica, "/metrics").body.decode()
            series = re.findall(r'^llm_d_epp_request_error_total\{error_code="([^"]*)"[^}]*\} (\S+)$', text, re.M)
            for code, count in series:
                found[code] += int(float(count))
        return found

    def no_open_tickets(self):
        """Whether no replica has an open ticket, or believes that another one has."""
        for replica in self.replicas:
            rows, tickets = self.fleet(replica)
            if tickets["open"] or any(row["foreign"]["requests"] for row in rows.values()):
                return False
        return True
