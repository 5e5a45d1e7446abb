// The dashboard without a mouse, without a script, and what its own script adds.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { before, test } from "node:test";
import { promisify } from "node:util";

import { copied, follow, newKey, notice, press, shownToken, signIn, title, visiting } from "./browser.mjs";
import { startGateway } from "./gateway.mjs";

let gateway;
let owner;

before(async () => {
  gateway = await startGateway();
  owner = await visiting({ baseURL: gateway.url }, async (page, context) => {
    await signIn(page, gateway.link);
    return context.storageState();
  });
});

const visit = (act, more) => visiting({ baseURL: gateway.url, storageState: owner, ...more }, act);
const permissions = ["clipboard-read", "clipboard-write"];

/** What has the focus: its name, and whether it can be seen to have it. */
const focused = (page) =>
  page.evaluate(() => {
    const element = document.activeElement;
    const label = element.getAttribute("aria-label") ?? element.labels?.[0]?.innerText ?? element.innerText;
    const { outlineStyle, outlineWidth } = getComputedStyle(element);
    const seen = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
    return { name: label.trim(), seen, inPage: element !== document.body };
  });

/** Presses Tab until what is called so has the focus; all that has it on the way can be seen to. */
async function tabTo(page, name) {
  const passed = [];
  while ((await focused(page)).name !== name) {
    assert.ok(passed.length < 100, `${name} is not among ${passed}`);
    await page.keyboard.press("Tab");
    const { name: reached, seen, inPage } = await focused(page);
    // Behind the last one come the browser's own.
    assert.ok(seen || !inPage, `${reached} has the focus, and nobody sees it`);
    passed.push(reached);
  }
}

/** Presses a key that leads to another page. */
async function leads(page, key) {
  const loaded = page.waitForEvent("load");
  await page.keyboard.press(key);
  await loaded;
}

test("a key is made, copied and put away with the keyboard alone, and the focus is always to be seen", async () => {
  await visit(async (page) => {
    await page.goto("/dashboard");
    await tabTo(page, "API Keys");
    await leads(page, "Enter");
    await tabTo(page, "New API key");
    await leads(page, "Enter");
    await tabTo(page, "Name");
    await page.keyboard.type("without a mouse");
    await tabTo(page, "Create the key");
    await leads(page, "Space");
    const key = await shownToken(page);
    await tabTo(page, "Copy");
    await page.keyboard.press("Enter");
    assert.equal(await copied(page), key);
    await tabTo(page, "Done");
    await leads(page, "Enter");
    assert.equal(await title(page), "without a mouse");
    assert.equal((await gateway.chat(key)).status, 200);
  }, { permissions });
});

test("the first Tab leads past the navigation to the content", async () => {
  await visit(async (page) => {
    await page.goto("/dashboard/keys");
    await tabTo(page, "Skip to content");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    assert.ok(await page.evaluate(() => document.activeElement.closest("main") !== null));
  });
});

test("while a new key is shown the focus stays in its dialog", async () => {
  await visit(async (page) => {
    await newKey(page, "modal");
    for (let times = 1; times <= 8; times += 1) {
      await page.keyboard.press("Tab");
      const outside = await page.evaluate(() => document.activeElement.closest("header, nav, main > :not(dialog)") !== null);
      assert.ok(!outside, `after ${times} times Tab`);
    }
  });
});

test("without JavaScript a key is made, shown, rotated, deactivated and deleted", async () => {
  await visit(async (page) => {
    await page.goto("/dashboard/keys");
    await follow(page, "New API key");
    await page.getByLabel("Name").fill("plain");
    await press(page, "Create the key");
    const key = await shownToken(page);
    assert.equal(await page.getByRole("button", { name: "Copy" }).count(), 0, "what needs a script is not there");
    assert.equal((await gateway.chat(key)).status, 200);
    await follow(page, "Done");
    await follow(page, "Rotate…");
    await press(page, "Rotate the key");
    assert.notEqual(await shownToken(page), key);
    await follow(page, "Done");
    await press(page, "Deactivate");
    assert.match(await notice(page), /deactivated/);
    await follow(page, "Delete…");
    await press(page, "Delete the key");
    assert.match(await notice(page), /deleted/);
  }, { javaScriptEnabled: false });
});

test("the examples of Quick start are copied whole, and the first is answered as it stands", async () => {
  await visit(async (page) => {
    await page.goto("/dashboard/quick-start");
    const buttons = await page.getByRole("button", { name: /^Copy: / }).all();
    assert.ok(buttons.length >= 5);
    for (const button of buttons) {
      await button.click();
      const example = await page.locator(`#${await button.getAttribute("data-copy")}`).textContent();
      await page.waitForFunction(async (text) => (await navigator.clipboard.readText()) === text, example);
    }
    await page.getByRole("button", { name: "Copy: curl" }).click();
    const command = await page.locator("#curl").textContent();
    const env = { ...process.env, MODELSWITCH_API_KEY: gateway.proxyKey };
    const { stdout } = await promisify(execFile)("bash", ["-c", command], { env });
    assert.equal(JSON.parse(stdout).choices[0].message.content, "Hello!");
  }, { permissions });
});

test("models are found while one types, and the address leads to them again", async () => {
  await visit(async (page) => {
    await page.goto("/dashboard/models?show=all");
    const found = page.getByRole("status");
    const all = await found.innerText();
    await page.getByLabel("Search").pressSequentially("gpt-4o-mini");
    await page.waitForURL(/q=gpt-4o-mini/);
    const some = await found.innerText();
    assert.notEqual(some, all);
    const rows = await page.getByRole("rowheader").allInnerTexts();
    assert.ok(rows.length > 0 && rows.every((row) => row.toLowerCase().includes("gpt-4o-mini")), rows.join());
    await page.reload();
    assert.equal(await found.innerText(), some);
    assert.equal(await page.getByLabel("Search").inputValue(), "gpt-4o-mini");
  });
});
