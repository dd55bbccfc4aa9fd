/** Bytes that come one at a time. */

/** Slow for a program, fast for a test. */
const DRIP_MS = 20;

/** Calls `drip` with 0, 1, 2, … again and again until `over` settles. @returns how often */
export async function until(over: Promise<unknown>, drip: (at: number) => void): Promise<number> {
  let at = 0;
  const timer = setInterval(() => drip(at++), DRIP_MS);
  try {
    await over;
    return at;
  } finally {
    clearInterval(timer);
  }
}
