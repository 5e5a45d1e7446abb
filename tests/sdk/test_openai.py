"""The unmodified OpenAI SDK for Python against the gateway, with a real small model behind it. Run by ./run."""

import asyncio
import base64
import struct
from typing import Literal

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from gateway import (
    BILLING_KEY,
    CREDIT,
    MODEL,
    POOR_PROXY_KEY,
    POOR_URL,
    PROXY_KEY,
    URL,
    Books,
    api,
    idle_balance,
    nanos,
    new_key,
    usage_entries,
)

HELLO = [{"role": "user", "content": "Say hello."}]


def sdk(key=PROXY_KEY, url=URL):
    """A client that shows every failure: the SDK would hide some behind retries of its own."""
    return OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=120)


def chat(client, **arguments):
    return client.chat.completions.create(**{"model": MODEL, "messages": HELLO, "max_tokens": 8, **arguments})


@pytest.fixture(scope="module")
def client():
    return sdk()


@pytest.fixture(scope="module")
def books():
    return Books()


class Paint(BaseModel):
    color: Literal["red", "green", "blue"]
    glossy: bool


# Chat


def test_an_answer_carries_its_cost_and_the_account_shows_the_same(client, books):
    answer = chat(client, max_tokens=16)
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens <= 16
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    entry = books.charged(answer._request_id, answer.usage)
    assert (entry["model"], entry["provider"]) == (MODEL, "smol")
    assert entry["cachedTokens"] == answer.usage.prompt_tokens_details.cached_tokens


def test_the_model_of_an_answer_is_what_the_provider_says(client, books):
    answer = chat(client, max_tokens=1)
    assert answer.model == "smollm2-135m"
    books.charged(answer._request_id, answer.usage)


def test_unknown_fields_pass_both_ways(client, books):
    # `grammar` and `timings` are llama.cpp's own: the gateway has never heard of them.
    answer = chat(client, extra_body={"grammar": 'root ::= "certainly"'})
    assert answer.choices[0].message.content == "certainly"
    assert answer.timings["predicted_n"] > 0
    books.charged(answer._request_id, answer.usage)


def test_several_choices_and_logprobs(client, books):
    answer = chat(client, n=2, logprobs=True, top_logprobs=1)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert all(choice.logprobs.content for choice in answer.choices)
    books.charged(answer._request_id, answer.usage)


def test_a_json_schema_is_kept(client, books):
    answer = client.chat.completions.parse(
        model=MODEL,
        messages=[{"role": "user", "content": "Describe a can of paint."}],
        response_format=Paint,
        max_tokens=64,
    )
    assert isinstance(answer.choices[0].message.parsed, Paint)
    books.charged(answer._request_id, answer.usage)


def test_the_echo_model_answers_with_the_last_message(client, books):
    answer = chat(client, model="modelswitch/echo", max_tokens=64)
    assert answer.choices[0].message.content == "Say hello."
    books.charged(answer._request_id, answer.usage)


# Streams


