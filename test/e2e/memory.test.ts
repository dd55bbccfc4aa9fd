/** What a sleep keeps of memory, and what it costs: pages that are free in the guest are left out, all others come back. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { cannotServe, LullServer } from './lull-server.ts';
import { WAKES_BY_TRAFFIC } from './test-microvm.ts';

const PROBE = join(import.meta.dirname, '../fixtures/probe-app');
const MIB = 1024 ** 2;
const CHURN_MIB = 12;
const CYCLES = 8;

describe('the memory of a sleeping microVM', { skip: await cannotServe() }, () => {
  let server: LullServer;
  let imageArn: string;
  before(async () => {
    server = await LullServer.start();
    imageArn = await server.image('probe', PROBE, { resources: [{ minimumMemoryInMiB: 256 }] });
  });
  after(() => server?.[Symbol.asyncDispose]());

  const bytesWritten = async (microvmId: string) => (await server.client.report(microvmId)).suspend!.bytesWritten;

  it('comes back whole, sleep after sleep, while memory and files are taken and let go', async () => {
    const microvm = await server.run(imageArn, { idlePolicy: WAKES_BY_TRAFFIC });
    const written: number[] = [];
    for (let cycle = 0; cycle < CYCLES; cycle += 1) {
      const { damaged } = await microvm.json<{ damaged: unknown[] }>(`/churn?${CHURN_MIB}`);
      assert.deepEqual(damaged, [], `cycle ${cycle}`);
      await microvm.suspend();
      written.push(await bytesWritten(microvm.id));
    }
    const last = await microvm.json<{ damaged: unknown[] }>('/churn?0');
    assert.deepEqual(last.damaged, []);
    // No chains: what a sleep costs depends on what is held, not on how often it was done.
    assert.ok(written.at(-1)! < written[3]! * 1.5, `bytes written by each suspend: ${written.join(', ')}`);
    await microvm.terminate();
  });

  it('costs no more after much was held and let go, or read from a file, than about an idle one', async () => {
    for (const [what, paths] of Object.entries({ freed: ['/fill?128', '/fill?0'], read: ['/read-file?128'] })) {
      const microvm = await server.run(imageArn, { idlePolicy: WAKES_BY_TRAFFIC });
      await microvm.json('/count');
      await microvm.suspend();
      const idle = await bytesWritten(microvm.id);
      for (const path of paths) await microvm.json(path);
      await microvm.suspend();
      const cost = await bytesWritten(microvm.id);
      assert.ok(cost < Math.max(2 * idle, 8 * MIB), `${what}: ${cost} bytes, idle ${idle}`);
      await microvm.terminate();
    }
  });

  it('is written where it is held', async () => {
    const microvm = await server.run(imageArn, { idlePolicy: WAKES_BY_TRAFFIC });
    await microvm.json('/fill?64');
    await microvm.suspend();
    assert.ok((await bytesWritten(microvm.id)) > 64 * MIB);
    await microvm.terminate();
  });
});
