"""What the tests know of the gateway beside the SDK: its account interface, and the books.

Prices are those that ./run gives the model: 0.10 and 0.40 USD per million tokens, so one token costs a whole number of
nano-dollars. No amount is ever a float here.
"""

import json
import os
import urllib.error
import urllib.request
from decimal import Decimal

URL = os.environ["MODELSWITCH_URL"]
PROXY_KEY = os.environ["MODELSWITCH_PROXY_KEY"]
BILLING_KEY = os.environ["MODELSWITCH_BILLING_KEY"]
CREDIT = os.environ["MODELSWITCH_CREDIT"]
# A second gateway, whose account has nothing.
POOR_URL = os.environ["MODELSWITCH_POOR_URL"]
POOR_PROXY_KEY = os.environ["MODELSWITCH_POOR_PROXY_KEY"]

MODEL = "smol/smollm2-135m"
INPUT_NANOS = 100
OUTPUT_NANOS = 400
# How often the account is asked for what must come in a moment. One question takes milliseconds.
ASKS = 200


def api(method, path, body=None):
    """One call of /api with the billing key; amounts are read as decimals."""
    request = urllib.request.Request(
        f"{URL}/api/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {BILLING_KEY}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null", parse_float=Decimal)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{method} /api/{path}: {error.code} {error.read().decode()}") from None


def new_key(**attributes):
    """A new proxy key with these attributes: its id and its token."""
    key = api("POST", "keys", {"name": "sdk", **attributes})
    return key["id"], key["key"]


def nanos(usd):
    """An amount of money as a whole number of nano-dollars. A float's shortest form is the number that was sent."""
    amount = Decimal(str(usd)) * 10**9
    assert amount == int(amount), f"{usd} USD is no whole number of nano-dollars"
    return int(amount)


def price(prompt_tokens, completion_tokens):
    """What so many tokens cost, in nano-dollars."""
    return prompt_tokens * INPUT_NANOS + completion_tokens * OUTPUT_NANOS


def usage_entries():
    """Every entry of GET /api/usage, page by page."""
    path, entries = "usage?limit=20", []
    while path:
        page = api("GET", path)
        entries += page["usage"]
        cursor = page["nextCursor"]
        path = cursor and f"usage?limit=20&cursor={cursor}"
    return entries


def newest_entries():
    """The last entries of GET /api/usage by their id."""
    return {entry["id"]: entry for entry in api("GET", "usage?limit=50")["usage"]}


def idle_balance():
    """GET /api/balance once no request holds anything."""
    for _ in range(ASKS):
        balance = api("GET", "balance")
        if balance["held"] == 0:
            return balance
    raise AssertionError("funds stay held")


class Books:
    """Each answer that was paid for, held against what the gateway says that it charged."""

    def __init__(self):
        self.earlier = {entry["id"] for entry in usage_entries()}
        self.paid = set()

    def charged(self, request_id, usage=None):
        """The request has its entry, at the price of its tokens; and of `usage`, where the answer showed one."""
        self.paid.add(request_id)
        entry = newest_entries().get(request_id)
        assert entry, f"request {request_id} has no entry"
        assert nanos(entry["chargedAmount"]) == price(entry["promptTokens"], entry["completionTokens"]) > 0
        if usage is not None:
            assert entry["promptTokens"] == usage.prompt_tokens
            assert entry["completionTokens"] == getattr(usage, "completion_tokens", 0)
            assert nanos(usage.cost) == nanos(entry["chargedAmount"])
        return entry

    def streamed(self, request_id, usage=None):
        """The same for a stream. It is settled between its `[DONE]`, where the SDK lets go of it, and its end."""
        for _ in range(ASKS):
            if request_id in newest_entries():
                break
        return self.charged(request_id, usage)

    def new_entries(self):
        """What was charged since the suite began."""
        return [entry for entry in usage_entries() if entry["id"] not in self.earlier]