def test_a_stream_hides_the_usage_that_was_not_asked_for(client, books):
    stream = chat(client, stream=True)
    chunks = list(stream)
    assert all(chunk.choices for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason in ("stop", "length")
    books.streamed(stream.response.headers["x-request-id"])


def test_a_stream_ends_with_the_usage_that_was_asked_for(client, books):
    stream = chat(client, stream=True, stream_options={"include_usage": True})
    *content, last = stream
    assert all(chunk.choices and chunk.usage is None for chunk in content)
    assert last.choices == []
    books.streamed(stream.response.headers["x-request-id"], last.usage)


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": True}}], ids=["hidden", "asked"])
def test_the_stream_helper_parses_a_json_schema(client, books, options):
    with client.chat.completions.stream(
        model=MODEL,
        messages=[{"role": "user", "content": "Describe a can of paint."}],
        response_format=Paint,
        max_tokens=64,
        **options,
    ) as stream:
        kinds = {event.type for event in stream}
        answer = stream.get_final_completion()
        request_id = stream._response.headers["x-request-id"]
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert isinstance(answer.choices[0].message.parsed, Paint)
    assert (answer.usage is not None) == bool(options)
    books.streamed(request_id, answer.usage)


def test_parallel_streams_all_finish(books):
    # llama.cpp's server closes kept-alive connections under load: without the gateway's one retry some of these fail.
    async def one(client, index):
        message = {"role": "user", "content": f"Count from {index}."}
        stream = await chat(client, messages=[message], stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
        return chunks, stream.response.headers["x-request-id"]

    async def rounds():
        async with AsyncOpenAI(base_url=f"{URL}/v1", api_key=PROXY_KEY, max_retries=0, timeout=120) as client:
            return [await asyncio.gather(*(one(client, index) for index in range(8))) for _ in range(4)]

    for answers in asyncio.run(rounds()):
        for chunks, request_id in answers:
            assert chunks[-2].choices[0].finish_reason in ("stop", "length")
            books.streamed(request_id, chunks[-1].usage)


# Embeddings


def floats(text):
    data = base64.b64decode(text, validate=True)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def test_float_and_base64_embeddings_are_the_same_vectors(client, books):
    texts = ["a red apple", "a green pear", "the price of oil"]
    by_format = {}
    for encoding_format in ("float", "base64"):
        answer = client.embeddings.create(model=MODEL, input=texts, encoding_format=encoding_format)
        assert [item.index for item in answer.data] == [0, 1, 2]
        by_format[encoding_format] = [item.embedding for item in answer.data]
        books.charged(answer._request_id, answer.usage)
    # What the SDK asks for by default is base64, which it decodes.
    default = client.embeddings.create(model=MODEL, input=texts)
    books.charged(default._request_id, default.usage)

    assert all(isinstance(vector, str) for vector in by_format["base64"])
    for exact, text, decoded in zip(by_format["float"], by_format["base64"], default.data, strict=True):
        assert len(exact) == 576
        assert floats(text) == pytest.approx(exact, abs=1e-6)
        assert decoded.embedding == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize(
    ("given", "tokens", "vectors"),
    [("a red apple", None, 1), ([1, 2, 3], 3, 1), ([[1, 2, 3], [4, 5]], 5, 2)],
    ids=["text", "tokens", "lists of tokens"],
)
def test_every_form_of_input_is_embedded(client, books, given, tokens, vectors):
    answer = client.embeddings.create(model=MODEL, input=given)
    assert len(answer.data) == vectors
    assert tokens in (None, answer.usage.prompt_tokens)
    books.charged(answer._request_id, answer.usage)


# Models


def test_the_models_are_listed_with_their_prices(client):
    model = next(model for model in client.models.list() if model.id == MODEL)
    assert (model.object, model.owned_by) == ("model", "smol")
    assert (model.pricing["prompt"], model.pricing["completion"]) == ("0.0000001", "0.0000004")


def test_a_model_whose_id_holds_a_slash_is_retrieved(client):
    # The SDK writes the slash as %2F.
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError) as refusal:
        client.models.retrieve("smol/nothing")
    assert refusal.value.code == "model_not_found"


# Refusals: each is the SDK's own exception class


def refused(kind, call):
    with pytest.raises(kind) as refusal:
        call()
    assert type(refusal.value) is kind
    assert refusal.value.request_id
    return refusal.value


@pytest.mark.parametrize("key", ["nonsense", "ms-" + "0" * 38], ids=["malformed", "wrong checksum"])
def test_401_a_key_that_is_none(key):
    for call in (chat, lambda client: chat(client, stream=True), lambda client: client.models.list()):
        error = refused(openai.AuthenticationError, lambda call=call: call(sdk(key)))
        assert (error.status_code, error.type, error.code) == (401, "authentication_error", "invalid_api_key")
        assert error.body["message"] == "Missing or invalid Authorization header"


def test_401_a_deleted_key():
    key_id, key = new_key()
    api("DELETE", f"keys/{key_id}")
    assert refused(openai.AuthenticationError, lambda: chat(sdk(key))).code == "invalid_api_key"


@pytest.mark.parametrize("stream", [False, True])
def test_402_an_account_without_funds(stream):
    # The SDK has no class of its own for 402.
    error = refused(openai.APIStatusError, lambda: chat(sdk(POOR_PROXY_KEY, POOR_URL), stream=stream))
    assert (error.status_code, error.type, error.code) == (402, "billing_error", "insufficient_balance")
    assert error.body["reason"] == "balance"


def test_402_embeddings_without_funds():
    client = sdk(POOR_PROXY_KEY, POOR_URL)
    error = refused(openai.APIStatusError, lambda: client.embeddings.create(model=MODEL, input="hello"))
    assert error.status_code == 402


def test_403_a_deactivated_key():
    key_id, key = new_key()
    api("PUT", f"keys/{key_id}", {"active": False})
    error = refused(openai.PermissionDeniedError, lambda: chat(sdk(key)))
    assert (error.status_code, error.type, error.code) == (403, "permission_error", "key_deactivated")


def test_403_a_billing_key():
    assert refused(openai.PermissionDeniedError, lambda: chat(sdk(BILLING_KEY))).code == "wrong_key_type"


@pytest.mark.parametrize(
    ("attributes", "code"),
    [({"spend_limit": 0.000001}, "spend_limit_reached"), ({"models": ["modelswitch/echo"]}, "model_not_allowed")],
    ids=["spend limit", "models"],
)
def test_403_what_the_key_may_not(attributes, code):
    # Python writes this limit as 1e-06, which is as good a JSON number as 0.000001.
    _, key = new_key(**attributes)
    assert refused(openai.PermissionDeniedError, lambda: chat(sdk(key))).code == code


def test_404_an_unknown_model(client):
    for call in (
        lambda: chat(client, model="smol/nothing"),
        lambda: client.embeddings.create(model="smol/nothing", input="hello"),
    ):
        error = refused(openai.NotFoundError, call)
        assert (error.status_code, error.code, error.param) == (404, "model_not_found", "model")


def test_404_an_unknown_path(client):
    assert refused(openai.NotFoundError, lambda: client.get("/nonsense", cast_to=object)).code == "unknown_url"


def test_429_a_full_rate_window(books):
    _, key = new_key(rate_limit={"requests": 1, "interval": "1d"})
    answer = chat(sdk(key), max_tokens=1)
    books.charged(answer._request_id, answer.usage)
    error = refused(openai.RateLimitError, lambda: chat(sdk(key), max_tokens=1))
    assert (error.status_code, error.type, error.code) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert 1 <= int(error.response.headers["retry-after"]) <= 86400
    assert error.response.headers["x-ratelimit-limit-requests"] == "1"
    assert error.response.headers["x-ratelimit-remaining-requests"] == "0"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("arguments", "param"),
    [({"messages": "hello"}, "messages"), ({"max_tokens": "many"}, "max_tokens"), ({"model": 5}, "model")],
    ids=["messages", "max_tokens", "model"],
)
def test_400_a_body_of_the_wrong_type_names_the_field(client, arguments, param, stream):
    error = refused(openai.BadRequestError, lambda: chat(client, stream=stream, **arguments))
    assert (error.type, error.code, error.param) == ("invalid_request_error", "invalid_parameter", param)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ({"extra_body": {"temperature": "hot"}}, "invalid_parameter", "type must be number"),
        (
            {"messages": [{"role": "user", "content": "word " * 3000}]},
            "context_length_exceeded",
            "exceeds the available context size",
        ),
    ],
    ids=["parameter", "context"],
)
def test_400_of_the_provider_reaches_the_client_in_its_words(client, arguments, code, words, stream):
    error = refused(openai.BadRequestError, lambda: chat(client, stream=stream, **arguments))
    assert (error.type, error.code) == ("invalid_request_error", code)
    assert words in error.body["message"]


# The books, last: all of the above is in them


def test_every_answer_was_charged_once_and_no_refusal_was(books):
    assert sorted(entry["id"] for entry in books.new_entries()) == sorted(books.paid)


def test_charges_and_balance_add_up_to_the_credit():
    charged = sum(nanos(entry["chargedAmount"]) for entry in usage_entries())
    balance = idle_balance()
    assert nanos(balance["balance"]) + charged == nanos(CREDIT)
    assert nanos(balance["available"]) == nanos(balance["balance"])
