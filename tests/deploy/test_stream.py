"""A streaming function sends the prelude and then each piece as it comes, and it is charged before the stream ends."""

import unittest

from runtime_api import RuntimeApi
from stack import STREAMING, Account, provider, stack, unframed
from test_emulator import folder, process_environment
from toolchain import Server, events


def setUpModule():
    stack()


class Stream(unittest.TestCase):
    def start(self, function):
        self.runtime = RuntimeApi()
        more = process_environment(function) | {"AWS_LAMBDA_RUNTIME_API": self.runtime.address}
        self.server = Server(f"function-{function}", folder(function) / "bootstrap", more=more)
        self.addCleanup(self.server.stop)
        self.addCleanup(provider().go_on.set)

    def test_pieces_come_while_the_provider_has_more_to_say(self):
        self.start("chat-completions")
        account = Account()
        provider().go_on.clear()
        answer = self.runtime.invoke(account.of(events("chat-completions")["stream"]))
        # The provider waits behind its first piece: what is here by now did not wait for the end.
        status, headers, _ = unframed(answer.until(b'"Hello"'))
        self.assertEqual((status, headers["content-type"]), (200, "text/event-stream; charset=utf-8"))
        sent = answer.headers.get(timeout=60)
        self.assertEqual(sent["lambda-runtime-function-response-mode"], "streaming")
        self.assertEqual(sent["content-type"], "application/vnd.awslambda.http-integration-response")
        self.assertNotIn(b"gateway", answer.read)
        provider().go_on.set()
        self.assertTrue(answer.rest().endswith(b"data: [DONE]\n\n"), answer.read)
        self.assertIn(b'"cost":0.00102', answer.read)
        self.assertEqual(account.balance(), "4.99898")

    def test_an_error_before_the_first_piece_has_its_status_and_comes_whole(self):
        self.start("chat-completions")
        account = Account()
        event = account.of(events("chat-completions")["stream"])
        event["body"] = event["body"].replace("modelswitch/echo", "lab/fails")
        status, headers, body = unframed(self.runtime.invoke(event).rest())
        self.assertEqual((status, headers["content-type"]), (502, "application/json"), body)
        self.assertIn(b'"code":"upstream_error"', body)
        self.assertEqual(account.balance(), "5.00")

    def test_every_streaming_function_says_so(self):
        for function in STREAMING:
            with self.subTest(function):
                self.start(function)
                case = "answer" if function == "chat-completions" else "export"
                answer = self.runtime.invoke(Account().of(events(function)[case]))
                self.assertEqual(unframed(answer.rest())[0], 200, answer.read)
                mode = answer.headers.get(timeout=60)["lambda-runtime-function-response-mode"]
                self.assertEqual(mode, "streaming")
