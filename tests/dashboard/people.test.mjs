// Who gets in: the first link, invitations, sign-up, passwords, resets, signing out everywhere.

import assert from "node:assert/strict";
import { before, test } from "node:test";

import { follow, notice, press, problem, setPassword, signIn, signInWith, signUp, title, visiting } from "./browser.mjs";
import { startGateway } from "./gateway.mjs";

const password = "a few words in a row";
const another = "other words than before";

let gateway;
let open;

before(async () => {
  // One that lets in whom the operator invites, and one that lets everybody in.
  [gateway, open] = await Promise.all([startGateway(), startGateway(["--sign-up"])]);
});

const visit = (act, at = gateway) => visiting({ baseURL: at.url }, act);

/** Whose email address is in the page's head; nobody's where it leads to the sign-in page. */
async function user(page) {
  await page.goto("/dashboard/security");
  if ((await title(page)) === "Sign in") return null;
  return page.locator("header").getByRole("link").nth(1).innerText();
}

/** A user who was invited and has this password. */
async function invited(email) {
  const link = await gateway.invite(email);
  await visit(async (page) => {
    await setPassword(page, link, password, "Begin");
    assert.equal(await title(page), "Overview");
  });
  return email;
}

test("the link that the first start prints signs its owner in, once", async () => {
  await visit(async (page) => {
    await signIn(page, gateway.link);
    assert.equal(await user(page), "owner@localhost");
  });
  await visit(async (page) => {
    await page.goto(gateway.link);
    assert.equal(await title(page), "This link no longer works");
    assert.equal(await user(page), null);
  });
});

test("an invitation of the operator's makes a user of the account, once", async () => {
  const link = await gateway.invite("ada@example.com");
  await visit(async (page) => {
    await setPassword(page, link, password, "Begin");
    assert.equal(await title(page), "Overview");
    assert.equal(await user(page), "ada@example.com");
  });
  await visit(async (page) => {
    await page.goto(link);
    assert.equal(await title(page), "This link no longer works");
  });
  await visit(async (page) => {
    await signInWith(page, "ada@example.com", password);
    assert.equal(await title(page), "Overview");
  });
});

test("who was on the way to a page comes there after signing in", async () => {
  const email = await invited("bea@example.com");
  await visit(async (page) => {
    await page.goto("/dashboard/security?notice=none");
    assert.equal(await title(page), "Sign in");
    await page.getByLabel("Email address").fill(email);
    await page.getByLabel("Password").fill(password);
    await press(page, "Sign in");
    await page.waitForURL("**/dashboard/security?notice=none");
  });
});

test("nobody can sign up where the operator has not said so", async () => {
  await visit(async (page) => {
    await page.goto("/dashboard/sign-in");
    assert.equal(await page.getByRole("link", { name: "Sign up" }).count(), 0);
    const answer = await page.goto("/dashboard/sign-up");
    assert.equal(answer.status(), 404);
  });
});

test("where the operator lets everybody in, who signs up has an account without funds", async () => {
  await visit(async (page) => {
    await page.goto("/dashboard/sign-in");
    await follow(page, "Sign up");
    assert.equal(await title(page), "Sign up");
    await signUp(page, "new@example.com", password);
    assert.equal(await title(page), "Overview");
    assert.match(await page.getByRole("main").innerText(), /Balance\s+0\.00 USD/);
    assert.equal(await user(page), "new@example.com");
  }, open);
});

test("a password that is too short is refused by the browser, and one that everybody knows by the page", async () => {
  await visit(async (page) => {
    await page.goto("/dashboard/sign-up");
    const field = page.getByLabel("New password");
    await page.getByLabel("Email address").fill("short@example.com");
    await field.fill("short");
    await page.getByRole("button", { name: "Create account" }).click();
    assert.ok(await field.evaluate((input) => input.validity.tooShort));
    await field.fill("short@example.com");
    await press(page, "Create account");
    assert.ok((await problem(page)).length > 0);
    assert.equal(await page.getByLabel("Email address").inputValue(), "short@example.com");
    assert.equal(await field.inputValue(), "");
  }, open);
});

