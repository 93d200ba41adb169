"""A relay in front of an engine, at which a test can hold, change or lose what passes.

Must not know what passes. An answer is read in full before it is passed on.
"""

import http.client
import http.server
import threading

from .engines import free_port
from .http_client import SECONDS_MAX

# Headers of one connection.
OWN = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


class Relay:
    """The relay. With `refuses`, POST requests are answered with that status; `before` is called with each request
    that is passed on, and `after` with its answer before that is passed on."""

    def __init__(self, engine):
        self.engine = engine
        self.refuses = None
        self.before = self.after = None
        self.asked = 0
        relay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """Passes one request on."""

            protocol_version = "HTTP/1.1"

            def do_GET(self):
                """Pages."""
                self._pass(None)

            def do_POST(self):
                """Legs."""
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                relay.asked += 1
                if relay.refuses:
                    self._answer(relay.refuses, {"content-type": "application/json"}, b'{"error":{"message":"told"}}')
                    return
                if relay.before:
                    relay.before()
                self._pass(body)
                relay.before = relay.after = None

            def _pass(self, body):
                headers = {name: value for name, value in self.headers.items() if name.lower() not in OWN}
                connection = http.client.HTTPConnection(relay.engine.place, timeout=SECONDS_MAX)
                try:
                    connection.request(self.command, self.path, body, headers)
                    response = connection.getresponse()
                    status, headers, body = response.status, dict(response.getheaders()), response.read()
                except (OSError, http.client.HTTPException):
                    # As a connection that breaks.
                    self.close_connection = True
                    return
                finally:
                    connection.close()
                if relay.after and self.command == "POST":
                    relay.after()
                self._answer(status, headers, body)

            def _answer(self, status, headers, body):
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        if name.lower() not in OWN:
                            self.send_header(name, value)
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_):
                """Nothing."""

        port = free_port()
        self.place = f"127.0.0.1:{port}"
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        """Takes no more requests."""
        self._server.shutdown()
        self._server.server_close()
