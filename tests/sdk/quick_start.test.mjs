// What the dashboard's quick start says for Node does what it says, as it is copied. Run by ./run.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

test("the example for Node is answered as it is copied", async () => {
  const { node: input } = JSON.parse(await readFile(process.env.MODELSWITCH_EXAMPLES, "utf8"));
  const env = { ...process.env, MODELSWITCH_API_KEY: process.env.MODELSWITCH_EXAMPLES_KEY };
  // From standard input, so that the SDK is the one that is installed here.
  const words = ["--input-type=module", "-"];
  const { status, stdout, stderr } = spawnSync(process.execPath, words, { env, input, timeout: 120_000 });
  assert.equal(status, 0, `${input}\n${stderr}`);
  assert.ok(stdout.toString().trim(), input);
});
