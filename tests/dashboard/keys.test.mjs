// A key's life: made, copied, used, seen in Usage and in the balance, rotated, deactivated, deleted.

import assert from "node:assert/strict";
import { before, test } from "node:test";

import { copied, follow, newKey, notice, press, shownToken, signIn, title, until, visiting } from "./browser.mjs";
import { nanos, startGateway } from "./gateway.mjs";

const token = /^ms-\w{38}$/;

let gateway;
let owner;

before(async () => {
  gateway = await startGateway();
  owner = await visiting({ baseURL: gateway.url }, async (page, context) => {
    await signIn(page, gateway.link);
    assert.equal(await title(page), "Overview");
    return context.storageState();
  });
});

const permissions = ["clipboard-read", "clipboard-write"];
const visit = (act) => visiting({ baseURL: gateway.url, storageState: owner, permissions }, act);
const main = (page) => page.getByRole("main").innerText();

/** The figure of this name on the page, as a number of nano-dollars. */
async function figure(page, name) {
  const [, usd] = (await main(page)).match(new RegExp(`^${name}\\s+(-?[\\d.]+) USD$`, "m"));
  return nanos(usd);
}

/** The balance that the Overview shows. */
async function balance(page) {
  await page.goto("/dashboard");
  return figure(page, "Balance");
}

/** Makes a key of this name on the page and goes on to its own page; the whole key. */
async function made(page, name) {
  await newKey(page, name);
  const key = await shownToken(page);
  await follow(page, "Done");
  assert.equal(await title(page), name);
  return key;
}

/** The status of a request with the key, once the gateway has heard of what was changed. */
async function answered(key, status) {
  const refused = await until(
    () => gateway.chat(key),
    (answer) => answer.status === status,
  );
  return (await refused.json()).error?.code;
}

test("a new key is shown whole in a dialog, whose button copies it", async () => {
  await visit(async (page) => {
    await newKey(page, "copied");
    const dialog = page.getByRole("dialog", { name: "Your new API key" });
    assert.match(await dialog.innerText(), /it cannot be retrieved/);
    const shown = await shownToken(page);
    assert.match(shown, token);
    await page.getByRole("button", { name: "Copy" }).click();
    assert.equal(await copied(page), shown);
    assert.equal((await gateway.chat(shown)).status, 200);
  });
});

test("a new key is shown once: neither closing, going back nor the list shows it again", async () => {
  await visit(async (page) => {
    const key = await made(page, "shown once");
    const pages = [await page.content()];
    await page.goto("/dashboard/keys");
    pages.push(await page.content());
    assert.match(await main(page), /shown once/);
    assert.ok(pages.every((html) => html.includes(key.slice(0, 5)) && !html.includes(key)));
    await page.goBack();
    assert.equal(await title(page), "shown once");
    // The browser keeps no answer of a form's that it was told not to keep.
    await page.goBack().catch(() => assert.notEqual(page.url(), `${gateway.dashboard}/keys`));
    const back = () => page.content().catch(() => "");
    assert.ok(!(await until(back, (html) => html.length > 0)).includes(key));
  });
});

test("reloading the page that showed a key makes no other and says where the key is", async () => {
  await visit(async (page) => {
    await newKey(page, "reloaded");
    const key = await shownToken(page);
    await page.reload();
    assert.match(await notice(page), /That form was sent before/);
    assert.ok(!(await page.content()).includes(key));
    await page.goto("/dashboard/keys");
    assert.equal(await page.getByRole("link", { name: "reloaded" }).count(), 1);
  });
});

test("the dialog stays open when Escape is pressed, so that no key is lost by a slip", async () => {
  await visit(async (page) => {
    await newKey(page, "kept open");
    for (let press = 1; press <= 3; press += 1) await page.keyboard.press("Escape");
    assert.ok(await page.getByRole("dialog").isVisible());
    assert.match(await shownToken(page), token);
  });
});

test("a form that is sent twice makes one key", async () => {
  await visit(async (page) => {
    await page.goto("/dashboard/keys/new");
    await page.getByLabel("Name").fill("sent twice");
    const loaded = page.waitForEvent("load");
    await page.getByRole("button", { name: "Create the key" }).dblclick();
    await loaded;
    await page.goto("/dashboard/keys");
    assert.equal(await page.getByRole("link", { name: "sent twice" }).count(), 1);
  });
});

