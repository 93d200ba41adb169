"""A real prefill engine and a real decode engine with one of vLLM's connectors, a sidecar, three replicas and Envoy.

Must not know what is checked.
"""

import json
from dataclasses import dataclass, field

from . import http_client
from .engines import BLOCK, Engine, free_port
from .prompts import completion, words
from .relay import Relay
from .report import progress
from .sidecar import Sidecar
from .testbed import Testbed

# The longest time of one prefill leg: the tiny model takes a fraction of a second, on a busy machine some.
PREFILL_SECONDS = 20
# Every request is split while there is a prefill engine; without one the decode engine computes the prompt.
CONFIGURATION = """
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: disagg-profile-handler
  parameters:
    profiles: {fallback: alone}
    deciders: {prefill: always-disagg-pd-decider}
- type: always-disagg-pd-decider
- type: decode-filter
- type: prefill-filter
- type: queue-scorer
schedulingProfiles:
- {name: decode, plugins: [{pluginRef: decode-filter}, {pluginRef: queue-scorer}]}
- {name: prefill, plugins: [{pluginRef: prefill-filter}, {pluginRef: queue-scorer}]}
- {name: alone, plugins: [{pluginRef: decode-filter}, {pluginRef: queue-scorer}]}
"""


@dataclass
class Connector:
    """One of vLLM's connectors."""

    # The sidecar's name for it.
    name: str
    # `--kv-transfer-config` of the prefill and of the decode engine.
    configurations: tuple
    environment: dict = field(default_factory=dict)
    # Whether the decode engine reads from the prefill engine, which must live then.
    reads_from_engine: bool = True
    # Words of a long prompt: here most of the context, in two steps of the prefill engine.
    long_words: int = 3_490

    def least_external(self, length):
        """How many of a prompt's tokens the decode engine gets from elsewhere at least."""
        if self.reads_from_engine:
            return length
        # The other one hands over whole blocks, and never the last token. A prompt with one token more than its blocks
        # is stored under all of them and looked for under one less, so it is not found (vLLM 0.32): it is computed.
        return 0 if length % BLOCK == 1 else (length - 2) // BLOCK * BLOCK


def nixl():
    """vLLM's NixlConnector: the decode engine reads blocks from the prefill engine's memory."""
    configurations = tuple(
        {"kv_connector": "NixlConnector", "kv_role": role} for role in ("kv_producer", "kv_consumer")
    )
    return Connector("nixlv2", configurations, {"UCX_TLS": "tcp,shm,self,cma,sm"})


def example(folder):
    """vLLM's ExampleConnector: blocks lie in files of a folder that both engines have."""
    extra = {"shared_storage_path": str(folder)}
    one = {"kv_connector": "ExampleConnector", "kv_role": "kv_both", "kv_connector_extra_config": extra}
    # A prompt of several steps is stored as its last step, and the decode engine's process ends when it reads that (vLLM
    # 0.32): this one fits in a step.
    return Connector("shared-storage", (one, one), reads_from_engine=False, long_words=1_000)


class Pair:
    """The engines and all that stands in front of them."""

    def __init__(self, connector, lab, run, programs):
        self.connector = connector
        self._run, self._programs = run, programs
        self.prefill, self.decode = (
            Engine(
                f"{connector.name}-{name}",
                lab,
                run,
                ["--kv-transfer-config", json.dumps(configuration)],
                {
                    **connector.environment,
                    "VLLM_NIXL_SIDE_CHANNEL_HOST": "127.0.0.1",
                    "VLLM_NIXL_SIDE_CHANNEL_PORT": str(free_port()),
                },
            )
            for name, configuration in zip(("prefill", "decode"), connector.configurations, strict=True)
        )
        self.relay = Relay(self.prefill)
        self.sidecar = self._sidecar("sidecar", "decode")
        # One that is asked past the tier, and gives errors.
        self.strict = self._sidecar("strict-sidecar", "error")
        self.tier = None

    def _sidecar(self, name, on_failure):
        arguments = ["--kv-connector", self.connector.name, "--on-prefill-failure", on_failure]
        arguments += ["--prefill-timeout", f"{PREFILL_SECONDS}s", "--decode-timeout", "60s"]
        program = self._programs.with_name("murmuration")
        return Sidecar(f"{self.connector.name}-{name}", program, self.decode, self.relay, self._run, arguments)

    def start(self, seconds_max):
        """Starts all of it, and waits until every replica knows both roles."""
        progress(f"{self.connector.name}: starting two vLLM servers, which takes a minute or two")
        for engine in (self.prefill, self.decode):
            engine.start()
        for engine in (self.prefill, self.decode):
            engine.wait()
        progress(f"{self.connector.name}: starting two sidecars, three replicas and Envoy")
        for sidecar in (self.sidecar, self.strict):
            sidecar.start()
        configuration = self._run / "pd.yaml"
        configuration.write_text(CONFIGURATION, "utf-8")
        engines = [self.sidecar, self.relay]
        arguments = ["--config-file", str(configuration), "--model", "tiny"]
        run = self._run / self.connector.name
        run.mkdir()
        self.tier = Testbed(self._programs, engines, run, seconds_max, arguments)
        self.tier.wait()
        self.tier.give_roles(["decode", "prefill"])
        if not http_client.eventually(self._all_split, 120):
            raise RuntimeError(f"requests are still not split after 120 s; see {self.tier.log}")

    def _all_split(self):
        """Whether each of some requests was split; the replicas take turns. The first hand-off opens connections."""
        before = self.relay.asked
        for number in range(3 * len(self.tier.replicas)):
            http_client.ask(self.tier.public, "/v1/completions", completion(words(f"first {number}", 20), 2))
        return self.relay.asked == before + 3 * len(self.tier.replicas)

    def stop(self):
        """Stops all of it."""
        for one in (self.tier, self.sidecar, self.strict, self.relay, self.decode, self.prefill):
            if one is not None:
                one.stop()
