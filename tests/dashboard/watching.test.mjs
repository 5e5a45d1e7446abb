// That what the other tests look for is found where it is.

import assert from "node:assert/strict";
import { before, test } from "node:test";

import { barriers, bytes, devices, visiting, width } from "./browser.mjs";
import { startGateway } from "./gateway.mjs";

let gateway;

before(async () => {
  gateway = await startGateway();
});

const at = (act, more) => visiting({ baseURL: gateway.url, ...more }, async (page) => {
  await page.goto("/dashboard/sign-in");
  return act(page);
});

/** What the page would do if it had this element. */
const grow = (page, html) => page.evaluate((html) => document.body.insertAdjacentHTML("beforeend", html), html);

test("a request to another origin is noticed", async () => {
  const asking = (page) =>
    Promise.all([page.waitForEvent("request"), page.evaluate(() => void (location.href = "http://localhost:9/"))]);
  await assert.rejects(at(asking), /a request to http:\/\/localhost:9\//);
});

test("what the page's policy forbids is noticed", async () => {
  const styled = (page) => Promise.all([page.waitForEvent("console"), grow(page, '<p style="color: red">Red</p>')]);
  await assert.rejects(at(styled), /Content Security Policy/);
});

test("an asset that is not there is noticed", async () => {
  const missing = (page) =>
    Promise.all([page.waitForEvent("console"), grow(page, '<img alt="" src="/dashboard/assets/none.png">')]);
  await assert.rejects(at(missing), /status of 404/);
});

test("an error in a script is noticed", async () => {
  const throwing = (page) =>
    Promise.all([page.waitForEvent("pageerror"), page.evaluate(() => void setTimeout(() => { throw new Error("broken"); }))]);
  await assert.rejects(at(throwing), /broken/);
});

test("axe-core finds a field without a label, and text that can hardly be seen", async () => {
  await at(async (page) => {
    assert.deepEqual(await barriers(page), []);
    await grow(page, '<input id="nameless"><p id="pale">Pale</p>');
    await page.evaluate(() => (document.querySelector("#pale").style.color = "#ddd"));
    const found = (await barriers(page)).join("\n");
    assert.match(found, /^label: .*nameless/m);
    assert.match(found, /^color-contrast: .*pale/m);
  });
});

test("a page that is too wide is measured so", async () => {
  await at(async (page) => {
    await grow(page, '<pre id="wide"></pre>');
    await page.evaluate(() => (document.querySelector("#wide").style.width = "2000px"));
    assert.ok((await width(page)) >= 2000);
  });
});

test("and so is one that is too wide only once a phone's window is narrower", async () => {
  await at(async (page) => {
    await grow(page, '<pre id="wide"></pre>');
    await page.evaluate(() => (document.querySelector("#wide").style.width = "350px"));
    assert.equal(await width(page), 390);
    await page.setViewportSize({ width: 320, height: 568 });
    assert.ok((await width(page)) >= 350);
  }, devices.phone);
});

test("what comes over the wire is counted compressed, heads and all", async () => {
  await visiting({ baseURL: gateway.url }, async (page) => {
    const loaded = await bytes(page, (page) => page.goto("/dashboard/sign-in"));
    assert.deepEqual(loaded.map(({ url }) => url.match(/sign-in$|css$/)?.[0]), ["sign-in", "css"]);
    const css = await (await gateway.ask("GET", new URL(loaded[1].url).pathname)).text();
    assert.ok(loaded[1].bytes > 300 && loaded[1].bytes < css.length, `${loaded[1].bytes} of ${css.length}`);
  });
});
