/** `lull run` against a listening server. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noActiveVersion } from '../../../src/domain/refusals.ts';
import { startCommandBed } from './installation-bed.ts';

test('the help of run shows default and limits of what ends a microVM, and the API takes them', async () => {
  await using bed = await startCommandBed();
  const { stdout } = await bed.lull('run', '--help');
  const help = stdout.replaceAll(/\s+/g, ' ');
  assert.match(help, /--idle <seconds> suspend after so long without traffic, 60 to 28800 \(default: 900\)/);
  assert.match(help, /--asleep <seconds> terminate after so long asleep, 0 to 28800 \(default: 28800\)/);
  assert.match(help, /--life <seconds> terminate after so long in all, sleep included, 1 to 28800 \(default: 28800\)/);
  for (const [idle, asleep, life] of [['60', '0', '1'], ['28800', '28800', '28800']] as const) {
    const { status, said } = await bed.lull('run', 'app', '--idle', idle, '--asleep', asleep, '--life', life);
    assert.deepEqual([status, said], [0, []]);
  }
});

test('an image that cannot be launched: the error names the commands that show why', async () => {
  await using bed = await startCommandBed();
  const arn = 'arn:aws:lambda:us-east-1:000000000000:microvm-image:bad';
  bed.api.control.instead.set('microvms.run', () => Promise.reject(noActiveVersion(arn)));
  assert.deepEqual(await bed.lull('run', 'bad'), {
    status: 1,
    stdout: '',
    said: [`No active version found for MicroVM image ${arn}. \`lull images\` shows what there is; \`lull logs bad\` shows why a build failed.`],
  });
});
