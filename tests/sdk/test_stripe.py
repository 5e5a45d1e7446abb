"""Stripe's own SDK for Python and the gateway, each judging the webhooks that the other does: what the one signs the other
believes, and what was tampered with neither does. Run by ./run."""

import json
import os
import time
import urllib.error
import urllib.request
from decimal import Decimal

import pytest
import stripe

URL = os.environ["MODELSWITCH_PAID_URL"]
BILLING_KEY = os.environ["MODELSWITCH_PAID_BILLING_KEY"]
ACCOUNT = os.environ["MODELSWITCH_PAID_ACCOUNT"]
SECRET = os.environ["MODELSWITCH_PAID_SECRET"]
OTHER_SECRET = "whsec_of_somebody_else"


def body(number, cents=2000):
    """A session that was paid, as Stripe would tell of it."""
    session = {
        "id": f"cs_test_{number}",
        "object": "checkout.session",
        "created": int(time.time()),
        "payment_status": "paid",
        "amount_total": cents,
        "currency": "usd",
        "payment_intent": f"pi_{number}",
        "metadata": {"account": ACCOUNT},
        "customer_details": {"name": "Zoë Müller – 日本"},
    }
    event = {
        "id": f"evt_{number}",
        "object": "event",
        "type": "checkout.session.completed",
        "created": int(time.time()),
        "data": {"object": session},
    }
    return json.dumps(event, indent=2, ensure_ascii=False)


def signed(payload, secret=SECRET, age=0):
    return stripe.WebhookSignature.generate_signature_header(payload, secret, int(time.time()) - age)


def gateway_believes(payload, header):
    """Whether the gateway takes it for Stripe's: 200, or 400 in its envelope."""
    headers = {"Content-Type": "application/json"}
    if header:
        headers["Stripe-Signature"] = header
    request = urllib.request.Request(f"{URL}/webhooks/stripe", payload.encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer) == {"received": True}
    except urllib.error.HTTPError as error:
        said = json.load(error)["error"]
        assert (error.code, said["param"]) == (400, "Stripe-Signature"), said
        return False


def sdk_believes(payload, header):
    try:
        return stripe.Webhook.construct_event(payload, header, SECRET).id.startswith("evt_")
    except stripe.SignatureVerificationError:
        return False


def balance():
    request = urllib.request.Request(f"{URL}/api/balance", headers={"Authorization": f"Bearer {BILLING_KEY}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer, parse_float=Decimal)["balance"]


def test_what_the_sdk_signs_is_believed_and_booked_once():
    before = balance()
    payload = body("believed", 2050)
    for _ in range(3):
        assert gateway_believes(payload, signed(payload))
    assert balance() - before == Decimal("20.50")


def headers(payload):
    """Headers, each with whether it is to be believed."""
    right, other, now = signed(payload), signed(payload, OTHER_SECRET), int(time.time())
    signature = right.split("v1=")[1]
    return {
        "right": (right, True),
        "a little old": (signed(payload, age=290), True),
        "too old": (signed(payload, age=310), False),
        "another secret": (other, False),
        "right among others": (f"{other},v1={signature},v0={'0' * 64}", True),
        "the other way round": (f"v1={signature},t={now}", None),
        "another scheme": (right.replace("v1=", "v0="), False),
        "another time": (right.replace(f"t={right[2:12]}", f"t={int(right[2:12]) - 1}"), False),
        "in capitals": (right.split("v1=")[0] + "v1=" + signature.upper(), False),
        "cut": (right[:-1], False),
        "longer": (right + "0", False),
        "no time": (f"v1={signature}", False),
        "no signature": (f"t={now}", False),
        "nonsense": ("nonsense", False),
        "nothing": ("", False),
    }


@pytest.mark.parametrize("name", headers("{}"))
def test_of_each_header_both_think_the_same(name):
    payload = body(name.replace(" ", "_"))
    header, expected = headers(payload)[name]
    verdicts = sdk_believes(payload, header), gateway_believes(payload, header)
    assert verdicts[0] == verdicts[1], header
    assert expected in (None, verdicts[0]), header


def test_a_body_that_was_changed_anywhere_is_believed_by_neither():
    payload = body("changed")
    header, before = signed(payload), balance()
    for at in range(0, len(payload), 7):
        changed = payload[:at] + chr(ord(payload[at]) ^ 1) + payload[at + 1 :]
        assert not sdk_believes(changed, header) and not gateway_believes(changed, header), at
    assert balance() == before
    assert gateway_believes(payload, header)
