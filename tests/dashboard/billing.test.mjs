// Money: topping up at Stripe's page, webhooks that come twice and out of order, receipts, refunds, the banner.

import assert from "node:assert/strict";
import { before, test } from "node:test";

import { follow, notice, press, problem, setPassword, title, visiting } from "./browser.mjs";
import { startPaidGateway } from "./gateway.mjs";

let gateway;

before(async () => {
  gateway = await startPaidGateway();
});

let customers = 0;

/** A visit of the owner of a new account without funds. */
async function customer(act) {
  customers += 1;
  const { id } = await gateway.operator("account", "create", "--name", `Customer ${customers}`);
  const link = await gateway.invite(`customer-${customers}@example.com`, "--account", id);
  const options = { baseURL: gateway.url, also: [gateway.stripe.url] };
  await visiting(options, async (page) => {
    await setPassword(page, link, "a few words in a row", "Begin");
    assert.equal(await title(page), "Overview");
    await act(page);
  });
}

const main = (page) => page.getByRole("main").innerText();
const tell = (...words) => gateway.stripe.tell(...words);

/** From Billing to Stripe's page, to pay so much; the session there. */
async function order(page, amount) {
  await page.goto("/dashboard/billing");
  await page.getByLabel("Amount in USD").fill(amount);
  await page.getByRole("button", { name: "Top up" }).click();
  await page.waitForURL(`${gateway.stripe.url}/pay/*`);
  return (await tell("sessions")).at(-1);
}

/** What Billing shows: the balance, and each transaction's type and amount, the newest first. */
async function books(page) {
  await page.goto("/dashboard/billing");
  const [, balance] = (await main(page)).match(/^Balance\s+(-?[\d.]+) USD$/m);
  const rows = await page.getByRole("region", { name: "Transactions" }).getByRole("row").all();
  const cells = await Promise.all(rows.slice(1).map((row) => row.getByRole("cell").allInnerTexts()));
  return { balance, entries: cells.map(([type, , amount]) => `${type} ${amount}`) };
}

test("what is paid on Stripe's page is credited once, though its webhook comes twice, and has a receipt", async () => {
  await customer(async (page) => {
    await tell("times", 2);
    const session = await order(page, "20.50");
    assert.equal(await title(page), "Pay $20.50");
    assert.equal(session.amount, 2050);
    await press(page, "Pay");
    assert.equal(page.url(), `${gateway.dashboard}/billing?checkout=success`);
    assert.ok((await notice(page)).length > 0);
    assert.deepEqual(await books(page), { balance: "20.50", entries: ["Payment 20.50"] });
    await page.getByRole("link", { name: /^Receipt of / }).click();
    await page.waitForURL("**/billing/receipts/*");
    assert.match(await main(page), /Amount\s+20\.50 USD/);
    assert.match(await main(page), /Customer \d+/);
  });
});

test("whoever is back before Stripe has said so is told that the money is on its way, and sees no other balance", async () => {
  await customer(async (page) => {
    await tell("times", 0);
    const session = await order(page, "10");
    await press(page, "Pay");
    assert.match(await notice(page), /Stripe/);
    assert.deepEqual(await books(page), { balance: "0.00", entries: [] });
    assert.equal((await tell("paid", session.id)).status, 200);
    assert.deepEqual(await books(page), { balance: "10.00", entries: ["Payment 10.00"] });
  });
});

