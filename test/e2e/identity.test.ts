/** What repeats in microVMs that were restored from one snapshot, and what time it is in them. Contract reference, sections 3.5 and 8.3. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as pass } from 'node:timers/promises';
import { cannotServe, LullServer } from './lull-server.ts';
import { WAKES_BY_TRAFFIC, type TestMicrovm } from './test-microvm.ts';

const GENERATORS = join(import.meta.dirname, '../fixtures/generators-app');
const PAGE = join(import.meta.dirname, '../../docs/identity.md');
const CLOCK_TOLERANCE_MS = 500;
const ASLEEP_MS = 3000;
const POOL_LIMIT_MS = 1000;

/** Each generator's name and what it gave. */
type Draws = Readonly<Record<string, unknown>>;

interface Clocks {
  readonly unixMs: number;
  readonly monotonicMs: number;
}

/** The page's table: each generator and whether it repeats. */
function documented(): Readonly<Record<string, string>> {
  const rows = readFileSync(PAGE, 'utf8').matchAll(/^\| (.+) \| (repeats|differs) \|$/gm);
  return Object.fromEntries([...rows].map(([, name, outcome]) => [name!, outcome!]));
}

const compared = (one: Draws, other: Draws): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.keys(one).map((name) => [name, JSON.stringify(one[name]) === JSON.stringify(other[name]) ? 'repeats' : 'differs']));

describe('two microVMs of one image', { skip: await cannotServe() }, () => {
  let server: LullServer;
  let pair: readonly [TestMicrovm, TestMicrovm];
  before(async () => {
    server = await LullServer.start();
    const imageArn = await server.image('generators', GENERATORS);
    const launch = () => server.run(imageArn, { idlePolicy: WAKES_BY_TRAFFIC });
    pair = await Promise.all([launch(), launch()]);
  });
  after(() => server?.[Symbol.asyncDispose]());
  const both = <T>(path: string): Promise<[T, T]> => Promise.all([pair[0].json<T>(path), pair[1].json<T>(path)]);

  it('repeat of their generators what docs/identity.md says, and nothing else', async () => {
    const [one, other] = await both<Draws>('/draw');
    assert.deepEqual(compared(one, other), documented());
  });

  it('repeat nothing of Python\'s once they have followed the recipe of docs/identity.md', async () => {
    const [, recipe = 'none'] = /```python\n([^]+?)```/.exec(readFileSync(PAGE, 'utf8')) ?? [];
    assert.ok(readFileSync(join(GENERATORS, 'app.py'), 'utf8').includes(recipe), 'the application does what the page shows');
    const [one, other] = await both<Draws>('/reseed');
    assert.deepEqual(Object.entries(compared(one, other)).filter(([, outcome]) => outcome === 'repeats'), []);
  });

  it('draw nothing twice from the kernel and from new processes over a sleep', async () => {
    const [microvm] = pair;
    const awake = await microvm.json<Draws>('/draw');
    await microvm.suspend();
    const later = await microvm.json<Draws>('/draw');
    assert.deepEqual(Object.entries(compared(awake, later)).filter(([, outcome]) => outcome === 'repeats'), []);
  });

  it('end what a client inside had connected elsewhere, within a second of its use', async () => {
    const [, microvm] = pair;
    await microvm.json('/connect');
    await microvm.suspend();
    const { error, ms } = await microvm.json<{ error: string | null; ms: number }>('/use-connection');
    // Section 3.5. The other end of this one is the agent's, which may reset it before the kernel aborts it.
    assert.match(`${error}`, /^(ECONNABORTED|ECONNRESET)$/);
    assert.ok(ms < POOL_LIMIT_MS, `${ms} ms`);
  });

  it('have the right time after a launch and after a wake, and a monotonic clock that stood still asleep', async () => {
    const [microvm] = pair;
    const clocks = async () => {
      const askedMs = Date.now();
      const told = await microvm.json<Clocks>('/clocks');
      const answeredMs = Date.now();
      const text = `the guest's clock says ${told.unixMs}, asked ${askedMs}, answered ${answeredMs}`;
      assert.ok(told.unixMs > askedMs - CLOCK_TOLERANCE_MS && told.unixMs < answeredMs + CLOCK_TOLERANCE_MS, text);
      return told;
    };
    const awake = await clocks();
    await microvm.suspend();
    await pass(ASLEEP_MS);
    const later = await clocks();
    const [wallMs, monotonicMs] = [later.unixMs - awake.unixMs, later.monotonicMs - awake.monotonicMs];
    // AWS's jumps (section 3.5, measured); this driver's does not.
    assert.ok(wallMs - monotonicMs >= ASLEEP_MS, `${wallMs} ms passed, ${monotonicMs} ms by the monotonic clock`);
  });
});
