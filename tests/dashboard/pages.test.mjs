// What holds for every page, in each state that it has: axe-core, light and dark, phone and desktop, bytes, no script.

import assert from "node:assert/strict";
import { before, test } from "node:test";

import { barriers, bytes, devices, newKey, press, screenshot, setPassword, signInWith } from "./browser.mjs";
import { signUp, text, title, until, visiting, width } from "./browser.mjs";
import { startPaidGateway } from "./gateway.mjs";

const MOST_BYTES = 60_000;
const NARROW = 320;
// As long as people's are, and such as no line of a phone holds.
const email = "maximiliane.von-und-zu-altenburg@department-of-research.university.example";
const password = "a few words in a row";
const names = ["laptop", "<b>HTML</b> & \"quotes\"", "Ä".repeat(100), "nightly evaluation of the translation pipeline"];

let gateway;
// The cookies of somebody with an account where much has happened, and of somebody who is new.
let owner;
let newcomer;

before(async () => {
  gateway = await startPaidGateway(["--sign-up"]);
  const { id } = await gateway.operator("account", "create", "--name", "An account of somebody who is new");
  owner = await user(email);
  newcomer = await user("newcomer@example.com", ["--account", id], async (page) => {
    await page.goto("/dashboard/billing");
    await page.getByLabel(/^Alert me when/).fill("5");
    await press(page, "Save");
  });
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

/** Keys, requests, a payment and a refund, as an account has them. */
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

const fill = (label, value) => (page) => page.getByLabel(label, { exact: true }).fill(value);

/** Every page and each of its states: how to come there, and as whom. */
const pages = {
  "sign-in": { open: at("/sign-in") },
  "sign-in-notice": { open: at("/sign-in?notice=everywhere") },
  "sign-in-wrong": { open: (page) => signInWith(page, "nobody@example.com", "wrong") },
  "sign-up": { open: at("/sign-up") },
  "sign-up-problem": { open: (page) => signUp(page, email, email) },
  link: { open: (page) => page.goto(gateway.link) },
  "link-used-up": { open: at("/link/unknown") },
  invitation: { open: async (page) => page.goto(await gateway.invite("guest@example.com", "--account", gateway.account)) },
  reset: { open: async (page) => page.goto(await gateway.reset(email)) },
  "not-found-signed-out": { open: at("/nothing-here") },
  "not-found": { open: at("/nothing-here"), as: () => owner },
  overview: { open: at(""), as: () => owner },
  "overview-new": { open: at(""), as: () => newcomer },
  keys: { open: at("/keys"), as: () => owner },
  "keys-found": { open: at("/keys?search=night"), as: () => owner },
  "keys-not-found": { open: at("/keys?search=nothing"), as: () => owner },
  "keys-new": { open: at("/keys"), as: () => newcomer },
  "key-new": { open: at("/keys/new"), as: () => owner },
  "key-new-problem": { open: sent("/keys/new", keyOfThePast, "Create the key"), as: () => owner },
  "key-shown": { open: (page) => newKey(page, "shown"), as: () => owner },
  key: { open: at("/keys/4"), as: () => owner },
  "key-notice": { open: at("/keys/5?notice=saved"), as: () => owner },
  "key-rotate": { open: at("/keys/5/rotate"), as: () => owner },
  "key-rotated": { open: sent("/keys/5/rotate", () => {}, "Rotate the key"), as: () => owner },
  "key-delete": { open: at("/keys/5/delete"), as: () => owner },
  "billing-keys": { open: at("/billing-keys"), as: () => owner },
  "billing-keys-new": { open: at("/billing-keys"), as: () => newcomer },
  "billing-key-new": { open: at("/billing-keys/new"), as: () => owner },
  "billing-key": { open: at("/billing-keys/2"), as: () => owner },
  "billing-key-rotate": { open: at("/billing-keys/2/rotate"), as: () => owner },
  "billing-key-delete": { open: at("/billing-keys/2/delete"), as: () => owner },
  billing: { open: at("/billing"), as: () => owner },
  "billing-new": { open: at("/billing"), as: () => newcomer },
  "billing-problem": { open: sent("/billing", fill("Alert me when the balance is below (USD)", "-5"), "Save"), as: () => owner },
  "billing-success": { open: at("/billing?checkout=success"), as: () => owner },
  "top-up": { open: topUp, as: () => owner },
  receipt: { open: receipt, as: () => owner },
  usage: { open: at("/usage"), as: () => owner },
  "usage-new": { open: at("/usage"), as: () => newcomer },
  "usage-problem": { open: at("/usage?from=2026-02-30"), as: () => owner },
  models: { open: at("/models"), as: () => owner },
  "models-all": { open: at("/models?show=all"), as: () => owner },
  "models-found": { open: at("/models?show=all&q=gpt-4o"), as: () => owner },
  "models-not-found": { open: at("/models?q=nothing-is-called-so"), as: () => owner },
  "quick-start": { open: at("/quick-start"), as: () => owner },
  security: { open: at("/security"), as: () => owner },
  "security-notice": { open: at("/security?notice=password"), as: () => owner },
};

async function keyOfThePast(page) {
  await page.getByLabel("Name").fill("too late");
  await page.getByLabel("Expires on").fill("2020-01-01");
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

const options = ({ as }, more = {}) => ({ baseURL: gateway.url, storageState: as?.(), ...more });

for (const [name, page] of Object.entries(pages)) {
  for (const [device, emulated] of Object.entries(devices)) {
    test(`${name}: axe-core finds nothing on a ${device}, light and dark`, async () => {
      await visiting(options(page, emulated), async (tab) => {
        await page.open(tab);
        for (const colorScheme of ["light", "dark"]) {
          await tab.emulateMedia({ colorScheme });
          await screenshot(tab, `${name}-${colorScheme}-${device}`);
          assert.deepEqual(await barriers(tab), [], colorScheme);
        }
      });
    });
  }

  test(`${name}: it does not scroll sideways where there are ${NARROW} pixels`, async () => {
    await visiting(options(page, { ...devices.phone, viewport: { width: NARROW, height: 568 } }), async (tab) => {
      await page.open(tab);
      assert.equal(await width(tab), NARROW);
    });
  });

  test(`${name}: at most ${MOST_BYTES} bytes on the wire, with all that it loads`, async () => {
    await visiting(options(page), async (tab) => {
      const loaded = await bytes(tab, page.open);
      const sum = loaded.reduce((total, asset) => total + asset.bytes, 0);
      assert.ok(loaded.some(({ url }) => url.endsWith(".css")), "the style sheet is counted");
      assert.ok(sum <= MOST_BYTES, `${sum} bytes: ${JSON.stringify(loaded)}`);
    });
  });

  test(`${name}: it says the same without JavaScript`, async () => {
    const read = (more) =>
      visiting(options(page, more), async (tab) => {
        await page.open(tab);
        return text(tab);
      });
    const without = await read({ javaScriptEnabled: false });
    assert.ok(without.includes("ModelSwitch"));
    // The whole key is another each time.
    const key = /m[sk]-\w{38}/g;
    assert.equal((await read()).replace(key, "KEY"), without.replace(key, "KEY"));
  });
}

test("no page is forgotten: whatever a page leads to is one of these, or a file", async () => {
  const known = (path) => [...seen].some((page) => shape(page) === shape(path));
  const shape = (path) => path.replace(/\/[0-9A-Z]{26}$/, "/ID").replace(/\/\d+(?=\/|$)/, "/ID");
  const files = ["/dashboard/billing/transactions.csv", "/dashboard/usage/requests.csv"];
  const seen = new Set();
  const linked = new Set();
  for (const page of Object.values(pages)) {
    await visiting(options(page), async (tab) => {
      await page.open(tab);
      seen.add(new URL(tab.url()).pathname);
      const hrefs = await tab.getByRole("link").evaluateAll((links) => links.map((link) => link.href));
      for (const href of hrefs) linked.add(href);
    });
  }
  const own = [...linked].map((href) => new URL(href)).filter(({ origin }) => origin === gateway.url);
  const forgotten = own.map(({ pathname }) => pathname).filter((path) => !files.includes(path) && !known(path));
  assert.deepEqual([...new Set(forgotten)], []);
});
