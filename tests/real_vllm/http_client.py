"""An HTTP client of the tier: one exchange, whole or streamed, with a deadline.

Must not know which server answers: the tier, an engine or a replica.
"""

import http.client
import json
import re
import time

# An exchange that takes longer than this hangs, however slow the machine is.
SECONDS_MAX = 180
# The longest time without a byte on a socket.
SILENCE_MAX = 120


class Hung(Exception):
    """An exchange did not end in time."""


class Answer:
    """A complete answer."""

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
        """Whether the answer is an event stream."""
        return "text/event-stream" in self.headers.get("content-type", "")

    @property
    def json(self):
        """The body as JSON. Another body raises ValueError with its first 200 bytes."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise ValueError(f"{self.status} with a body that is no JSON: {self.body[:200]!r}") from None

    @property
    def error(self):
        """The error object of the engine or the tier, in the body or in an event; None in a good answer."""
        if self.streamed:
            return next((event["error"] for event in self.events if "error" in event), None)
        try:
            return json.loads(self.body).get("error") if self.body else None
        except (ValueError, AttributeError):
            return None

    @property
    def id(self):
        """The request's id. vLLM derives the id of its answer from the x-request-id that it received."""
        document = self.events[0] if self.streamed else self.json
        return document["id"].split("-", 1)[1]

    @property
    def text(self):
        """The text that the model generated."""
        if self.streamed:
            return "".join(_piece(choice) for event in self.events for choice in event.get("choices", []))
        return "".join(_piece(choice) for choice in self.json["choices"])

    @property
    def usage(self):
        """The token counts of the engine; None if it reported none."""
        if self.streamed:
            reported = [event["usage"] for event in self.events if event.get("usage")]
            return reported[-1] if reported else None
        return self.json.get("usage")

    @property
    def cached_tokens(self):
        """Prompt tokens that the engine had in its cache; None if it did not report them."""
        return ((self.usage or {}).get("prompt_tokens_details") or {}).get("cached_tokens")


def _piece(choice):
    if "text" in choice:
        return choice["text"]
    return (choice.get("delta") or choice.get("message") or {}).get("content") or ""


def ask(place, path, body=None, seconds=SECONDS_MAX, headers=None):
    """One exchange with `place` ("127.0.0.1:8000"): POST if there is a `body`, else GET.

    Raises Hung if it does not end in time, and OSError or http.client.HTTPException if the connection breaks.
    """
    deadline = time.monotonic() + seconds
    connection = http.client.HTTPConnection(place, timeout=min(SILENCE_MAX, seconds))
    try:
        if body is None:
            connection.request("GET", path)
        else:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request("POST", path, data, {"content-type": "application/json", **(headers or {})})
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
    """A page as JSON. Raises ValueError if the status is not 200."""
    answer = ask(place, path, seconds=seconds)
    if answer.status != 200:
        raise ValueError(f"http://{place}{path} answers {answer.status}")
    return answer.json


def counter(text, name, **labels):
    """The sum of a counter's series with these labels on a metrics page; 0 if there is none."""
    total = 0.0
    for found in re.finditer(rf"^{re.escape(name)}(?:\{{([^}}]*)\}})? (\S+)$", text, re.M):
        has = dict(re.findall(r'(\w+)="([^"]*)"', found[1] or ""))
        if labels.items() <= has.items():
            total += float(found[2])
    return int(total)


def eventually(holds, seconds, every=0.1):
    """Calls `holds` until its result is true, for at most `seconds`. Returns the last result."""
    deadline = time.monotonic() + seconds
    while True:
        result = holds()
        if result or time.monotonic() > deadline:
            return result
        time.sleep(every)
