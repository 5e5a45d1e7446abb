"""Runs the suite's parts in the order in which one builds on the other, and counts."""

import importlib, sys, unittest

# The stack is deployed from what `sam` built; the emulator's functions get the environment that the stack gave them.
PARTS = ["build", "sam", "stack", "push", "emulator", "stream", "soak", "containers"]

chosen = sys.argv[1:] or PARTS
if unknown := set(chosen) - set(PARTS):
    sys.exit(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")

suite = unittest.TestSuite()
for part in [part for part in PARTS if part in chosen]:
    suite.addTests(unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(f"test_{part}")))

result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
failed, skipped = len(result.failures) + len(result.errors), len(result.skipped)
# A test with several failed parts is one that failed; a set-up that failed kept its tests from running at all.
bad = {id(getattr(test, "test_case", test)) for test, _ in [*result.failures, *result.errors, *result.skipped]
       if isinstance(test, unittest.TestCase)}
passed = result.testsRun - len(bad)
for test, reason in result.skipped:
    print(f"skipped: {test}: {reason}")
print(f"{passed} passed, {failed} failed, {skipped} skipped")
sys.exit(failed > 0)
