// The pages that say why there is no other: each that a person can come to.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { before } from "node:test";

import { gone, send, signIn, signInWith, visiting } from "./browser.mjs";
import { freshFolder, startGateway } from "./gateway.mjs";
import { look } from "./looks.mjs";

const password = "a few words in a row";
const usage = "${AWS::StackName}-usage";
const template = new URL("../../template.yaml", import.meta.url);

let gateway;
// One that has lost a table.
let broken;
let member;
let ownerOfBroken;

before(async () => {
  [gateway, broken] = await Promise.all([startGateway(), startBroken()]);
  await user("leaving@example.com", "owner");
  member = await user("member@example.com", "member");
  ownerOfBroken = await visiting({ baseURL: broken.url }, async (page, context) => {
    await signIn(page, broken.link);
    return context.storageState();
  });
});

/** The cookies of a user of this role who was invited. */
async function user(address, role) {
  const link = await gateway.invite(address, "--role", role);
  return visiting({ baseURL: gateway.url }, async (page, context) => {
    await page.goto(link);
    await page.locator("[name=password]").fill(password);
    await gone(page, page.locator("form:has([name=password]) button"));
    return context.storageState();
  });
}

/** A gateway whose template makes the table of usage under a name where nobody looks for it. */
async function startBroken() {
  const whole = await readFile(template, "utf8");
  const file = join(await freshFolder(), "template.yaml");
  await writeFile(file, whole.replace(`TableName: !Sub "${usage}"`, `TableName: !Sub "${usage}-lost"`));
  return startGateway(["--template", file]);
}

/** A page by its address. */
const at = (path) => (page) => page.goto(`/dashboard${path}`);

/** Somebody fills a form in while they sign out in another tab, and sends it. */
async function sentAfterSigningOut(page) {
  await signInWith(page, "leaving@example.com", password);
  await page.goto("/dashboard/security");
  const other = await page.context().newPage();
  await other.goto("/dashboard/security");
  await send(other, "/sign-out");
  await other.close();
  await send(page, "/sign-out/everywhere");
}

/** A form without the token that our pages give to theirs. */
async function forged(page) {
  await page.goto("/dashboard/security");
  await page.evaluate(() => document.querySelectorAll("[name=csrf]").forEach((field) => field.remove()));
  await send(page, "/sign-out/everywhere");
}

/** What an owner's page has a form for, from a member's. */
async function notOwner(page) {
  await page.goto("/dashboard/security");
  await page.locator("form[action$=everywhere]").evaluate((form) => (form.action = "/dashboard/billing"));
  await send(page, "/billing");
}

/** Guesses a password until nobody looks at it any more. */
async function tooMany(page) {
  let answer;
  do {
    const answered = page.waitForResponse((response) => response.request().method() === "POST");
    await signInWith(page, "guessed@example.com", "a guess");
    answer = await answered;
  } while (answer.status() === 422);
}

look(() => gateway, {
  "refusal-401": { open: sentAfterSigningOut, status: 401 },
  "refusal-403-forged": { open: forged, as: () => member, status: 403 },
  "refusal-403-not-owner": { open: notOwner, as: () => member, status: 403 },
  "refusal-405": { open: at("/sign-out"), as: () => member, status: 405 },
  // In how many minutes to come again.
  "refusal-429": { open: tooMany, status: 429, varies: /\d+/g },
  // The request's number, for the operator.
  "refusal-500": { open: at("/usage"), as: () => ownerOfBroken, at: () => broken, status: 500, varies: /\S{20,}/g },
  "sign-up-off": { open: at("/sign-up"), status: 404 },
});
