"""HTTP as a client of the tier speaks it: one exchange, whole or streamed, never longer than its deadline.

Must not know who answers: the tier, an engine or a replica.
"""

import http.client
import json
import time

# No exchange is longer than this, however slow the machine is: what lasts longer hangs.
SECONDS_MAX = 180
# What a socket may be silent.
SILENCE_MAX = 120


class Hung(Exception):
    """An exchange did not end in time."""


class Answer:
    """What came back, whole."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body
        self.events = []
        self.done = False
        if "text/event-stream" in headers.get("content-type", ""):
            self._read_events()

    def _read_events(self):
        for line in self.body.decode("utf-8", "replace").split("\n"):
            if not line.startswith("data: "):
                continue
            data = line[len("data: ") :].strip()
            if data == "[DONE]":
                self.done = True
            else:
                self.events.append(json.loads(data))

    @property
    def streamed(self):
        """Whether it came as events."""
        return "text/event-stream" in self.headers.get("content-type", "")

    @property
    def json(self):
        """The body as JSON; an answer that is none fails here, with its head."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise ValueError(f"{self.status} with a body that is no JSON: {self.body[:200]!r}") from None

    @property
    def error(self):
        """The engine's or the tier's error object, wherever it stands; None in a good answer."""
        if self.streamed:
            return next((event["error"] for event in self.events if "error" in event), None)
        try:
            return json.loads(self.body).get("error") if self.body else None
        except (ValueError, AttributeError):
            return None

    @property
    def id(self):
        """The request's id: vLLM names its answer after the x-request-id that it got."""
        named = self.events[0] if self.streamed else self.json
        return named["id"].split("-", 1)[1]

    @property
    def text(self):
        """What the model said."""
        if self.streamed:
            return "".join(_piece(choice) for event in self.events for choice in event.get("choices", []))
        return "".join(_piece(choice) for choice in self.json["choices"])

    @property
    def usage(self):
        """Tokens, as the engine counted them; None where it did not tell."""
        if self.streamed:
            told = [event["usage"] for event in self.events if event.get("usage")]
            return told[-1] if told else None
        return self.json.get("usage")

    @property
    def cached_tokens(self):
        """Tokens of the prompt that the engine had already; None where it did not tell."""
        return ((self.usage or {}).get("prompt_tokens_details") or {}).get("cached_tokens")


def _piece(choice):
    if "text" in choice:
        return choice["text"]
    return (choice.get("delta") or choice.get("message") or {}).get("content") or ""


def ask(place, path, body=None, seconds=SECONDS_MAX):
    """One exchange with `place` ("127.0.0.1:8000"): POST of `body` where there is one, else GET.

    Raises Hung when it is not over in time, and OSError or http.client.HTTPException when it is cut.
    """
    deadline = time.monotonic() + seconds
    connection = http.client.HTTPConnection(place, timeout=min(SILENCE_MAX, seconds))
    try:
        if body is None:
            connection.request("GET", path)
        else:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request("POST", path, data, {"content-type": "application/json"})
        response = connection.getresponse()
        pieces = []
        while piece := response.read1(1 << 16):
            pieces.append(piece)
            if time.monotonic() > deadline:
                raise Hung(f"{path} still runs after {seconds} s")
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, b"".join(pieces))
    except TimeoutError:
        raise Hung(f"{path}: nothing for {min(SILENCE_MAX, seconds)} s") from None
    finally:
        connection.close()


def page(place, path, seconds=20):
    """A page as JSON; raises where there is none."""
    answer = ask(place, path, seconds=seconds)
    if answer.status != 200:
        raise ValueError(f"http://{place}{path} answers {answer.status}")
    return answer.json


def eventually(holds, seconds, every=0.1):
    """Asks `holds` until it gives something true, at most for `seconds`. Gives what it gave last."""
    deadline = time.monotonic() + seconds
    while True:
        given = holds()
        if given or time.monotonic() > deadline:
            return given
        time.sleep(every)
