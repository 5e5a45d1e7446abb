// What holds for every page, in each state that it has: axe-core, light and dark, phone and desktop, bytes, no script.

import assert from "node:assert/strict";
import { before, test } from "node:test";

import { barriers, bytes, looks, screenshot, setPassword, signInWith, signUp, text, title, visiting, width } from "./browser.mjs";
import { startGateway } from "./gateway.mjs";

const MOST_BYTES = 60_000;
const NARROW = 320;
// As long as people's are, and one that no line of a phone holds.
const email = "maximiliane.von-und-zu-altenburg@department-of-research.university.example";
const password = "a few words in a row";

let gateway;
// The cookies of somebody who is signed in.
let owner;

before(async () => {
  gateway = await startGateway(["--sign-up"]);
  const link = await gateway.invite(email);
  owner = await visiting({ baseURL: gateway.url }, async (page, context) => {
    await setPassword(page, link, password, "Begin");
    assert.equal(await title(page), "Overview");
    return context.storageState();
  });
});

/** A page by its address. */
const at = (path) => (page) => page.goto(`/dashboard${path}`);

/** Every page: how to come there, and whether as a user. Those that answer a form are reached by it. */
const pages = {
  "sign-in": { open: at("/sign-in") },
  "sign-in-notice": { open: at("/sign-in?notice=everywhere") },
  "sign-in-wrong": { open: (page) => signInWith(page, "nobody@example.com", "wrong") },
  "sign-up": { open: at("/sign-up") },
  "sign-up-problem": { open: (page) => signUp(page, email, email) },
  link: { open: (page) => page.goto(gateway.link) },
  "link-used-up": { open: at("/link/unknown") },
  invitation: { open: async (page) => page.goto(await gateway.invite("guest@example.com")) },
  reset: { open: async (page) => page.goto(await gateway.reset(email)) },
  "not-found": { open: at("/nothing-here"), user: true },
  "not-found-signed-out": { open: at("/nothing-here") },
  overview: { open: at(""), user: true },
  security: { open: at("/security"), user: true },
  "security-notice": { open: at("/security?notice=password"), user: true },
};

const options = ({ user }, more = {}) => ({ baseURL: gateway.url, storageState: user && owner, ...more });

for (const [name, page] of Object.entries(pages)) {
  for (const look of looks) {
    test(`${name}: axe-core finds nothing (${look.name})`, async () => {
      const { name: _, ...emulated } = look;
      await visiting(options(page, emulated), async (tab) => {
        await page.open(tab);
        await screenshot(tab, `${name}-${look.name}`);
        assert.deepEqual(await barriers(tab), []);
      });
    });
  }

  test(`${name}: it does not scroll sideways where there are ${NARROW} pixels`, async () => {
    const viewport = { width: NARROW, height: 568 };
    await visiting(options(page, { viewport, isMobile: true, hasTouch: true }), async (tab) => {
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
    const [withScript, without] = [await read(), await read({ javaScriptEnabled: false })];
    assert.ok(without.length > 0);
    assert.equal(without, withScript);
  });
}
