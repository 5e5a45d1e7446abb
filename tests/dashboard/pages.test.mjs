// Every page, in each state that it has where everybody may sign up and payments are taken: see looks.mjs for what holds.

import assert from "node:assert/strict";
import { before, test } from "node:test";

import { gone, newKey, press, send, setPassword, signInWith, signUp, title, until, visiting } from "./browser.mjs";
import { startPaidGateway } from "./gateway.mjs";
import { look } from "./looks.mjs";

// As long as people's are, and such as no line of a phone holds.
const email = "maximiliane.von-und-zu-altenburg@department-of-research.university.example";
const password = "a few words in a row";
// The number of a key whose value from before still works.
const inGrace = 6;
const names = ["laptop", "<b>HTML</b> & \"quotes\"", "Ä".repeat(100), "nightly evaluation of the translation pipeline"];

let gateway;
// The cookies of somebody with an account where much has happened, and of somebody who is new.
let owner;
let newcomer;
// And of somebody who is no owner of the first one's account.
let member;
// A link that was used.
let usedUp;

before(async () => {
  gateway = await startPaidGateway(["--sign-up"]);
  const { id } = await gateway.operator("account", "create", "--name", "An account of somebody who is new");
  owner = await user(email);
  newcomer = await user("newcomer@example.com", ["--account", id], async (page) => {
    await page.goto("/dashboard/billing");
    await page.getByLabel(/^Alert me when/).fill("5");
    await press(page, "Save");
  });
  member = await user("member@example.com", ["--account", gateway.account, "--role", "member"]);
  await user("forgetful@example.com");
  await reset("forgetful@example.com");
  await live();
});

/** The cookies of a user who was invited. */
async function user(address, more = ["--account", gateway.account], act = () => {}) {
  const link = await gateway.invite(address, ...more);
  return visiting({ baseURL: gateway.url }, async (page, context) => {
    await setPassword(page, link, password, "Begin");
    assert.equal(await title(page), "Overview");
    await act(page);
    return context.storageState();
  });
}

/** Uses a link of the operator's for another password. */
async function reset(address) {
  usedUp = await gateway.reset(address);
  await visiting({ baseURL: gateway.url }, async (page) => {
    await page.goto(usedUp);
    await page.locator("[name=password]").fill(password);
    await gone(page, page.locator("form:has([name=password]) button"));
  });
}

/** Keys, requests, a payment, a refund and a dispute, as an account has them; and so much of all that it fills pages. */
async function live() {
  let served = 0;
  for (let number = 1; number <= 60; number += 1) {
    const name = names[number % names.length];
    const limits = number % 3 ? {} : { spend_limit: 0.000001, models: ["modelswitch/echo"] };
    const { key } = await gateway.api("POST", "keys", { name, ...limits });
    const answer = await gateway.chat(key, "word ".repeat(number * 7));
    assert.ok([200, 403].includes(answer.status), await answer.text());
    served += answer.status === 200;
  }
  const order = { amount: 12.5, return_url: `${gateway.dashboard}/billing` };
  await gateway.api("POST", "payments", order);
  const [session] = await gateway.stripe.tell("sessions");
  assert.equal((await gateway.stripe.tell("paid", session.id)).status, 200);
  assert.equal((await gateway.stripe.tell("refunded", session.id, 250)).status, 200);
  assert.equal((await gateway.stripe.tell("disputed", session.id, "funds_withdrawn", 100)).status, 200);
  await gateway.api("POST", `keys/${inGrace}/rotate`, { grace_seconds: 86_400 });
  // Sums of usage follow within seconds, and no page is to change while it is looked at.
  await until(() => gateway.api("GET", "usage/stats"), ({ stats }) => stats.totalRequests === served);
}

/** A page by its address. */
const at = (path) => (page) => page.goto(`/dashboard${path}`);

/** The page where a form of that page's, changed like this, ends. */
const sent = (path, change, button) => async (page) => {
  await page.goto(`/dashboard${path}`);
  await change(page);
  await press(page, button);
};

