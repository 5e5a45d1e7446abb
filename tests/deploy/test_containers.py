"""`sam local invoke` of each function and `sam local start-api` with the authorizer, in real containers.

SAM's own API carries no stream and knows no gateway responses, so what is asked of it is what it can show: that the routes,
the authorizer and the binaries of the template work together. A container can't reach the scripted provider, so the two
functions that ask it get an event that needs none.

Two things of the template `sam local start-api` (1.170) can't do, so it gets a copy without them. Where a path has methods
of its own and an ANY beside them, which is API Gateway's way to say "the others", SAM gives all of the path to one of the
two by chance: it keeps routes in a set. And it asks no authorizer that is named by its alias.
"""

import json, unittest, urllib.error, urllib.request

import yaml

from engine import ADDRESS, Engine, NoEngine, environment as of_engine, forward
from stack import Account, build, endpoint, environment, stack
from test_emulator import EXPECTED, SAID
from toolchain import ARCHITECTURE, REGION, SAM, SCRATCH, Server, events, free_port, functions, listens, logical_id, run

CASES = {
    "auth-key": "show", "authorizer": "proxy-key", "balance": "show", "chat-completions": "unknown-model",
    "dashboard": "sign-in", "embeddings": "missing-input", "hold-expirer": "scheduled", "keys": "create",
    "low-balance": "booked", "models": "list", "payments": "bad-amount", "stripe-webhook": "bad-signature",
    "transactions": "list", "unknown-route": "wrong-method", "usage": "list", "usage-rollup": "served",
}


def setUpModule():
    global engine, options
    try:
        engine = Engine()
    except NoEngine as reason:
        raise unittest.SkipTest(f"no container engine: {reason}") from None
    unittest.addModuleCleanup(engine.server.stop)
    stack()
    port = forward(int(endpoint().rsplit(":", 1)[1]))
    engine.image(build() / "AuthorizerFunction" / "bootstrap", f"http://{ADDRESS}:{port}")
    # SAM gives a function the variables that the template names, with these values.
    variables = SCRATCH / "variables.json"
    variables.write_text(json.dumps({logical_id(name): environment(name) for name in functions()}))
    options = (
        "--env-vars", variables, "--skip-pull-image",
        "--parameter-overrides", f"Architecture={ARCHITECTURE}", "--layer-cache-basedir", SCRATCH / "layers",
    )


def for_start_api():
    """The built template, without the ANY of paths that have methods of their own, and with the authorizer by its name."""
    template = yaml.safe_load((build() / "template.yaml").read_text())
    routes = {name: template["Resources"][logical_id(name)]["Properties"].get("Events", {}) for name in functions()}
    unknown = routes.pop("unknown-route")
    own = {path(event) for events in routes.values() for event in events.values() if event["Type"] == "Api"}
    for name in [name for name, event in unknown.items() if path(event) in own]:
        del unknown[name]
    [authorizer] = template["Resources"]["Api"]["Properties"]["Auth"]["Authorizers"].values()
    authorizer["FunctionArn"] = f"arn:aws:lambda:{REGION}:123456789012:function:{logical_id('authorizer')}"
    file = build() / "template-start-api.yaml"
    file.write_text(yaml.safe_dump(template, sort_keys=False))
    return file


def path(event):
    return event["Properties"]["Path"]


class Containers(unittest.TestCase):
    def test_sam_local_invoke_answers_for_every_function(self):
        account = Account()
        for function in functions():
            with self.subTest(function):
                name = f"{function}/{CASES[function]}"
                event = SCRATCH / "event.json"
                event.write_text(json.dumps(account.of(events(function)[CASES[function]])))
                said = run(
                    SAM, "local", "invoke", logical_id(function), "--event", event,
                    "--template", build() / "template.yaml", *options, more=of_engine(),
                ).stdout
                # SAM sets JSON's spaces in its own way, and a body's quotes are escaped.
                said = said.replace("\\", "").replace('": ', '":')
                for part in [SAID[name]] if name in SAID else map(str, EXPECTED[name]):
                    self.assertIn(part, said)

    def test_sam_local_start_api_answers_behind_the_authorizer(self):
        account, port = Account(), free_port()
        server = Server(
            "start-api", SAM, "local", "start-api", "--host", "127.0.0.1", "--port", port, "--warm-containers", "LAZY",
            "--template", for_start_api(), *options, more=of_engine(), ready=lambda: listens(port),
        )
        self.addCleanup(server.stop)

        def status(path, key=None):
            headers = {"authorization": f"Bearer {key}"} if key else {}
            try:
                asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
                with urllib.request.urlopen(asked, timeout=120) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as answer:
                return answer.code, answer.read().decode()

        code, body = status("/v1/models", account.proxy)
        self.assertEqual(code, 200, body + server.tail())
        self.assertIn("modelswitch/echo", body)
        code, body = status("/api/balance", account.billing)
        self.assertEqual(code, 200, body + server.tail())
        self.assertIn('"balance":5.00', body)
        # SAM has one word for all errors of an authorizer, `Unauthorized` among them: 502.
        unknown = "ms-" + "0" * 38
        for key, refused in ((None, 401), ("x", 401), (unknown, 502), (account.billing, 403)):
            code, body = status("/v1/models", key)
            self.assertEqual(code, refused, body + server.tail())
        code, body = status("/nowhere")
        self.assertEqual((code, json.loads(body)["error"]["code"]), (404, "unknown_url"), body + server.tail())