test("a request with a new key is in Usage with its model, its tokens and its cost, and the balance falls by exactly that", async () => {
  await visit(async (page) => {
    const key = await made(page, "asks");
    const before = await balance(page);
    const answer = await gateway.chat(key, "What is seen of this?");
    const { usage } = await answer.json();
    assert.equal(answer.status, 200);
    const cost = nanos(usage.cost);
    assert.ok(cost > 0);
    assert.equal(before - (await balance(page)), cost);
    await page.goto("/dashboard/usage");
    const row = page.getByRole("row").filter({ hasText: answer.headers.get("x-request-id") });
    const cells = await row.getByRole("cell").allInnerTexts();
    const [model, name, input, output, charged] = cells;
    assert.equal(model, "modelswitch/echo");
    assert.match(name, /^asks\b/);
    assert.deepEqual([Number(input), Number(output)], [usage.prompt_tokens, usage.completion_tokens]);
    assert.equal(nanos(charged.replace(" USD", "")), cost);
    // The sums follow within seconds.
    const sums = page.getByRole("region", { name: "By key" }).getByRole("row").filter({ hasText: "asks" });
    await until(
      async () => {
        await page.reload();
        return (await sums.count()) ? sums.getByRole("cell").allInnerTexts() : [];
      },
      ([spent]) => spent !== undefined && nanos(spent.replace(" USD", "")) === cost,
    );
    await page.goto("/dashboard/keys");
    const used = await page.getByRole("row").filter({ hasText: "asks" }).innerText();
    assert.ok(!used.includes("Never"), used);
  });
});

test("a rotated key has a new value, and the old one works within its grace", async () => {
  await visit(async (page) => {
    const old = await made(page, "rotated");
    await follow(page, "Rotate…");
    await page.getByLabel("The old value stops working").selectOption({ label: "After 1 hour" });
    await press(page, "Rotate the key");
    assert.match(await page.getByRole("dialog").innerText(), /The old key works until/);
    const rotated = await shownToken(page);
    await page.getByRole("button", { name: "Copy" }).click();
    assert.equal(await copied(page), rotated);
    assert.match(rotated, token);
    assert.notEqual(rotated, old);
    assert.equal((await gateway.chat(rotated)).status, 200);
    assert.equal((await gateway.chat(old)).status, 200);
  });
});

test("a key that is rotated without grace ends its old value", async () => {
  await visit(async (page) => {
    const old = await made(page, "rotated at once");
    await follow(page, "Rotate…");
    await page.getByLabel("The old value stops working").selectOption({ index: 0 });
    await press(page, "Rotate the key");
    assert.match(await page.getByRole("dialog").innerText(), /The old key stops working within 10 seconds/);
    assert.equal((await gateway.chat(await shownToken(page))).status, 200);
    await answered(old, 401);
  });
});

test("a deactivated key is refused with 403 until it is activated again", async () => {
  await visit(async (page) => {
    const key = await made(page, "switched");
    await press(page, "Deactivate");
    assert.ok((await notice(page)).length > 0);
    assert.equal(await answered(key, 403), "key_deactivated");
    await press(page, "Activate");
    await answered(key, 200);
  });
});

test("a deleted key is refused with 401 and in no list, and its requests stay in Usage", async () => {
  await visit(async (page) => {
    const key = await made(page, "deleted");
    const answer = await gateway.chat(key);
    await follow(page, "Delete…");
    assert.equal(await title(page), "Delete deleted");
    await press(page, "Delete the key");
    assert.equal(await notice(page), "The key is deleted.");
    assert.equal(await page.getByRole("link", { name: "deleted", exact: true }).count(), 0);
    await answered(key, 401);
    await page.goto("/dashboard/usage");
    assert.match(await main(page), new RegExp(answer.headers.get("x-request-id")));
  });
});

test("settings that are saved are shown again, and hold", async () => {
  await visit(async (page) => {
    const key = await made(page, "limited");
    await page.getByLabel("Name").fill("limited and renamed");
    await page.getByLabel("Spend limit in USD").fill("0.00000001");
    await page.getByLabel("Only these:").check();
    await page.getByLabel("Model IDs").fill("modelswitch/echo");
    await press(page, "Save");
    assert.equal(await title(page), "limited and renamed");
    assert.equal(await page.getByLabel("Model IDs").inputValue(), "modelswitch/echo");
    assert.equal(await answered(key, 403), "spend_limit_reached");
  });
});

test("a name that is HTML is text, on every page that shows it", async () => {
  const name = `<img src=x onerror="document.title='broken in'"><b>bold</b>`;
  await visit(async (page) => {
    const key = await made(page, name);
    await gateway.chat(key);
    for (const path of ["/keys", "/usage"]) {
      await page.goto(`/dashboard${path}`);
      assert.ok((await main(page)).includes(name), path);
      assert.equal(await page.locator("main img, main b").count(), 0);
      assert.ok(!(await page.title()).includes("broken in"));
    }
  });
});

test("a billing key is made on its own page, opens the account and no model", async () => {
  await visit(async (page) => {
    await newKey(page, "for finance", "billing-keys");
    const key = await shownToken(page);
    assert.match(key, /^mk-\w{38}$/);
    assert.equal((await gateway.ask("GET", "/api/balance", undefined, key)).status, 200);
    assert.equal((await gateway.chat(key)).status, 403);
    await follow(page, "Done");
    await page.goto("/dashboard/keys");
    assert.ok(!(await main(page)).includes("for finance"));
  });
});
