// Pages that look otherwise where the operator has set it up otherwise: people sign in at an OpenID provider, payments are not
// taken, emails are written.

import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { before, test } from "node:test";

import { gone, send, signIn, until, visiting } from "./browser.mjs";
import { freshFolder } from "./gateway.mjs";
import { look } from "./looks.mjs";
import { startRelated } from "./openid.mjs";

let gateway;
let mail;
// The cookies of the first owner, who came by the printed link and has no password.
let owner;
// And of somebody who signs in at the provider alone.
let related;

before(async () => {
  mail = await freshFolder();
  gateway = await startRelated(["--mail", mail]);
  owner = await visiting({ baseURL: gateway.url }, async (page, context) => {
    await signIn(page, gateway.link);
    return context.storageState();
  });
  related = await visiting({ baseURL: gateway.url, also: also() }, async (page, context) => {
    await page.goto(await gateway.invite("ada@example.com", "--role", "member"));
    await gone(page, page.locator("form:has([name=with]) button"));
    await atProvider(page, (form) => form.getByLabel("Address").fill("ada@example.com"), "Go on");
    assert.equal(new URL(page.url()).pathname, "/dashboard");
    return context.storageState();
  });
});

const also = () => [gateway.provider.issuer];

/** From the sign-in page to the provider, and there what somebody does, up to this button. */
async function atProvider(page, act, button) {
  await page.goto("/dashboard/sign-in");
  await gone(page, page.locator("a[href^='/dashboard/openid']"));
  await act(page);
  await gone(page, page.getByRole("button", { name: button, exact: true }));
}

/** Billing's form about a low balance, sent with these fields. */
async function tell(page, threshold, email) {
  await page.goto("/dashboard/billing");
  await page.locator("[name=threshold]").fill(threshold);
  await page.locator("[name=email]").fill(email);
  await send(page, "/billing");
}

look(() => gateway, {
  "openid-sign-in": { open: (page) => page.goto("/dashboard/sign-in") },
  "openid-invitation": { open: async (page) => page.goto(await gateway.invite("guest@example.com")) },
  "openid-refused": { open: (page) => atProvider(page, () => {}, "Refuse"), also, status: 403 },
  "openid-security": { open: (page) => page.goto("/dashboard/security"), as: () => related },
  "openid-billing-member": { open: (page) => page.goto("/dashboard/billing"), as: () => related },
  "security-without-password": { open: (page) => page.goto("/dashboard/security"), as: () => owner },
  "billing-without-payments": { open: (page) => page.goto("/dashboard/billing"), as: () => owner },
  "billing-email-problem": { open: (page) => tell(page, "", "ada@example.com"), as: () => owner, status: 422 },
  "billing-email-saved": { open: (page) => tell(page, "1", "ada@example.com"), as: () => owner },
});

test("who asked for it on Billing is written to when the balance is low, and the email leads there", async () => {
  await visiting({ baseURL: gateway.url, storageState: owner }, async (page) => {
    await tell(page, "1000", "low@example.com");
    assert.equal((await gateway.chat(gateway.proxyKey)).status, 200);
    const [file] = await until(() => readdir(mail), ({ length }) => length > 0);
    const email = await readFile(join(mail, file), "utf8");
    assert.match(email, /^To: low@example\.com$/m);
    await page.goto(email.match(/http:\S+/)[0]);
    assert.equal(await page.locator("[name=email]").inputValue(), "low@example.com");
  });
});
