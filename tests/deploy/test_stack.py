"""`sam deploy` makes the stack, the operator's command line makes an account in it, and its API answers.

AWS is emulated here (ministack): CloudFormation, API Gateway with the authorizer and the gateway responses, Lambda with the
release binaries, DynamoDB, Secrets Manager. Its API Gateway carries no response stream: what is beyond the authorizer on a
streaming route is proven through Lambda's own response stream here, and piece by piece in test_stream.
"""

import re, unittest, urllib.parse

from provider import CREDENTIAL
from stack import NAME, Account, Visitor, client, deploy, invoked, operator, provider, request, stack, streamed
from toolchain import events, eventually

EMBEDDING = {"model": "text-embedding-3-small", "input": "Hello!", "encoding_format": "float"}
CHAT = {"model": "modelswitch/echo", "messages": [{"role": "user", "content": "Hello!"}]}
# Of a token's form and with a right checksum it would be a token; this one only has the form.
NO_TOKEN = "ms-" + "0" * 38


def setUpModule():
    stack()


def token(page):
    """What a form of the page has to bring along."""
    return re.search('name="csrf" value="([^"]+)"', page).group(1)


class Deployed(unittest.TestCase):
    def refused(self, status, code, *asked, **more):
        got, headers, body = request(*asked, **more)
        self.assertEqual((got, body.get("error", {}).get("code")), (status, code), body)
        self.assertTrue(headers["x-request-id"], dict(headers))
        self.assertEqual(set(body), {"error"})
        return headers

    def test_the_stack_is_complete(self):
        self.assertEqual(stack()["StackStatus"], "CREATE_COMPLETE")
        resources = client("cloudformation").describe_stack_resources(StackName=NAME)["StackResources"]
        states = {each["LogicalResourceId"]: each["ResourceStatus"] for each in resources}
        self.assertEqual({name: state for name, state in states.items() if not state.endswith("_COMPLETE")}, {})

    def test_without_a_key_that_opens_it_every_half_is_401(self):
        for path in ("/v1/models", "/api/balance"):
            for headers in ({}, {"authorization": "Bearer x"}, {"authorization": f"Bearer {NO_TOKEN}"}):
                self.refused(401, "invalid_api_key", "GET", path, headers=headers)
        self.refused(401, "invalid_api_key", "POST", "/v1/chat/completions", body=CHAT)

    def test_a_key_of_the_wrong_type_and_a_deactivated_one_are_403_each_with_its_words(self):
        account = Account()
        self.denied("wrong_key_type", account, account.billing, "GET", "/v1/models")
        self.denied("wrong_key_type", account, account.proxy, "GET", "/api/balance")
        self.denied("wrong_key_type", account, account.billing, "POST", "/v1/chat/completions", CHAT)
        operator("key", "deactivate", "--account", account.id, "1")
        self.denied("key_deactivated", account, account.proxy, "POST", "/v1/embeddings", EMBEDDING)

    def denied(self, code, account, key, method, path, body=None):
        """The API answers 403, and the authorizer gives it this code for its envelope. The emulator leaves the template's
        `$context.authorizer.…` as it stands, so the two are not seen together here."""
        status, headers, answer = request(method, path, key, body)
        self.assertEqual((status, answer["error"]["type"]), (403, "permission_error"), answer)
        self.assertIn(answer["error"]["code"], (code, "$context.authorizer.code"))
        self.assertTrue(headers["x-request-id"])
        event = account.of(events("authorizer")["proxy-key"]) | {"authorizationToken": f"Bearer {key}"}
        self.assertEqual(invoked("authorizer", event)["context"]["code"], code)

    def test_what_can_t_be_paid_is_402_and_costs_nothing(self):
        account = Account("0")
        self.refused(402, "insufficient_balance", "POST", "/v1/embeddings", account.proxy, EMBEDDING)
        status, headers, body = streamed("chat-completions", account.of(events("chat-completions")["answer"]))
        self.assertEqual((status, headers["content-type"]), (402, "application/json"), body)
        self.assertEqual(account.balance(), "0.00")

    def test_what_is_not_there_is_404_and_405(self):
        account = Account()
        self.refused(404, "unknown_url", "GET", "/v2/models")
        self.refused(404, "model_not_found", "GET", "/v1/models/no-such-model", account.proxy)
        headers = self.refused(405, "method_not_allowed", "DELETE", "/v1/chat/completions")
        self.assertEqual(headers["allow"], "POST")

    def test_past_the_rate_limit_it_is_429_with_when_to_come_again(self):
        account = Account("5", "--rate-limit", "2/1d")
        for _ in range(2):
            self.assertEqual(request("GET", "/v1/models", account.proxy)[0], 200)
        headers = self.refused(429, "rate_limit_exceeded", "GET", "/v1/models", account.proxy)
        self.assertGreaterEqual(int(headers["retry-after"]), 1)

    def test_a_request_is_answered_by_the_provider_and_charged_exactly(self):
        account = Account()
        status, _, body = request("POST", "/v1/embeddings", account.proxy, EMBEDDING)
        self.assertEqual(status, 200, body)
        self.assertEqual((body["data"][0]["embedding"], body["usage"]["cost"]), (["0.5", "-0.25"], "0.001"))
        self.assertEqual(provider().seen[-1]["authorization"], f"Bearer {CREDENTIAL}")
        self.assertEqual(account.balance(), "4.999")
        _, _, body = request("GET", "/api/transactions", account.billing)
        self.assertEqual([entry["amount"] for entry in body["transactions"]], ["-0.001", "5.00"])

    def test_the_deployed_chat_function_answers_whole_and_as_a_stream(self):
        account = Account()
        for case in ("answer", "stream"):
            status, headers, body = streamed("chat-completions", account.of(events("chat-completions")[case]))
            self.assertEqual(status, 200, body)
            self.assertIn(b'"cost":0.00102', body)
        self.assertEqual(headers["content-type"], "text/event-stream; charset=utf-8")
        self.assertTrue(body.endswith(b"data: [DONE]\n\n"), body)
        self.assertEqual(account.balance(), "4.99796")

    def test_the_ledger_s_stream_calls_its_consumer_and_the_clock_its_function(self):
        account = Account()
        self.assertEqual(request("POST", "/v1/embeddings", account.proxy, EMBEDDING)[0], 200)
        mappings = client("lambda").list_event_source_mappings()["EventSourceMappings"]
        called = sorted(mapping["FunctionArn"].split(f":{NAME}-")[-1] for mapping in mappings)
        self.assertEqual(called, ["low-balance:live", "usage-rollup:live"])
        for mapping in mappings:
            last = lambda: client("lambda").get_event_source_mapping(UUID=mapping["UUID"])["LastProcessingResult"]
            self.assertTrue(eventually(lambda: last().startswith("OK")), (mapping["FunctionArn"], last()))
        [rule] = client("events").list_rules()["Rules"]
        [target] = client("events").list_targets_by_rule(Rule=rule["Name"])["Targets"]
        self.assertTrue(target["Arn"].endswith(f":{NAME}-hold-expirer:live"), target)
        self.assertEqual((rule["ScheduleExpression"], rule["State"]), ("rate(5 minutes)", "ENABLED"))

    def test_the_stream_s_consumer_and_the_clock_s_function_run_and_the_statistics_follow(self):
        account = Account()
        self.assertEqual(request("POST", "/v1/embeddings", account.proxy, EMBEDDING)[0], 200)
        self.assertEqual(invoked("usage-rollup", account.of(events("usage-rollup")["served"])), {"batchItemFailures": []})
        self.assertGreaterEqual(invoked("hold-expirer", events("hold-expirer")["scheduled"])["items"], 0)
        status, _, body = streamed("usage", account.of(events("usage")["stats"]))
        self.assertEqual(status, 200, body)
        self.assertIn(b'"totalRequests":1', body)
        self.assertIn(b'"totalSpent":0.001', body)

    def test_keys_are_made_changed_and_deleted_through_the_api(self):
        account = Account()
        status, _, made = request("POST", "/api/keys", account.billing, {"name": "Production"})
        self.assertEqual(status, 201, made)
        self.assertEqual(request("GET", "/v1/auth/key", made["key"])[0], 200)
        status, _, changed = request("PUT", f"/api/keys/{made['id']}", account.billing, {"spend_limit": 2})
        self.assertEqual((status, changed["spendLimit"]), (200, "2.00"), changed)
        self.assertEqual(request("DELETE", f"/api/keys/{made['id']}", account.billing)[0], 204)
        self.assertEqual(request("GET", f"/api/keys/{made['id']}", account.billing)[0], 404)

    def test_a_payment_that_stripe_signs_is_booked_once(self):
        account = Account("0")
        event = account.signed(events("stripe-webhook")["paid"])
        signature = {"stripe-signature": event["headers"]["stripe-signature"]}
        for _ in range(2):
            status, _, body = request("POST", "/webhooks/stripe", text=event["body"], headers=signature)
            self.assertEqual((status, body), (200, {"received": True}))
        self.assertEqual(account.balance(), "25.00")

    def test_an_invitation_of_the_operator_s_opens_the_dashboard(self):
        account = Account()
        link = operator("user", "invite", "ada@lab.example", "--account", account.id)["url"]
        page = urllib.parse.urlparse(link).path.split("/dashboard", 1)[1]
        visitor = Visitor()
        status, headers, text = visitor.ask(f"/dashboard{page}")
        self.assertEqual(status, 200, text)
        self.assertIn("ada@lab.example", text)
        self.assertIn("default-src 'none'", headers["content-security-policy"])
        self.assertEqual(list(visitor.cookies), ["__Host-ms_visitor"])
        # The form's body comes through, and all cookies of its answer do.
        form = {"csrf": token(text), "password": "a few words & 100 % of them"}
        self.assertEqual(visitor.ask(f"/dashboard{page}", form | {"csrf": "0" * 128})[0], 403)
        status, headers, text = visitor.ask(f"/dashboard{page}", form)
        self.assertEqual((status, headers["location"]), (303, "/live/dashboard"), text)
        [session] = [line for line in headers.get_all("set-cookie") if line.startswith("__Host-ms_session=")]
        self.assertEqual(session.split("; ")[1:], ["Path=/", "HttpOnly", "SameSite=Lax", "Secure", "Max-Age=2592000"])
        status, _, text = visitor.ask("/dashboard")
        self.assertEqual(status, 200, text)
        self.assertIn("ada@lab.example", text)
        self.assertIn('action="/live/dashboard/sign-out"', text)
        status, headers, text = visitor.ask("/dashboard/sign-out", {"csrf": token(text)})
        self.assertEqual((status, headers["location"]), (303, "/live/dashboard/sign-in"), text)
        self.assertNotIn("__Host-ms_session", visitor.cookies)
        visitor.cookies["__Host-ms_session"] = session.split(";")[0].split("=")[1]
        self.assertEqual(visitor.ask("/dashboard")[0], 303, "the session is over, whoever has its cookie")

    def test_an_update_keeps_the_data(self):
        account = Account("7.25")
        self.assertEqual(request("POST", "/v1/embeddings", account.proxy, EMBEDDING)[0], 200)
        deploy(LogRetentionDays="14")
        found = client("cloudformation").describe_stacks(StackName=NAME)["Stacks"][0]
        self.assertEqual(found["StackStatus"], "UPDATE_COMPLETE")
        self.assertEqual(account.balance(), "7.249")
        self.assertEqual(request("POST", "/v1/embeddings", account.proxy, EMBEDDING)[0], 200)
