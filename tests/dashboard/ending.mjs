// What a file of tests has started is ended when all its tests are over, the last first.

import { after } from "node:test";

const endings = [];

after(async () => {
  for (const ending of endings.reverse()) await ending();
});

/** Also from within a test or a hook, whose own `after` would be over with it. */
export const atTheEnd = (ending) => endings.push(ending);
