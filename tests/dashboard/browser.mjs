// The browser, and what is looked at on every page that it opens.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { setTimeout as turn } from "node:timers/promises";

import axe from "axe-core";
import { chromium } from "playwright-core";

import { atTheEnd } from "./ending.mjs";

const MOST_MS = 180_000;
const screenshots = new URL("../../target/dashboard-screenshots/", import.meta.url).pathname;

const desktop = { viewport: { width: 1280, height: 900 } };

/** What a page may be looked at on. Nothing moves there, so that nothing is looked at on its way. */
export const devices = {
  phone: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, reducedMotion: "reduce" },
  desktop: { ...desktop, reducedMotion: "reduce" },
};

let launched;

/** One browser for a file of tests. Root, which CI is, can have no sandbox. */
function browser() {
  if (!launched) {
    launched = chromium.launch({ executablePath: process.env.CHROMIUM, chromiumSandbox: process.getuid() !== 0 });
    atTheEnd(async () => (await launched).close());
  }
  return launched;
}

/**
 * Runs `act` with a page of a browser that has never been anywhere, and then asks that every page was quiet: no error on
 * the console, none against the policy of what may be loaded, no request to another origin but those of `also`.
 */
export async function visiting({ also = [], permissions, ...options }, act) {
  const context = await (await browser()).newContext({ ...desktop, ...options });
  context.setDefaultTimeout(30_000);
  if (permissions) await context.grantPermissions(permissions);
  // What waits for ever fails too.
  const hung = setTimeout(() => context.close(), MOST_MS);
  const noises = [];
  watch(context, [new URL(options.baseURL).origin, ...also], noises);
  try {
    const result = await act(await context.newPage(), context);
    assert.deepEqual(noises, []);
    return result;
  } finally {
    clearTimeout(hung);
    await context.close();
  }
}

function watch(context, origins, noises) {
  const documents = new Set();
  context.on("request", (request) => {
    if (request.isNavigationRequest() || request.method() === "POST") documents.add(request.url());
    const { protocol, origin } = new URL(request.url());
    if (protocol !== "data:" && !origins.includes(origin)) noises.push(`a request to ${request.url()}`);
  });
  context.on("console", (message) => {
    const { url } = message.location();
    // What the browser says of a page that says itself what is wrong, by its status.
    const refused = documents.has(url) && /^Failed to load resource: the server responded/.test(message.text());
    // What other sites' pages do is theirs.
    const elsewhere = url && origins.slice(1).includes(new URL(url).origin);
    if (["error", "warning"].includes(message.type()) && !refused && !elsewhere) noises.push(`${message.text()} (${url})`);
  });
  context.on("weberror", (error) => noises.push(String(error.error())));
}

/**
 * Where axe-core can tell no contrast: what is scrolled out of sight, as a wide table's last columns are on a phone; a word of
 * one letter; a drawing's words. All of them have the colours of what stands beside them.
 */
const CANNOT_BE_TOLD = ["elmPartiallyObscured", "shortTextContent", "imgNode"];

/** What axe-core finds on the page, with every rule that it has on by itself. */
export async function barriers(page) {
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(axe.source);
  const { violations, incomplete } = await page.evaluate(() => globalThis.axe.run());
  // A contrast that can't be told is none that is high enough, but for these.
  const untold = incomplete.filter(({ id }) => id === "color-contrast");
  const isTold = ({ any }) => any.every(({ data }) => !CANNOT_BE_TOLD.includes(data?.messageKey));
  const left = untold.map((rule) => ({ ...rule, nodes: rule.nodes.filter(isTold) }));
  return [...violations, ...left].flatMap(({ id, help, nodes }) =>
    nodes.map(({ html, any, all, none }) => {
      const why = [...any, ...all, ...none].map(({ message }) => message);
      return `${id}: ${help}: ${html}: ${why.join("; ")}`;
    }),
  );
}

