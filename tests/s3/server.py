"""An S3 server for tests: moto's, with faults that a test can ask for.

    python server.py PORT

Prints one line when it listens. Faults are set by `PUT /_faults` with a JSON body, such as

    {"share": 0.1, "kinds": ["slow-down", "500", "reset"], "methods": ["PUT", "GET"], "seed": 7}

and taken back by an empty one. `delay_ms` makes every request slower; `expired` refuses all of them as S3 does when
credentials have expired; `denied` names methods that are refused for want of a permission. `GET /_requests` says how many
requests of each method came.
"""

import json
import random
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
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path == "/_faults":
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            self.faults = json.loads(body or b"{}")
            self.random = random.Random(self.faults.get("seed", 0))
            return answer(start_response, "200 OK", "")
        if path == "/_requests":
            return answer(start_response, "200 OK", json.dumps(self.requests))
        with self.lock:
            self.requests[method] = self.requests.get(method, 0) + 1
            kind = self.kind(method)
        if self.faults.get("delay_ms"):
            time.sleep(self.faults["delay_ms"] / 1000)
        if kind is None:
            return self.application(environ, start_response)
        # The request may have been carried out before the connection breaks, or not.
        if kind == "reset-after":
            b"".join(self.application(environ, lambda *_: None))
        else:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if kind == "expired":
            return refuse(start_response, "400 Bad Request", "ExpiredToken", "The provided token has expired.")
        if kind == "denied":
            return refuse(start_response, "403 Forbidden", "AccessDenied", "Access Denied")
        if kind == "slow-down":
            return refuse(start_response, "503 Slow Down", "SlowDown", "Please reduce your request rate.")
        if kind == "500":
            return refuse(start_response, "500 Internal Server Error", "InternalError", "We encountered an internal error.")
        connection = environ["werkzeug.socket"]
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        connection.close()
        return []

    def kind(self, method):
        faults = self.faults
        if faults.get("expired"):
            return "expired"
        if method in faults.get("denied", []):
            return "denied"
        if method in faults.get("methods", [method]) and self.random.random() < faults.get("share", 0):
            return self.random.choice(faults["kinds"])
        return None


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
