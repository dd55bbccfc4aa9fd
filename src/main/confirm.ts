import { createInterface } from 'node:readline/promises';

/** Asks on the terminal; undefined where there is none. Anything but a yes is a no. */
export async function confirm(question: string): Promise<boolean | undefined> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return undefined;
  using line = createInterface({ input: process.stdin, output: process.stderr });
  // Its terminal gone, or Ctrl-D.
  const closed = new Promise<string>((resolve) => void line.once('close', () => resolve('')));
  return /^y(es)?$/i.test((await Promise.race([line.question(question), closed])).trim());
}
