// What a file of tests has started is ended when all its tests are over, the last first.

import { after } from "node:test";

const endings = [];

// A run that is broken off is an end too: what was started goes with its process.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

after(async () => {
  for (const ending of endings.reverse()) await ending();
});

/** Also from within a test or a hook, whose own `after` would be over with it. */
export const atTheEnd = (ending) => endings.push(ending);
