"""`cargo lambda deploy` pushes one function's code into the stack, and `cargo lambda invoke` asks one that runs here, both with
what the README says of them."""

import json, unittest

from stack import NAME, client, endpoint, invoked, stack
from toolchain import REGION, Server, build, events, free_port, listens, run

FUNCTION = "unknown-route"


class Push(unittest.TestCase):
    def test_the_alias_goes_over_to_the_pushed_code_and_nothing_else_changes(self):
        stack(), build()
        aws, name = client("lambda"), f"{NAME}-{FUNCTION}"
        kept = ("MemorySize", "Timeout", "Role", "Environment", "LoggingConfig", "Architectures", "Handler", "Runtime")
        alias = lambda: aws.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
        settings = lambda: {field: aws.get_function_configuration(FunctionName=name).get(field) for field in kept}
        version, before = alias(), settings()
        run("cargo", "lambda", "deploy", name, "--binary-name", FUNCTION, "--region", REGION, "--endpoint-url", endpoint())
        self.assertEqual(int(alias()), int(version) + 1)
        self.assertEqual(settings(), before)
        answer = invoked(FUNCTION, events(FUNCTION)["unknown-path"])
        self.assertEqual(answer["statusCode"], 404, answer)


class Invoke(unittest.TestCase):
    def test_an_event_is_answered_by_a_function_that_runs_here(self):
        port = free_port()
        watch = Server(
            "watch", "cargo", "lambda", "watch", "--package", FUNCTION, "--ignore-changes", "--invoke-address", "127.0.0.1",
            "--invoke-port", port, ready=lambda: listens(port),
        )
        self.addCleanup(watch.stop)
        for case, event in events(FUNCTION).items():
            said = run(
                "cargo", "lambda", "invoke", FUNCTION, "--data-file", f"events/{FUNCTION}/{case}.json",
                "--invoke-address", "127.0.0.1", "--invoke-port", port, "--output-format", "json",
            )
            answer = json.loads(said.stdout[said.stdout.index("{"):])
            self.assertIn(answer["statusCode"], (404, 405), event["path"])
            self.assertIn("code", json.loads(answer["body"])["error"])
