// What holds for every page, in each state that it has: axe-core, light and dark, phone and desktop, width, bytes, no script.

import assert from "node:assert/strict";
import { test } from "node:test";

import { barriers, bytes, devices, screenshot, text, visiting, width } from "./browser.mjs";

const MOST_BYTES = 60_000;
const NARROW = { width: 320, height: 568 };

/**
 * The tests of these pages, by their names. Of each: `open` leads a tab there; `status` is what the page comes with, 200 if
 * nothing is said; `as` gives the cookies of whoever looks at it; `at` is its gateway, or else `gateway` is; `also` gives the
 * other sites on the way; `varies` is what it says otherwise each time. Returns what was seen: the pages' addresses, and where
 * their links lead.
 */
export function look(gateway, pages) {
  const seen = { paths: new Set(), links: new Set() };
  for (const [name, page] of Object.entries(pages)) lookAt(name, page, page.at ?? gateway, seen);
  return seen;
}

function lookAt(name, page, gateway, seen) {
  const visit = (more, act) =>
    visiting({ baseURL: gateway().url, storageState: page.as?.(), also: page.also?.(), ...more }, async (tab) => {
      let status;
      tab.on("response", (answer) => {
        if (answer.request().isNavigationRequest()) status = answer.status();
      });
      const open = async () => {
        await page.open(tab);
        // Where something else went wrong, it is another page that is looked at.
        assert.equal(status, page.status ?? 200);
      };
      return act(tab, open);
    });
  const lightAndDark = async (tab, device) => {
    for (const colorScheme of ["light", "dark"]) {
      await tab.emulateMedia({ colorScheme });
      await screenshot(tab, `${name}-${colorScheme}-${device}`);
      assert.deepEqual(await barriers(tab), [], colorScheme);
    }
  };
  let withScript;

  test(`${name}: axe-core finds nothing on a phone, light and dark, and ${NARROW.width} pixels are wide enough`, async () => {
    await visit(devices.phone, async (tab, open) => {
      await open();
      await lightAndDark(tab, "phone");
      await tab.setViewportSize(NARROW);
      assert.equal(await width(tab), NARROW.width);
    });
  });

  test(`${name}: axe-core finds nothing on a desktop, light and dark, and at most ${MOST_BYTES} bytes are loaded`, async () => {
    await visit(devices.desktop, async (tab, open) => {
      const loaded = await bytes(tab, open);
      await lightAndDark(tab, "desktop");
      seen.paths.add(new URL(tab.url()).pathname);
      for (const href of await tab.getByRole("link").evaluateAll((all) => all.map(({ href }) => href))) seen.links.add(href);
      withScript = await text(tab);
      const own = loaded.filter(({ url }) => url.startsWith(gateway().url));
      const sum = own.reduce((total, asset) => total + asset.bytes, 0);
      assert.ok(own.some(({ url }) => url.endsWith(".css")), "the style sheet is counted");
      assert.ok(sum <= MOST_BYTES, `${sum} bytes: ${JSON.stringify(own)}`);
    });
  });

  test(`${name}: it says the same without JavaScript`, async () => {
    const read = (more) =>
      visit(more, async (tab, open) => {
        await open();
        return text(tab);
      });
    const without = await read({ javaScriptEnabled: false });
    assert.ok(without.includes("ModelSwitch"));
    // The whole key is another each time.
    const same = (said) => said.replace(/m[sk]-\w{38}/g, "KEY").replace(page.varies ?? /$^/, "…");
    assert.equal(same(withScript ?? (await read())), same(without));
  });
}
