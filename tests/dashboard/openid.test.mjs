// Signing in at a real OpenID provider: the code flow with PKCE, through the browser.

import assert from "node:assert/strict";
import { before, test } from "node:test";

import { barriers, follow, notice, press, problem, title, visiting } from "./browser.mjs";
import { startRelated } from "./openid.mjs";

let gateway;
let open;

before(async () => {
  gateway = await startRelated();
  open = await startRelated(["--sign-up"], { token_endpoint_auth_method: "client_secret_post" });
});

const visit = (act, at = gateway) => visiting({ baseURL: at.url, also: [at.provider.issuer] }, act);

/** From the sign-in page to the provider, as somebody. */
async function signInAs(page, email, from = "/dashboard/sign-in") {
  await page.goto(from);
  await follow(page, "Sign in with your organisation");
  await page.getByLabel("Address").fill(email);
  await press(page, "Go on");
}

/** Accepts an invitation for use with the provider, which sets no password. */
async function accepted(email) {
  const link = await gateway.invite(email);
  await visit(async (page) => {
    await page.goto(link);
    await press(page, "Sign in with your organisation instead");
    assert.equal(await notice(page), "Your account is ready. Sign in to begin.");
  });
  return email;
}

test("who was invited signs in at the provider and comes back to the page that was asked for", async () => {
  const email = await accepted("ada@example.com");
  await visit(async (page, context) => {
    await signInAs(page, email, "/dashboard/security");
    assert.equal(page.url(), `${gateway.dashboard}/security`);
    assert.match(await page.getByRole("main").innerText(), /ada@example\.com\. You can also sign in with your organisation\./);
    const kept = (await context.cookies(gateway.url)).map(({ name }) => name);
    assert.ok(!kept.includes("ms_openid"), "nothing of the flow is left");
  });
  // The address is in no ID token of this provider's, and is asked for.
  for (const asked of ["GET /.well-known/openid-configuration", "POST /token", "GET /me", "GET /jwks"]) {
    assert.ok(gateway.provider.people.seen.includes(asked), asked);
  }
});

test("whom the provider knows and nobody here does is not let in, and told what to do", async () => {
  await visit(async (page) => {
    await signInAs(page, "stranger@example.com");
    assert.equal(await title(page), "You are not signed in");
    assert.match(await problem(page), /Ask your operator for an invitation/);
    assert.deepEqual(await barriers(page), []);
    await follow(page, "Back to sign in");
    assert.equal(await title(page), "Sign in");
  });
});

test("an address that the provider has not verified opens nothing", async () => {
  const email = await accepted("bea@example.com");
  gateway.provider.people.verified = false;
  await visit(async (page) => {
    await signInAs(page, email);
    assert.match(await problem(page), /has not verified your email address/);
  });
  gateway.provider.people.verified = true;
  await visit(async (page) => {
    await signInAs(page, email);
    assert.equal(await title(page), "Overview");
  });
});

test("who refuses at the provider is back, and not signed in", async () => {
  await visit(async (page) => {
    await page.goto("/dashboard/sign-in");
    await follow(page, "Sign in with your organisation");
    await press(page, "Refuse");
    assert.equal(await title(page), "You are not signed in");
    assert.match(await problem(page), /did not sign you in/);
  });
});

test("where everybody may sign up, who signs in at the provider has an account, and the same one the next time", async () => {
  const accounts = [];
  for (let time = 1; time <= 2; time += 1) {
    await visit(async (page) => {
      await signInAs(page, "new@example.com");
      assert.equal(await title(page), "Overview");
    }, open);
    const users = await open.operator("user", "list");
    accounts.push(users.filter(({ email }) => email === "new@example.com").map(({ account }) => account));
  }
  assert.equal(accounts[0].length, 1);
  assert.deepEqual(accounts[0], accounts[1]);
});
