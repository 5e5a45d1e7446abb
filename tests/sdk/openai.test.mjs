// The unmodified OpenAI SDK for Node against the gateway, with a real small model behind it. Run by ./run.

import assert from "node:assert/strict";
import { before, test } from "node:test";

import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

import * as gateway from "./gateway.mjs";
import { api, Books, idleBalance, model, nanos, newKey, usageEntries } from "./gateway.mjs";

const hello = [{ role: "user", content: "Say hello." }];
const paint = [{ role: "user", content: "Describe a can of paint." }];
const Paint = z.object({ color: z.enum(["red", "green", "blue"]), glossy: z.boolean() });
const asked = { stream_options: { include_usage: true } };

/** A client that shows every failure: the SDK would hide some behind retries of its own. */
const sdk = (apiKey = gateway.proxyKey, url = gateway.url, options = {}) =>
  new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0, timeout: 120_000, ...options });

const chat = (client, body = {}) =>
  client.chat.completions.create({ model, messages: hello, max_tokens: 8, ...body });

async function collected(items) {
  const all = [];
  for await (const item of items) all.push(item);
  return all;
}

/** A stream to its end: its chunks and the request's id. */
async function drained(client, body) {
  const { data, request_id: requestId } = await chat(client, { stream: true, ...body }).withResponse();
  return { chunks: await collected(data), requestId };
}

let client;
let books;

before(async () => {
  client = sdk();
  books = await Books.open();
});

// Chat

test("an answer carries its cost and the account shows the same", async () => {
  const answer = await chat(client, { max_tokens: 16 });
  assert.ok(answer.choices[0].message.content);
  assert.equal(answer.model, "smollm2-135m");
  const entry = await books.charged(answer._request_id, answer.usage);
  assert.deepEqual([entry.model, entry.provider], [model, "smol"]);
  assert.equal(entry.cachedTokens, answer.usage.prompt_tokens_details.cached_tokens);
});

test("unknown fields pass both ways", async () => {
  // `grammar` and `timings` are llama.cpp's own: the gateway has never heard of them.
  const answer = await chat(client, { grammar: 'root ::= "certainly"' });
  assert.equal(answer.choices[0].message.content, "certainly");
  assert.ok(answer.timings.predicted_n > 0);
  await books.charged(answer._request_id, answer.usage);
});

test("a JSON schema is kept", async () => {
  const answer = await client.chat.completions.parse({
    model,
    messages: paint,
    max_tokens: 64,
    response_format: zodResponseFormat(Paint, "paint"),
  });
  Paint.parse(answer.choices[0].message.parsed);
  await books.charged(answer._request_id, answer.usage);
});

// Streams

test("a stream hides the usage that was not asked for", async () => {
  const { chunks, requestId } = await drained(client);
  for (const chunk of chunks) assert.ok(chunk.choices.length === 1 && !chunk.usage);
  assert.ok(chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join(""));
  assert.match(chunks.at(-1).choices[0].finish_reason, /^(stop|length)$/);
  await books.streamed(requestId);
});

test("a stream ends with the usage that was asked for", async () => {
  const { chunks, requestId } = await drained(client, asked);
  const last = chunks.pop();
  for (const chunk of chunks) assert.ok(chunk.choices.length === 1 && !chunk.usage);
  assert.deepEqual(last.choices, []);
  await books.streamed(requestId, last.usage);
});

test("the stream helper parses a JSON schema", async () => {
  // The helper shows no headers: the request's id is read where they pass.
  let requestId;
  const watching = sdk(undefined, undefined, {
    fetch: async (...request) => {
      const answer = await fetch(...request);
      requestId = answer.headers.get("x-request-id");
      return answer;
    },
  });
  for (const options of [{}, asked]) {
    const response_format = zodResponseFormat(Paint, "paint");
    const stream = watching.chat.completions.stream({ model, messages: paint, max_tokens: 64, response_format, ...options });
    const answer = await stream.finalChatCompletion();
    Paint.parse(answer.choices[0].message.parsed);
    assert.equal(answer.usage !== undefined, options === asked);
    await books.streamed(requestId, answer.usage);
  }
});

test("parallel streams all finish", async () => {
  // llama.cpp's server closes kept-alive connections under load: without the gateway's one retry some of these fail.
  for (let round = 0; round < 4; round += 1) {
    const messages = (index) => [{ role: "user", content: `Count from ${index}.` }];
    const streams = Array.from({ length: 8 }, (_, index) => drained(client, { messages: messages(index), ...asked }));
    for (const { chunks, requestId } of await Promise.all(streams)) {
      assert.match(chunks.at(-2).choices[0].finish_reason, /^(stop|length)$/);
      await books.streamed(requestId, chunks.at(-1).usage);
    }
  }
});

// Embeddings

function close(left, right) {
  assert.equal(left.length, right.length);
  left.forEach((value, index) => assert.ok(Math.abs(value - right[index]) < 1e-6));
}

test("float and base64 embeddings are the same vectors", async () => {
  const input = ["a red apple", "a green pear", "the price of oil"];
  const embed = async (options = {}) => {
    const answer = await client.embeddings.create({ model, input, ...options });
    assert.deepEqual(answer.data.map((item) => item.index), [0, 1, 2]);
    await books.charged(answer._request_id, answer.usage);
    return answer.data.map((item) => item.embedding);
  };
  const exact = await embed({ encoding_format: "float" });
  const text = await embed({ encoding_format: "base64" });
  // What the SDK asks for by default is base64, which it decodes.
  const decoded = await embed();
  for (let index = 0; index < input.length; index += 1) {
    assert.equal(exact[index].length, 576);
    const bytes = new Uint8Array(Buffer.from(text[index], "base64"));
    close(Array.from(new Float32Array(bytes.buffer)), exact[index]);
    close(Array.from(decoded[index]), exact[index]);
  }
});