test("a refund that is heard of before its payment shows after it, once each", async () => {
  await customer(async (page) => {
    await tell("times", 0);
    const session = await order(page, "30");
    await press(page, "Pay");
    // Stripe is to send it again.
    assert.equal((await tell("refunded", session.id, 1000)).status, 500);
    assert.deepEqual(await books(page), { balance: "0.00", entries: [] });
    for (const time of [1, 2]) assert.equal((await tell("paid", session.id)).status, 200, `time ${time}`);
    assert.deepEqual(await books(page), { balance: "30.00", entries: ["Payment 30.00"] });
    for (const time of [1, 2]) assert.equal((await tell("refunded", session.id, 1000)).status, 200, `time ${time}`);
    const { balance, entries } = await books(page);
    assert.deepEqual([balance, entries.sort()], ["20.00", ["Payment 30.00", "Refund -10.00"]]);
    await page.getByRole("row", { name: /UTC Payment/ }).getByRole("link", { name: /^Receipt of / }).click();
    await page.waitForURL("**/billing/receipts/*");
    assert.match(await main(page), /Refunded so far\s+10\.00 USD/);
  });
});

test("who cancels on Stripe's page is back on Billing, told so, and has paid nothing", async () => {
  await customer(async (page) => {
    await order(page, "25");
    await press(page, "Cancel");
    assert.equal(page.url(), `${gateway.dashboard}/billing?checkout=cancelled`);
    assert.ok((await notice(page)).length > 0);
    assert.deepEqual(await books(page), { balance: "0.00", entries: [] });
  });
});

test("an amount that can't be paid is refused on the page, and what was typed is kept", async () => {
  await customer(async (page) => {
    await page.goto("/dashboard/billing");
    for (const amount of ["0.10", "-5", "much", "1000000000"]) {
      const before = (await tell("sessions")).length;
      await page.getByLabel("Amount in USD").fill(amount);
      const answered = page.waitForResponse("**/billing/top-up");
      await page.getByRole("button", { name: "Top up" }).click();
      assert.equal((await answered).status(), 422);
      assert.match(await problem(page), /Enter an amount from/);
      assert.equal(await page.getByLabel("Amount in USD").inputValue(), amount);
      assert.equal((await tell("sessions")).length, before);
    }
  });
});

test("without JavaScript a page of ours leads on to Stripe", async () => {
  const { id } = await gateway.operator("account", "create", "--name", "Plain");
  const link = await gateway.invite("plain@example.com", "--account", id);
  await visiting({ baseURL: gateway.url, also: [gateway.stripe.url], javaScriptEnabled: false }, async (page) => {
    await setPassword(page, link, "a few words in a row", "Begin");
    await tell("times", 1);
    await page.goto("/dashboard/billing");
    await page.getByLabel("Amount in USD").fill("15");
    await press(page, "Top up");
    assert.equal(await title(page), "Pay 15.00 USD");
    await follow(page, "Continue to Stripe");
    await press(page, "Pay");
    assert.deepEqual(await books(page), { balance: "15.00", entries: ["Payment 15.00"] });
  });
});

test("a banner says on every page that the balance is low, until it is not", async () => {
  await customer(async (page) => {
    await page.goto("/dashboard/billing");
    await page.getByLabel("Alert me when the balance is below (USD)").fill("5");
    await press(page, "Save");
    const banner = page.getByText(/^Your balance of 0\.00 USD is below 5\.00 USD\./);
    for (const path of ["", "/keys", "/billing", "/usage", "/security"]) {
      await page.goto(`/dashboard${path}`);
      assert.equal(await banner.count(), 1, path);
    }
    await tell("times", 1);
    await order(page, "10");
    await press(page, "Pay");
    await page.goto("/dashboard");
    assert.match(await main(page), /Balance\s+10\.00 USD/);
    assert.equal(await page.getByText(/is below/).count(), 0);
  });
});

test("the transactions are there as CSV too", async () => {
  await customer(async (page) => {
    await tell("times", 1);
    await order(page, "12");
    await press(page, "Pay");
    const download = page.waitForEvent("download");
    await page.getByRole("link", { name: "Download as CSV" }).click();
    const chunks = await (await (await download).createReadStream()).toArray();
    const lines = Buffer.concat(chunks).toString().trim().split("\n");
    assert.equal(lines.length, 2);
    assert.match(lines[1], /payment/);
  });
});
