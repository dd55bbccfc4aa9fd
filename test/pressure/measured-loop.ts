/** Loaded before a program (`node --import`): measures its event loop, and leaves the report in a file when it ends. */
import { writeFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { LoopLag } from './loop-lag.ts';

const path = process.env['LOOP_LAG_FILE'];
if (isMainThread && path !== undefined) {
  // What it starts in its turn is measured by nobody.
  delete process.env['LOOP_LAG_FILE'];
  const lag = new LoopLag();
  process.once('exit', () => writeFileSync(path, JSON.stringify(lag.report())));
}