test("tokens are embedded", async () => {
  const answer = await client.embeddings.create({ model, input: [[1, 2, 3], [4, 5]] });
  assert.equal(answer.data.length, 2);
  assert.equal(answer.usage.prompt_tokens, 5);
  await books.charged(answer._request_id, answer.usage);
});

// Models

test("the models are listed, and one whose id holds a slash is retrieved", async () => {
  const models = await collected(client.models.list());
  const listed = models.find(({ id }) => id === model);
  assert.deepEqual([listed.pricing.prompt, listed.pricing.completion], ["0.0000001", "0.0000004"]);
  // The SDK writes the slash as %2F.
  assert.equal((await client.models.retrieve(model)).id, model);
});

// Refusals: each is the SDK's own exception class

async function refused(kind, call) {
  const error = await call().then(
    () => assert.fail(`answered where a ${kind.name} was due`),
    (error) => error,
  );
  assert.equal(error.constructor, kind, `${error.constructor.name}: ${error.message}`);
  assert.ok(error.requestID);
  return error;
}

const facts = ({ status, type, code }) => [status, type, code];

test("401: a key that is none, and one that was deleted", async () => {
  const { id, key } = await newKey();
  await api("DELETE", `keys/${id}`);
  for (const apiKey of ["nonsense", key]) {
    for (const stream of [false, true]) {
      const error = await refused(OpenAI.AuthenticationError, () => chat(sdk(apiKey), { stream }));
      assert.deepEqual(facts(error), [401, "authentication_error", "invalid_api_key"]);
      assert.equal(error.error.message, "Missing or invalid Authorization header");
    }
  }
});

test("402: an account without funds", async () => {
  const poor = sdk(gateway.poorProxyKey, gateway.poorUrl);
  // The SDK has no class of its own for 402.
  for (const stream of [false, true]) {
    const error = await refused(OpenAI.APIError, () => chat(poor, { stream }));
    assert.deepEqual(facts(error), [402, "billing_error", "insufficient_balance"]);
    assert.equal(error.error.reason, "balance");
  }
  await refused(OpenAI.APIError, () => poor.embeddings.create({ model, input: "hello" }));
});

test("403: a deactivated key, a billing key, a spent one, another model's", async () => {
  const deactivated = await newKey();
  await api("PUT", `keys/${deactivated.id}`, { active: false });
  const spent = await newKey({ spend_limit: 0.000001 });
  const other = await newKey({ models: ["modelswitch/echo"] });
  for (const [key, code] of [
    [deactivated.key, "key_deactivated"],
    [gateway.billingKey, "wrong_key_type"],
    [spent.key, "spend_limit_reached"],
    [other.key, "model_not_allowed"],
  ]) {
    const error = await refused(OpenAI.PermissionDeniedError, () => chat(sdk(key)));
    assert.deepEqual(facts(error), [403, "permission_error", code]);
  }
});

test("404: an unknown model", async () => {
  const unknown = "smol/nothing";
  for (const call of [
    () => chat(client, { model: unknown }),
    () => client.embeddings.create({ model: unknown, input: "hello" }),
    () => client.models.retrieve(unknown),
  ]) {
    const error = await refused(OpenAI.NotFoundError, call);
    assert.deepEqual(facts(error), [404, "invalid_request_error", "model_not_found"]);
  }
});

test("429: a full rate window", async () => {
  const { key } = await newKey({ rate_limit: { requests: 1, interval: "1d" } });
  const answer = await chat(sdk(key), { max_tokens: 1 });
  await books.charged(answer._request_id, answer.usage);
  const error = await refused(OpenAI.RateLimitError, () => chat(sdk(key), { max_tokens: 1 }));
  assert.deepEqual(facts(error), [429, "rate_limit_error", "rate_limit_exceeded"]);
  assert.ok(Number(error.headers.get("retry-after")) >= 1);
});

test("400: ours names the field, the provider's reaches the client in its words", async () => {
  for (const stream of [false, true]) {
    const ours = await refused(OpenAI.BadRequestError, () => chat(client, { messages: "hello", stream }));
    assert.deepEqual(facts(ours), [400, "invalid_request_error", "invalid_parameter"]);
    assert.equal(ours.param, "messages");
    const theirs = await refused(OpenAI.BadRequestError, () => chat(client, { temperature: "hot", stream }));
    assert.match(theirs.error.message, /type must be number/);
  }
});

// The books, last: all of the above is in them

test("every answer was charged once and no refusal was", async () => {
  const ids = (await books.newEntries()).map(({ id }) => id);
  assert.deepEqual(ids.sort(), books.paid.sort());
});

test("charges and balance add up to the credit", async () => {
  const charged = (await usageEntries()).reduce((sum, entry) => sum + nanos(entry.chargedAmount), 0);
  const account = await idleBalance();
  assert.equal(nanos(account.balance) + charged, nanos(gateway.credit));
  assert.equal(nanos(account.available), nanos(account.balance));
});
