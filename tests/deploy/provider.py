"""A provider that answers in OpenAI's dialect as its models' names say, and remembers what it was asked.

A stream sends its first piece, and the rest only when the test lets it go on: so a test that has read the first piece while
the provider waits has proven that pieces come one by one.
"""

import http.server, json, threading

CREDENTIAL = "lab-credential"
PIECES = ["Hello", ", ", "gateway", "!"]
USAGE = {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010}


def settings(base_url):
    """The operator's settings: this provider serves every model that events/ asks for, at a price, and one that fails."""
    price = {"input": "1.00", "output": "2.00"}
    chat = {"provider": "lab", "kind": "chat", "context_length": 32000, "max_output_tokens": 1000, "price": price}
    return {
        "providers": {"lab": {"base_url": f"{base_url}/v1", "credential": "lab"}},
        "models": {
            "modelswitch/echo": chat | {"upstream_id": "echo"},
            "lab/fails": chat | {"upstream_id": "fails"},
            "text-embedding-3-small": {"provider": "lab", "kind": "embedding", "upstream_id": "embed", "price": price},
        },
    }


class Provider:
    def __init__(self):
        self.seen, self.go_on = [], threading.Event()
        self.go_on.set()
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                provider.seen.append({"path": self.path, "authorization": self.headers["authorization"], "body": body})
                if body["model"] == "fails":
                    self.answer(500, {"error": {"message": "out of order", "type": "server_error"}})
                elif body.get("stream"):
                    self.stream()
                elif self.path.endswith("/embeddings"):
                    data = [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}]
                    usage = {"prompt_tokens": 1000, "total_tokens": 1000}
                    self.answer(200, {"object": "list", "model": "embed", "data": data, "usage": usage})
                else:
                    message = {"role": "assistant", "content": "".join(PIECES)}
                    choice = {"index": 0, "message": message, "finish_reason": "stop"}
                    self.answer(200, {
                        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "echo",
                        "choices": [choice], "usage": USAGE,
                    })

            def answer(self, status, body):
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def stream(self):
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                for number, piece in enumerate(PIECES):
                    if number == 1:
                        provider.go_on.wait(60)
                    self.piece([{"index": 0, "delta": {"content": piece}, "finish_reason": None}])
                self.piece([{"index": 0, "delta": {}, "finish_reason": "stop"}])
                self.piece([], usage=USAGE)
                self.wfile.write(b"data: [DONE]\n\n")

            def piece(self, choices, **more):
                chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "echo"}
                self.wfile.write(b"data: " + json.dumps(chunk | {"choices": choices} | more).encode() + b"\n\n")
                self.wfile.flush()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.base_url = "http://127.0.0.1:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
