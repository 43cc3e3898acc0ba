"""A real HTTP server on loopback that answers as an OpenAI endpoint does, or misbehaves."""

import contextlib
import http.server
import json
import threading


def said(text, **more):
    """The body of a good answer."""
    message = {"role": "assistant", "content": text} | more
    usage = {"prompt_tokens": 10, "completion_tokens": 2}
    return {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}


def ok(body):
    """An action: a whole answer; a dict is sent as JSON, bytes as they are."""
    return lambda h: h.send(200, body)


def status(number, message="no", headers=(), **more):
    """An action: an error as the endpoints write it."""
    return lambda h: h.send(number, {"error": {"message": message, **more}}, headers)


def hang(h):
    """An action: says nothing until the server closes."""
    h.server.closing.wait(30)


def cut(h):
    """An action: half of the body, and the line goes dead."""
    raw = json.dumps(said("whole")).encode()
    h.send(200, raw[: len(raw) // 2], length=len(raw))
    h.close_connection = True


def drip(h):
    """An action: the headers at once, then a byte now and then, so that no read ever times out."""
    h.send(200, b"", length=10_000)
    while not h.server.closing.wait(0.05):
        h.wfile.write(b" ")
        h.wfile.flush()


class Handler(http.server.BaseHTTPRequestHandler):
    """Notes the request and does what the server's `act` says."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            number = len(self.server.requests)
            self.server.requests.append(
                (self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            )
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        with contextlib.suppress(ConnectionError):  # the client may have gone
            try:
                action = self.server.act(body, number)
            finally:
                with self.server.lock:
                    self.server.now -= 1
            action(self)

    def send(self, code, body, headers=(), length=None):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for name, value in {"Content-Type": "application/json", **dict(headers)}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw) if length is None else length))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serve(act):
    """A server whose `act(body, number of the request)` gives an action; `.url`, `.requests`."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    server.act, server.requests, server.lock = act, [], threading.Lock()
    server.now = server.most = 0  # requests at work: now, and at most
    server.closing = threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
