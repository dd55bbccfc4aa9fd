/** The examples run against a server with nothing but the exports of `lull env`, as README tells. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { packSource } from '../../src/cli/source-archive.ts';
import { within } from '../../src/lib/deadline.ts';
import { cannotServe, LullServer } from './lull-server.ts';
import { LULL, plainEnvironment } from './server-process.ts';

const EXAMPLES = join(import.meta.dirname, '../../examples');
const LIMIT_MS = 180_000;

/** Runs a shell script. @returns what it said, and its status */
async function shell(script: string, env: NodeJS.ProcessEnv): Promise<{ status: number | null; out: string; err: string }> {
  const child = spawn('sh', ['-eu', '-c', script], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const closed = new Promise<number | null>((resolve) => {
    child.once('close', resolve);
  });
  const [status, out, err] = await within('the example', LIMIT_MS, Promise.all([closed, text(child.stdout), text(child.stderr)]));
  return { status, out, err };
}

describe('examples', { skip: await cannotServe() }, () => {
  it('AWS\'s own SDKs do the whole flow after `eval "$(lull env)"`', async () => {
    await using server = await LullServer.start();
    await using archive = await packSource(join(EXAMPLES, 'counter'));
    // What would win over our settings, were it not undone.
    const env = { ...plainEnvironment(), AWS_PROFILE: 'somebody', AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:9', AWS_SESSION_TOKEN: 'stale' };
    const flow = join(EXAMPLES, 'aws-sdk/flow.mjs');
    const script = `eval "$('${LULL}' env --data '${server.data}')"; exec '${process.execPath}' '${flow}' '${archive.path}' counter`;
    const { status, out, err } = await shell(script, env);
    assert.equal(status, 0, `${out}\n${err}\n${server.process.lastWords()}`);
    const said = out.trim().split('\n');
    assert.deepEqual(said.map((line) => line.replace(/: .*/s, '')), [
      'image',
      'first answer',
      'second answer',
      'microVM',
      'third (it sleeps, and wakes) answer',
      'microVM',
    ]);
    assert.equal(said[0], 'image: CREATED');
    const answers = [said[1], said[2], said[4]].map((line) => JSON.parse(line!.replace(/^.*?: /, '')) as { requests: number; ticks: number });
    assert.deepEqual(answers.map(({ requests }) => requests), [1, 2, 3]);
    assert.ok(answers[2]!.ticks >= answers[1]!.ticks);
    assert.deepEqual([said[3], said[5]], ['microVM: SUSPENDED', 'microVM: TERMINATED']);
  });
});
