/** `lull bench proxy` in small: that it runs and tells everything. Speed is the benchmark's own business. */
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { suite, test } from 'node:test';
import type { Machine, Terminal } from '../../../src/cli/command-line.ts';
import { benchProxy } from '../../../src/bench/bench-proxy.ts';
import { LOADS } from '../../../src/bench/proxy-rounds.ts';
import { systemClock } from '../../../src/main/system-ports.ts';

/** Runs the native part of the benchmark. */
async function bench(values: Record<string, boolean>) {
  let printed = '';
  const said: string[] = [];
  const terminal: Terminal = {
    env: process.env,
    uid: 1000,
    dataFolder: () => '/nowhere',
    out: (text) => void (printed += text.toString()),
    say: (line) => void said.push(line),
    signal: new AbortController().signal,
  };
  const qemu = () => Promise.reject(new Error('no microVM is needed'));
  const status = await benchProxy({ quick: true, native: true, ...values }, { terminal, machine: {} as Machine, clock: systemClock, qemu });
  return { status, printed, said };
}

interface Figures {
  readonly native: { readonly sides: Record<string, { perSecond: Record<string, number[]>; cpuMs: Record<string, number[]> }>; readonly socketBytes: Record<string, number[]> };
  readonly targets: readonly { target: string; verdict: string }[];
}

suite('the endpoints beside others', { skip: availableParallelism() < 2 ? 'one core only' : false }, () => {
  test('requests, bulk both ways and idle WebSockets pass through every server, and each target is judged', async () => {
    const { status, printed, said } = await bench({ json: true });
    assert.equal(status, 0);
    const { native, targets } = JSON.parse(printed) as Figures;
    const hasNginx = !said.some((line) => line.includes('apt-get install'));
    assert.deepEqual(Object.keys(native.sides), ['direct', ...(hasNginx ? ['nginx'] : []), 'bare', 'proxy']);
    for (const [side, { perSecond }] of Object.entries(native.sides)) {
      assert.deepEqual(Object.keys(perSecond), Object.keys(LOADS), side);
      for (const [load, values] of Object.entries(perSecond)) assert.ok(values.length === 1 && values[0]! > 0, `${side}: ${load}`);
    }
    assert.ok(['bare', 'proxy'].every((side) => native.socketBytes[side]!.length > 0));
    assert.equal(targets.filter(({ verdict }) => verdict === 'not measured').length, hasNginx ? 0 : 3);
  });

  test('figures of a server whose core had time left are shown and do not count', async () => {
    const { printed } = await bench({});
    assert.match(printed, /REQUESTS, ONE AT A TIME/);
    // One request at a time never fills a core.
    assert.match(printed, /^proxy +\d+ +0\.\d\d .*core not busy: does not count$/m);
    assert.match(printed, /^p50 added to a request, ms +\d+\.\d\d +≤ 1 +(met|missed)$/m);
  });
});
