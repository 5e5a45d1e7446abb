// The last line that .ci/run reads: how many tests passed, failed and were skipped.

export default async function* count(events) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for await (const { type, data } of events) {
    // A suite counts by its tests.
    if (!["test:pass", "test:fail"].includes(type) || data.details.type === "suite") continue;
    if (data.skip !== undefined) counts.skipped += 1;
    else if (type === "test:pass") counts.passed += 1;
    else counts.failed += 1;
  }
  if (Object.values(counts).every((number) => number === 0)) counts.failed = 1;
  yield `${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`;
}
