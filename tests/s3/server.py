"""An S3 server for tests: moto's, with faults that a test can ask for.

    python server.py PORT

Prints one line when it listens. Faults are set by `PUT /_faults` with a JSON body, such as

    {"share": 0.1, "kinds": ["slow-down", "500", "reset"], "methods": ["PUT", "GET"], "seed": 7}

and taken back by an empty one. `delay_ms` makes every request slower; `expired` refuses all of them as S3 does when
credentials have expired; `unconditional` passes over the conditions of requests, as some stores do; a `conflict` is what S3 says of two writes at once; `denied` names methods that are refused for want of a permission; `once` is a method and a part
of a path: the first request like that is refused. `GET /_requests` says how many
requests of each method came.

One request, counted from that moment on, can be told to go wrong: `{"at": 17, "kind": "lost"}`. The kinds are those of above
and `lost` (carried out, and nothing comes back), `torn` (half of the answer comes back, or of the upload arrives), `kill` and
`kill-after` (the process `pid` is killed before or after it is carried out). With `"on": true` all later ones go wrong alike.
"""

import json
import os
import random
import signal
import socket
import sys
import threading
import time

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'


class Faulty:
    """The application with faults in front of it."""

    def __init__(self, application):
        self.application = application
        self.faults = {}
        self.random = random.Random(0)
        self.requests = {}
        self.since = 0
        self.struck = ""
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path == "/_faults":
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            self.faults = json.loads(body or b"{}")
            self.random = random.Random(self.faults.get("seed", 0))
            self.since = 0
            self.struck = ""
            return answer(start_response, "200 OK", "")
        if path == "/_requests":
            return answer(start_response, "200 OK", json.dumps({**self.requests, "since": self.since, "struck": self.struck}))
        with self.lock:
            self.requests[method] = self.requests.get(method, 0) + 1
            self.since += 1
            if self.since == self.faults.get("at"):
                self.struck = f"request {self.since}: {method} {path}"
            kind = self.kind(method, path)
        if self.faults.get("unconditional"):
            for condition in ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"):
                environ.pop(condition, None)
        if self.faults.get("delay_ms"):
            time.sleep(self.faults["delay_ms"] / 1000)
        if kind is None:
            return self.application(environ, start_response)
        if kind == "kill":
            os.kill(self.faults["pid"], signal.SIGKILL)
        # The request may have been carried out before the connection breaks, or not.
        if kind in ("reset-after", "lost", "kill-after"):
            b"".join(self.application(environ, lambda *_: None))
        elif kind == "torn" and method in ("GET", "HEAD"):
            return self.torn(environ, start_response)
        else:
            length = int(environ.get("CONTENT_LENGTH") or 0)
            environ["wsgi.input"].read(length // 2 if kind == "torn" else length)
        if kind == "kill-after":
            os.kill(self.faults["pid"], signal.SIGKILL)
        if kind == "expired":
            return refuse(start_response, "400 Bad Request", "ExpiredToken", "The provided token has expired.")
        if kind == "denied":
            return refuse(start_response, "403 Forbidden", "AccessDenied", "Access Denied")
        if kind == "conflict":
            message = "A conflicting conditional operation is currently in progress against this resource."
            return refuse(start_response, "409 Conflict", "ConditionalRequestConflict", message)
        if kind == "slow-down":
            return refuse(start_response, "503 Slow Down", "SlowDown", "Please reduce your request rate.")
        if kind == "500":
            return refuse(start_response, "500 Internal Server Error", "InternalError", "We encountered an internal error.")
        reset(environ)
        return []

    def torn(self, environ, start_response):
        """The answer, of which half comes back before the connection breaks."""
        body = b"".join(self.application(environ, start_response))
        yield body[: len(body) // 2]
        reset(environ)

    def kind(self, method, path):
        faults = self.faults
        if "at" in faults:
            struck = self.since >= faults["at"] if faults.get("on") else self.since == faults["at"]
            return faults["kind"] if struck else None
        once = faults.get("once")
        if once and once[0] == method and once[1] in path:
            del faults["once"]
            return "denied"
        if faults.get("expired"):
            return "expired"
        if method in faults.get("denied", []):
            return "denied"
        if method in faults.get("methods", [method]) and self.random.random() < faults.get("share", 0):
            return self.random.choice(faults["kinds"])
        return None


def reset(environ):
    connection = environ["werkzeug.socket"]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    connection.close()


def answer(start_response, status, text, kind="application/json"):
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(text)))])
    return [text.encode()]


def refuse(start_response, status, code, message):
    return answer(start_response, status, ERROR.format(code=code, message=message), "application/xml")


class Quiet(WSGIRequestHandler):
    """Keeps connections open, as S3 does, and says nothing."""

    protocol_version = "HTTP/1.1"

    def log(self, *_):
        pass


def main():
    application = Faulty(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", int(sys.argv[1]), application, threaded=True, request_handler=Quiet)
    print(f"listening on {server.server_port}", flush=True)
    server.serve_forever()


main()