test("a wrong password and an unknown address are told the same, and what was typed is kept but for the password", async () => {
  const email = await invited("cleo@example.com");
  await visit(async (page) => {
    const told = [];
    for (const address of [email, "nobody@example.com"]) {
      await signInWith(page, address, "wrong words in a row");
      told.push(await problem(page));
      assert.equal(await page.getByLabel("Email address").inputValue(), address);
      assert.equal(await page.getByLabel("Password").inputValue(), "");
    }
    assert.deepEqual(told, Array(2).fill("The email address or password is wrong."));
  });
});

test("after ten wrong passwords the right one has to come again later, and the page says when", async () => {
  // On a gateway of its own: tries are counted by where they come from too.
  const guessed = await startGateway(["--sign-up"]);
  await visit(async (page) => {
    await signUp(page, "dora@example.com", password);
    assert.equal(await title(page), "Overview");
  }, guessed);
  await visit(async (page) => {
    for (let guess = 1; guess <= 10; guess += 1) {
      await signInWith(page, "dora@example.com", `guess number ${guess}`);
      assert.equal(await problem(page), "The email address or password is wrong.");
    }
    await signInWith(page, "dora@example.com", password);
    assert.equal(await title(page), "Too many attempts");
    const said = await page.getByRole("main").innerText();
    const [, minutes, time] = said.match(/Try again in (\d+) minutes?, at (\d\d:\d\d) UTC\./);
    assert.ok(minutes >= 1 && minutes <= 15, said);
    const until = new Date(Date.now() + minutes * 60_000);
    const near = [-60_000, 0, 60_000].map((ms) => new Date(until.getTime() + ms).toISOString().slice(11, 16));
    assert.ok(near.includes(time), `${time}, and in ${minutes} minutes it is ${near[1]}`);
    assert.equal(await user(page), null);
  }, guessed);
});

test("a reset of the operator's sets a new password, once, and signs every browser out", async () => {
  const email = await invited("eva@example.com");
  await visit(async (elsewhere) => {
    await signInWith(elsewhere, email, password);
    assert.equal(await user(elsewhere), email);
    const link = await gateway.reset(email);
    await visit(async (page) => {
      await setPassword(page, link, another, "Set the password");
      assert.equal(await user(page), email);
      await page.goto(link);
      assert.equal(await title(page), "This link no longer works");
    });
    assert.equal(await user(elsewhere), null);
    await signInWith(elsewhere, email, password);
    assert.match(await problem(elsewhere), /wrong/);
    await signInWith(elsewhere, email, another);
    assert.equal(await user(elsewhere), email);
  });
});

test("a changed password signs every other browser out", async () => {
  const email = await invited("fay@example.com");
  await visit(async (elsewhere) => {
    await signInWith(elsewhere, email, password);
    await visit(async (page) => {
      await signInWith(page, email, password);
      await page.goto("/dashboard/security");
      await page.getByLabel("Current password").fill(password);
      await page.getByLabel("New password").fill(another);
      await press(page, "Change password");
      assert.match(await notice(page), /Your password is changed/);
      assert.equal(await user(page), email);
    });
    assert.equal(await user(elsewhere), null);
  });
});

test("signing out ends this browser's session, signing out everywhere all", async () => {
  const email = await invited("gwen@example.com");
  await visit((first) => visit((second) => visit(async (third) => {
    for (const page of [first, second, third]) {
      await signInWith(page, email, password);
      assert.equal(await user(page), email);
    }
    await press(first, "Sign out");
    assert.deepEqual([await user(first), await user(second)], [null, email]);
    await press(second, "Sign out everywhere");
    assert.equal(await notice(second), "You are signed out everywhere.");
    assert.deepEqual([await user(second), await user(third)], [null, null]);
  })));
});

test("the session's cookie is out of scripts' reach, and a form without the page's token changes nothing", async () => {
  const email = await invited("hanna@example.com");
  await visit(async (page, context) => {
    await signInWith(page, email, password);
    await page.goto("/dashboard/security");
    assert.equal(await page.evaluate(() => document.cookie), "");
    const cookies = await context.cookies();
    assert.ok(cookies.length > 0);
    for (const { httpOnly, sameSite } of cookies) assert.deepEqual([httpOnly, sameSite], [true, "Lax"]);
    await page.evaluate(() => document.querySelectorAll("[name=csrf]").forEach((field) => field.remove()));
    await press(page, "Sign out everywhere");
    assert.equal(await title(page), "That form can't be accepted");
    assert.equal(await user(page), email);
  });
});