/** Keeps what the page looks like, the whole of it. */
export async function screenshot(page, name) {
  await mkdir(screenshots, { recursive: true });
  await page.screenshot({ path: `${screenshots}${name}.png`, fullPage: true });
}

/** How wide the page is, in pixels, of which all beyond the window's can be scrolled to. */
export const width = (page) => page.evaluate(() => document.scrollingElement.scrollWidth);

/** The bytes that come over the wire, heads and all, until what `open` opens is there with all that it loads. */
export async function bytes(page, open) {
  const session = await page.context().newCDPSession(page);
  const loaded = new Map();
  session.on("Network.responseReceived", ({ requestId, response }) => loaded.set(requestId, { url: response.url, bytes: 0 }));
  session.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
    if (loaded.has(requestId)) loaded.get(requestId).bytes = encodedDataLength;
  });
  await session.send("Network.enable");
  await open(page);
  await page.waitForLoadState("networkidle");
  return [...loaded.values()].filter(({ url }) => !url.startsWith("data:"));
}

/** What the page says, but for what is there only where a script can do it. */
export const text = (page) =>
  page.evaluate(() => {
    for (const button of document.querySelectorAll("[data-copy]")) button.remove();
    return document.body.innerText;
  });

/** Clicks what leads to another page, and waits until that is there: a form's button, a link. */
export async function gone(page, target) {
  const loaded = page.waitForEvent("load");
  await target.click();
  await loaded;
}

/** Presses the button of this name, whose form is answered by a page. */
export const press = (page, name) => gone(page, page.getByRole("button", { name, exact: true }));

/** Sends the form that goes to this path behind `/dashboard`, as it stands. */
export const send = (page, path) => gone(page, page.locator(`form[action="/dashboard${path}"] button`));

/** Follows the link of this name. */
export const follow = (page, name) => gone(page, page.getByRole("link", { name, exact: true }));

/** The page's heading. */
export const title = (page) => page.getByRole("heading", { level: 1 }).innerText();

/** What the page says is wrong. */
export const problem = (page) => page.getByRole("alert").innerText();

/** What the page says has been done. */
export const notice = (page) => page.getByRole("status").innerText();

/** Signs in by a link, in this page's browser. */
export async function signIn(page, link) {
  await page.goto(link);
  await press(page, "Sign in");
}

/** Signs in with a password. */
export async function signInWith(page, email, password) {
  await page.goto("/dashboard/sign-in");
  await page.getByLabel("Email address").fill(email);
  await page.getByLabel("Password").fill(password);
  await press(page, "Sign in");
}

/** Makes an account of one's own. */
export async function signUp(page, email, password) {
  await page.goto("/dashboard/sign-up");
  await page.getByLabel("Email address").fill(email);
  await page.getByLabel("New password").fill(password);
  await press(page, "Create account");
}

/** Sets the password that a link asks for. */
export async function setPassword(page, link, password, button) {
  await page.goto(link);
  await page.getByLabel("New password").fill(password);
  await press(page, button);
}

/** Sends the form for a new key of this name, on the page of its kind. */
export async function newKey(page, name, kind = "keys") {
  await page.goto(`/dashboard/${kind}/new`);
  await page.getByLabel("Name").fill(name);
  await press(page, "Create the key");
}

/** The key that the open dialog shows. */
export const shownToken = (page) => page.getByRole("dialog").getByText(/^m[sk]-\w{38}$/).innerText();

/** What the clipboard holds, once the page says that it has copied. */
export async function copied(page) {
  await page.getByText("Copied", { exact: true }).waitFor();
  return page.evaluate(() => navigator.clipboard.readText());
}

/** Asks again and again until the answer is right: for what the gateway does in its own time. */
export async function until(ask, isRight) {
  const tries = 600;
  let answer;
  for (let attempt = 1; attempt <= tries; attempt += 1) {
    answer = await ask();
    if (isRight(answer)) return answer;
    await turn(50);
  }
  return assert.fail(`it did not come to that: ${JSON.stringify(answer)}`);
}
