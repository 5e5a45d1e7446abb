"""Every function's release binary under AWS's runtime interface emulator, with every event of events/.

The environment is what the stack gave the function; database, secrets and provider are the stack's. The emulator hands an
answer on when it is whole; how a stream's pieces come is shown in test_stream.
"""

import http.client, json, unittest

from stack import NAME, STREAMING, Account, build, endpoint, environment, provider, stack, unframed
from toolchain import ARCHITECTURE, TOOLS, Server, events, free_port, functions, listens, logical_id

# What each event is answered with: a status, and the error's code or what the body holds.
EXPECTED = {
    "auth-key/show": (200, "is_free_tier"),
    "auth-key/show-alias": (200, "is_free_tier"),
    "auth-key/unknown-key": (401, "invalid_api_key"),
    "balance/show": (200, "balance"),
    "balance/unknown-key": (401, "invalid_api_key"),
    "chat-completions/answer": (200, "Hello, gateway!"),
    "chat-completions/broken-json": (400, "invalid_json"),
    "chat-completions/stream": (200, "[DONE]"),
    "chat-completions/unknown-model": (404, "model_not_found"),
    "dashboard/forged-form": (403, "be accepted</h1>"),
    "dashboard/sign-in": (200, "Password"),
    "dashboard/signed-out": (303, ""),
    "embeddings/answer": (200, "[0.5, -0.25]"),
    "embeddings/missing-input": (400, "missing_parameter"),
    "keys/change": (200, "Staging"),
    "keys/change-alias": (200, '"active":false'),
    "keys/create": (201, "Production"),
    "keys/delete": (204, ""),
    "keys/list": (200, '"keys"'),
    "keys/missing-name": (400, "missing_parameter"),
    "keys/rotate": (200, '"key":"ms-'),
    "keys/show": (200, '"createdAt"'),
    "keys/unknown-key": (404, "not_found"),
    "models/list": (200, "modelswitch/echo"),
    "models/show": (200, "modelswitch/echo"),
    "models/unknown-model": (404, "model_not_found"),
    "payments/bad-amount": (400, "invalid_parameter"),
    # The stack's secret has no key of Stripe's.
    "payments/create": (503, "no_provider"),
    # Its signature is of long ago; test_stack has one of now.
    "stripe-webhook/paid": (400, "invalid_parameter"),
    "stripe-webhook/bad-signature": (400, "invalid_parameter"),
    "transactions/bad-limit": (400, "invalid_parameter"),
    "transactions/list": (200, "transactions"),
    "unknown-route/unknown-path": (404, "unknown_url"),
    "unknown-route/wrong-method": (405, "method_not_allowed"),
    "usage/bad-limit": (400, "invalid_parameter"),
    "usage/export": (200, "id,"),
    "usage/list": (200, '"usage":[]'),
    "usage/stats": (200, "totalRequests"),
}

# The functions that answer no HTTP request: a part of what they say.
SAID = {
    "authorizer/proxy-key": '"Effect":"Allow"',
    "authorizer/malformed-key": '"errorMessage":"Unauthorized"',
    "authorizer/no-scheme": '"errorMessage":"Unauthorized"',
    "hold-expirer/scheduled": '"items":',
    "low-balance/booked": '{"batchItemFailures":[]}',
    "low-balance/no-account": '"itemIdentifier":"111100000000000000000001"',
    "usage-rollup/served": '{"batchItemFailures":[]}',
    "usage-rollup/no-account": '"itemIdentifier":"111100000000000000000001"',
}


def setUpModule():
    stack()


def folder(function):
    return build() / logical_id(function)


def process_environment(function):
    """What Lambda sets, and what the stack does."""
    return {
        "AWS_ENDPOINT_URL": endpoint(), "AWS_LAMBDA_FUNCTION_NAME": f"{NAME}-{function}", "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "AWS_LAMBDA_FUNCTION_TIMEOUT": "30", "AWS_LAMBDA_LOG_FORMAT": "JSON",
    } | environment(function)


class Emulator:
    """One function behind the emulator."""

    def __init__(self, function):
        [tool] = (TOOLS / "sam").glob(f"lib/python*/site-packages/samcli/local/rapid/aws-lambda-rie-{ARCHITECTURE}")
        self.port = free_port()
        self.server = Server(
            f"emulator-{function}", tool, "--runtime-interface-emulator-address", f"127.0.0.1:{self.port}",
            "--runtime-api-address", f"127.0.0.1:{free_port()}", "--log-level", "info", folder(function) / "bootstrap",
            more=process_environment(function), ready=lambda: listens(self.port),
        )

    def invoke(self, event):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", "/2015-03-31/functions/function/invocations", json.dumps(event))
        return connection.getresponse().read()


class Events(unittest.TestCase):
    def test_every_event_is_answered_as_it_should_be(self):
        provider().go_on.set()
        for function in functions():
            emulator = Emulator(function)
            for case, event in events(function).items():
                with self.subTest(f"{function}/{case}"):
                    # An account of its own: some events delete its key.
                    answer = emulator.invoke(Account().of(event))
                    self.check(f"{function}/{case}", answer, emulator)
            emulator.server.stop()

    def check(self, name, answer, emulator):
        function = name.split("/")[0]
        if name in SAID:
            self.assertIn(SAID[name], answer.decode(), emulator.server.tail())
            return
        status, part = EXPECTED[name]
        got, headers, body = unframed(answer) if function in STREAMING else whole(answer)
        self.assertEqual(got, status, (body, emulator.server.tail()))
        self.assertIn(part, body.decode())
        self.assertTrue(headers["x-request-id"], headers)
        # The dashboard's are pages.
        if status >= 400 and function != "dashboard":
            error = json.loads(body)["error"]
            self.assertEqual((headers["content-type"], error["code"]), ("application/json", part))

    def test_no_log_line_holds_a_token_or_the_provider_s_credential(self):
        account, emulator = Account(), Emulator("chat-completions")
        emulator.invoke(account.of(events("chat-completions")["answer"]))
        log = emulator.server.log.read_text()
        self.assertIn("chat-completions", log)
        for secret in (account.proxy, account.proxy[8:], "lab-credential"):
            self.assertNotIn(secret, log)
        emulator.server.stop()


def whole(answer):
    """The status, the headers and the body of a function that does not stream."""
    answer = json.loads(answer)
    headers = {name: values[-1] for name, values in answer["multiValueHeaders"].items()}
    if answer["isBase64Encoded"]:
        raise AssertionError("a text travels as base64")
    return answer["statusCode"], headers, (answer["body"] or "").encode()
