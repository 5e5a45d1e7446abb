// What the tests know of the gateway beside the SDK: its account interface, and the books. The twin of gateway.py.

import assert from "node:assert/strict";

export const {
  MODELSWITCH_URL: url,
  MODELSWITCH_PROXY_KEY: proxyKey,
  MODELSWITCH_BILLING_KEY: billingKey,
  MODELSWITCH_CREDIT: credit,
  MODELSWITCH_POOR_URL: poorUrl,
  MODELSWITCH_POOR_PROXY_KEY: poorProxyKey,
} = process.env;

export const model = "smol/smollm2-135m";
const inputNanos = 100;
const outputNanos = 400;
// How often the account is asked for what must come in a moment. One question takes milliseconds.
const asks = 200;

/** One call of /api with the billing key. */
export async function api(method, path, body) {
  const answer = await fetch(`${url}/api/${path}`, {
    method,
    headers: { authorization: `Bearer ${billingKey}`, "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  assert.ok(answer.ok, `${method} /api/${path}: ${answer.status} ${answer.ok || (await answer.text())}`);
  return answer.status === 204 ? null : answer.json();
}

/** A new proxy key with these attributes: its id and its token. */
export const newKey = (attributes = {}) => api("POST", "keys", { name: "sdk", ...attributes });

/** An amount of money as a whole number of nano-dollars; exact, as no amount here is near 2^53 of them. */
export function nanos(usd) {
  const amount = Math.round(usd * 1e9);
  assert.ok(Math.abs(usd * 1e9 - amount) < 1e-3, `${usd} USD is no whole number of nano-dollars`);
  return amount;
}

/** Every entry of GET /api/usage, page by page. */
export async function usageEntries() {
  const entries = [];
  for (let cursor = ""; cursor !== null; ) {
    const page = await api("GET", `usage?limit=20${cursor && `&cursor=${cursor}`}`);
    entries.push(...page.usage);
    cursor = page.nextCursor ?? null;
  }
  return entries;
}

async function newestEntry(requestId) {
  const { usage } = await api("GET", "usage?limit=50");
  return usage.find(({ id }) => id === requestId);
}

/** GET /api/balance once no request holds anything. */
export async function idleBalance() {
  for (let ask = 0; ask < asks; ask += 1) {
    const balance = await api("GET", "balance");
    if (balance.held === 0) return balance;
  }
  return assert.fail("funds stay held");
}

/** Each answer that was paid for, held against what the gateway says that it charged. */
export class Books {
  earlier = new Set();
  paid = [];

  static async open() {
    const books = new Books();
    for (const { id } of await usageEntries()) books.earlier.add(id);
    return books;
  }

  /** The request has its entry, at the price of its tokens; and of `usage`, where the answer showed one. */
  async charged(requestId, usage) {
    this.paid.push(requestId);
    const entry = await newestEntry(requestId);
    assert.ok(entry, `request ${requestId} has no entry`);
    const price = entry.promptTokens * inputNanos + entry.completionTokens * outputNanos;
    assert.ok(price > 0);
    assert.equal(nanos(entry.chargedAmount), price);
    if (usage) {
      assert.equal(entry.promptTokens, usage.prompt_tokens);
      assert.equal(entry.completionTokens, usage.completion_tokens ?? 0);
      assert.equal(nanos(usage.cost), price);
    }
    return entry;
  }

  /** The same for a stream. It is settled between its `[DONE]`, where the SDK lets go of it, and its end. */
  async streamed(requestId, usage) {
    for (let ask = 0; ask < asks && !(await newestEntry(requestId)); ask += 1);
    return this.charged(requestId, usage);
  }

  /** What was charged since the suite began. */
  async newEntries() {
    return (await usageEntries()).filter(({ id }) => !this.earlier.has(id));
  }
}
