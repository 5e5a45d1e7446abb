"""Lambda's runtime API for one function, which shows each piece of an answer as it comes in.

AWS's own emulator hands an answer on when it is whole, so it can't show this.
"""

import http.server, json, queue, threading, uuid


class RuntimeApi:
    def __init__(self):
        self.events, self.answers = queue.Queue(), {}
        runtime = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle(self):
                try:
                    super().handle()
                except ConnectionError:
                    pass  # The function was ended while it asked for more.

            def do_GET(self):
                number, event = runtime.events.get()
                body = json.dumps(event).encode()
                self.send_response(200)
                for name, value in {
                    "lambda-runtime-aws-request-id": number,
                    # Far away: no test is about the function's own deadline.
                    "lambda-runtime-deadline-ms": "9999999999999",
                    "lambda-runtime-invoked-function-arn": "arn:aws:lambda:us-east-1:123456789012:function:function",
                    "content-type": "application/json", "content-length": str(len(body)),
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                answer = runtime.answers[self.path.split("/")[-2]]
                answer.headers.put({name.lower(): value for name, value in self.headers.items()})
                for piece in self.pieces():
                    answer.pieces.put(piece)
                answer.pieces.put(None)
                self.send_response(202)
                self.send_header("content-length", "0")
                self.end_headers()

            def pieces(self):
                if length := self.headers["content-length"]:
                    yield self.rfile.read(int(length))
                    return
                while size := int(self.rfile.readline(), 16):
                    yield self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = "127.0.0.1:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def invoke(self, event):
        number = str(uuid.uuid4())
        self.answers[number] = answer = Answer()
        self.events.put((number, event))
        return answer


class Answer:
    """What the function sends for one event, as it comes."""

    def __init__(self):
        self.headers, self.pieces, self.read = queue.Queue(), queue.Queue(), b""

    def until(self, part):
        """Reads pieces until they hold this; fails if the answer ends before, or nothing comes."""
        while part not in self.read:
            piece = self.pieces.get(timeout=60)
            if piece is None:
                raise AssertionError(f"the answer ended without {part}: {self.read}")
            self.read += piece
        return self.read

    def rest(self):
        """All of the answer."""
        while (piece := self.pieces.get(timeout=60)) is not None:
            self.read += piece
        return self.read
