// What stands behind the browser: the gateway as its user starts it, its command line, and the stand-in for Stripe.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

import { atTheEnd } from "./ending.mjs";

const { MODELSWITCH_BIN, STRIPE_BIN } = process.env;
export const echo = "modelswitch/echo";

/** A process whose output is read line by line. It ends with the file of tests that started it. */
class Process {
  #errors = [];

  constructor(binary, args, env) {
    this.child = spawn(binary, args, { env: { ...process.env, RUST_LOG: "warn", ...env }, stdio: "pipe" });
    this.child.stderr.on("data", (text) => this.#errors.push(text));
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
    this.ended = new Promise((resolve) => this.child.on("close", resolve));
    const end = () => this.child.kill("SIGKILL");
    process.on("exit", end);
    this.ended.then(() => process.off("exit", end));
    atTheEnd(() => this.stop());
  }

  /** Its next line. */
  async line() {
    const { value, done } = await this.lines.next();
    assert.ok(!done, `it ended: ${this.#errors.join("")}`);
    return value;
  }

  /** Its lines up to one that holds `text`. */
  async until(text) {
    const lines = [];
    do lines.push(await this.line());
    while (!lines.at(-1).includes(text));
    return lines.join("\n");
  }

  /** What it wrote about errors. */
  errors() {
    return this.#errors.join("");
  }

  async stop() {
    this.child.kill("SIGTERM");
    return this.ended;
  }
}

/** A folder that is there until the file of tests ends. */
export async function freshFolder() {
  const folder = await mkdtemp(join(tmpdir(), "modelswitch-dashboard-"));
  atTheEnd(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** `modelswitch` with these arguments on a fresh folder: what the first start printed, and how to ask it. */
export async function startGateway(args = [], env = {}) {
  const data = join(await freshFolder(), "data.db");
  // The log's errors are looked at: a page that breaks says so there.
  const gateway = new Process(MODELSWITCH_BIN, ["--port", "0", "--data", data, "--grace", "0", ...args], env);
  const printed = await gateway.until("--help");
  const found = (pattern) => printed.match(pattern)[0];
  const url = found(/http:\/\/127\.0\.0\.1:\d+/);
  const billingKey = found(/mk-\w{38}/);
  const account = found(/acct_\w+/);

  /** One call of the API with a key; the billing key for /api. */
  async function ask(method, path, body, key = billingKey) {
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
    return fetch(`${url}${path}`, { method, headers, body: body && JSON.stringify(body) });
  }

  /** The same for what must be answered: its JSON. */
  async function api(method, path, body) {
    const answer = await ask(method, `/api/${path}`, body);
    const text = await answer.text();
    assert.ok(answer.ok, `${method} /api/${path}: ${answer.status} ${text}`);
    return text && JSON.parse(text);
  }

  /** A chat request to the model that is built in. */
  const chat = (key, text = "Hello, gateway!") =>
    ask("POST", "/v1/chat/completions", { model: echo, messages: [{ role: "user", content: text }] }, key);

  /** The operator's command line, on the same data, beside the gateway. */
  async function operator(...words) {
    const { stdout } = await promisify(execFile)(MODELSWITCH_BIN, [...words, "--data", data, "--json"]);
    return JSON.parse(stdout);
  }

  return {
    url,
    account,
    dashboard: `${url}/dashboard`,
    link: found(/http:\S+\/dashboard\/link\/\S+/),
    proxyKey: found(/ms-\w{38}/),
    ask,
    api,
    chat,
    operator,
    invite: async (email, ...more) => (await operator("user", "invite", email, "--url", url, ...more)).url,
    reset: async (email) => (await operator("user", "reset", email, "--url", url)).url,
    errors: () => gateway.errors(),
  };
}

/** The stand-in for Stripe, and a gateway that takes payments there. */
export async function startPaidGateway(args = [], env = {}) {
  const stripe = new Process(STRIPE_BIN, [], {});
  const { url, secretKey, webhookSecret } = JSON.parse(await stripe.line());
  const secrets = { STRIPE_SECRET_KEY: secretKey, STRIPE_WEBHOOK_SECRET: webhookSecret };
  const gateway = await startGateway(["--stripe", url, ...args], { ...secrets, ...env });
  /** One command of dashboard/stripe.rs and its answer. */
  async function tell(...words) {
    stripe.child.stdin.write(`${words.join(" ")}\n`);
    return JSON.parse(await stripe.line());
  }
  await tell("to", gateway.url);
  return { ...gateway, stripe: { url, tell } };
}

/** An amount in USD as a whole number of nano-dollars. */
export const nanos = (usd) => Math.round(Number(usd) * 1e9);