/** Every page and each of its states: how to come there, and as whom. */
const pages = {
  "sign-in": { open: at("/sign-in") },
  "sign-in-notice": { open: at("/sign-in?notice=everywhere") },
  "sign-in-wrong": { open: (page) => signInWith(page, "nobody@example.com", "wrong"), status: 422 },
  "sign-up": { open: at("/sign-up") },
  "sign-up-problem": { open: (page) => signUp(page, email, email), status: 422 },
  link: { open: (page) => page.goto(gateway.link) },
  "link-used-up": { open: at("/link/unknown"), status: 404 },
  invitation: { open: async (page) => page.goto(await gateway.invite("guest@example.com", "--account", gateway.account)) },
  reset: { open: async (page) => page.goto(await gateway.reset(email)) },
  "reset-used-up": { open: (page) => page.goto(usedUp), status: 404 },
  "not-found-signed-out": { open: at("/nothing-here"), status: 404 },
  "not-found": { open: at("/nothing-here"), as: () => owner, status: 404 },
  overview: { open: at(""), as: () => owner },
  "overview-new": { open: at(""), as: () => newcomer },
  keys: { open: at("/keys"), as: () => owner },
  "keys-found": { open: at("/keys?search=night"), as: () => owner },
  "keys-not-found": { open: at("/keys?search=nothing"), as: () => owner },
  "keys-page-2": { open: next("/keys"), as: () => owner },
  "keys-new": { open: at("/keys"), as: () => newcomer },
  "key-new": { open: at("/keys/new"), as: () => owner },
  "key-new-problem": { open: sent("/keys/new", keyOfThePast, "Create the key"), as: () => owner, status: 422 },
  "key-shown": { open: (page) => newKey(page, "shown"), as: () => owner },
  key: { open: at("/keys/4"), as: () => owner },
  "key-notice": { open: at("/keys/5?notice=saved"), as: () => owner },
  "key-in-grace": { open: at(`/keys/${inGrace}`), as: () => owner },
  "key-rotate": { open: at("/keys/5/rotate"), as: () => owner },
  "key-rotated": { open: sent("/keys/5/rotate", () => {}, "Rotate the key"), as: () => owner },
  "key-delete": { open: at("/keys/5/delete"), as: () => owner },
  "billing-keys": { open: at("/billing-keys"), as: () => owner },
  "billing-keys-new": { open: at("/billing-keys"), as: () => newcomer },
  "billing-key-new": { open: at("/billing-keys/new"), as: () => owner },
  "billing-key-shown": { open: (page) => newKey(page, "shown", "billing-keys"), as: () => owner },
  "billing-key": { open: at("/billing-keys/2"), as: () => owner },
  "billing-key-rotate": { open: at("/billing-keys/2/rotate"), as: () => owner },
  "billing-key-rotated": { open: rotated("/billing-keys/2"), as: () => owner },
  "billing-key-delete": { open: at("/billing-keys/2/delete"), as: () => owner },
  billing: { open: at("/billing"), as: () => owner },
  "billing-page-2": { open: next("/billing"), as: () => owner },
  "billing-member": { open: at("/billing"), as: () => member },
  "billing-new": { open: at("/billing"), as: () => newcomer },
  "billing-problem": { open: belowNothing, as: () => owner, status: 422 },
  "billing-success": { open: at("/billing?checkout=success"), as: () => owner },
  "top-up": { open: topUp, as: () => owner },
  receipt: { open: receipt, as: () => owner },
  "receipt-refund": { open: receiptOf(({ type }) => type === "refund"), as: () => owner },
  "receipt-dispute": { open: receiptOf(({ type, amount }) => type === "adjustment" && amount < 0), as: () => owner },
  usage: { open: at("/usage"), as: () => owner },
  "usage-new": { open: at("/usage"), as: () => newcomer },
  "usage-page-2": { open: next("/usage"), as: () => owner },
  "usage-problem": { open: at("/usage?from=2026-02-30"), as: () => owner, status: 422 },
  models: { open: at("/models"), as: () => owner },
  "models-all": { open: at("/models?show=all"), as: () => owner },
  "models-page-2": { open: next("/models?show=all"), as: () => owner },
  "models-found": { open: at("/models?show=all&q=gpt-4o"), as: () => owner },
  "models-not-found": { open: at("/models?q=nothing-is-called-so"), as: () => owner },
  "quick-start": { open: at("/quick-start"), as: () => owner },
  security: { open: at("/security"), as: () => owner },
  "security-problem": { open: noPassword, as: () => owner, status: 422 },
  "security-notice": { open: at("/security?notice=password"), as: () => owner },
};

async function keyOfThePast(page) {
  await page.getByLabel("Name").fill("too late");
  await page.getByLabel("Expires on").fill("2020-01-01");
}

async function belowNothing(page) {
  await page.goto("/dashboard/billing");
  await page.locator("[name=threshold]").fill("-5");
  await send(page, "/billing");
}

async function topUp(page) {
  await page.goto("/dashboard/billing");
  await page.getByLabel("Amount in USD").fill("25");
  // As where no script takes it over and goes on to Stripe at once.
  const loaded = page.waitForEvent("load");
  await page.locator("form[action$=top-up]").evaluate((form) => form.submit());
  await loaded;
}

async function receipt(page) {
  await page.goto("/dashboard/billing");
  const payment = page.getByRole("row", { name: /UTC Payment/ }).getByRole("link", { name: /^Receipt of / });
  await page.goto(await payment.first().getAttribute("href"));
}

/** The receipt of the newest transaction that is like that. */
function receiptOf(isRight) {
  return async (page) => {
    const { transactions } = await gateway.api("GET", "transactions?limit=50");
    await page.goto(`/dashboard/billing/receipts/${transactions.find(isRight).id}`);
  };
}

/** The page behind this one, to which its last link of that kind leads. */
function next(path) {
  return async (page) => {
    await page.goto(`/dashboard${path}`);
    await page.goto(await page.locator(".pages a").last().getAttribute("href"));
  };
}

function rotated(key) {
  return async (page) => {
    await page.goto(`/dashboard${key}/rotate`);
    await send(page, `${key}/rotate`);
  };
}

async function noPassword(page) {
  await page.goto("/dashboard/security");
  await page.locator("[name=current]").fill(password);
  // One's own address, which everybody knows.
  await page.locator("[name=password]").fill(email);
  await send(page, "/security");
}

const seen = look(() => gateway, pages);

test("no page is forgotten: whatever a page leads to is one of these, or a file", () => {
  const known = (path) => [...seen.paths].some((page) => shape(page) === shape(path));
  const shape = (path) => path.replace(/\/[0-9A-Z]{26}$/, "/ID").replace(/\/\d+(?=\/|$)/, "/ID");
  const files = ["/dashboard/billing/transactions.csv", "/dashboard/usage/requests.csv"];
  const own = [...seen.links].map((href) => new URL(href)).filter(({ origin }) => origin === gateway.url);
  assert.ok(own.length > 0);
  const forgotten = own.map(({ pathname }) => pathname).filter((path) => !files.includes(path) && !known(path));
  assert.deepEqual([...new Set(forgotten)], []);
});
