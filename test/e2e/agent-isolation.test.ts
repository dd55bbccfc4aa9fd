/** What root inside the application can do to the agent, the machine and the disks: nothing. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { cannotServe, LullServer } from './lull-server.ts';
import { WAKES_BY_TRAFFIC } from './test-microvm.ts';

const ATTACKER = join(import.meta.dirname, '../fixtures/attacker');
/** A fixture that lost its attempts would prove nothing. */
const LEAST_ATTEMPTS = 25;

interface Attack {
  readonly uid: number;
  readonly pid: number;
  readonly outcome: Readonly<Record<string, { readonly worked: boolean; readonly detail: string }>>;
}

describe('root in the application', { skip: await cannotServe() }, () => {
  it('reaches nothing outside it, and the agent goes on', async (test) => {
    await using server = await LullServer.start();
    const microvm = await server.run(await server.image('attacker', ATTACKER), { idlePolicy: WAKES_BY_TRAFFIC });
    const { uid, pid, outcome } = await microvm.json<Attack>('/attack');
    assert.deepEqual([uid, pid], [0, 1], 'it is root, and the first of its own processes');
    for (const [name, { detail }] of Object.entries(outcome)) test.diagnostic(`${name}: ${detail}`);
    assert.ok(Object.keys(outcome).length >= LEAST_ATTEMPTS);
    const worked = Object.entries(outcome).filter((entry) => entry[1].worked);
    assert.deepEqual(worked, []);
    await microvm.suspend();
    assert.deepEqual(await microvm.json('/'), { alive: true });
    await microvm.terminate();
  });
});
