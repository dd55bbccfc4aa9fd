import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { LOADS, type LoadName, type NativeResult, type SideFigures } from '../../../src/bench/proxy-rounds.ts';
import { judgeProxy } from '../../../src/bench/proxy-verdict.ts';
import { Samples } from '../../../src/bench/samples.ts';

type Side = Parameters<NativeResult['sides']['get']>[0];

/** The same under every load. */
const samplesOf = (value: number) => {
  const samples = new Samples();
  for (const load of Object.keys(LOADS) as LoadName[]) samples.add(load, value);
  return samples;
};
const side = ({ busy, cpuMs }: { busy: number; cpuMs: number }): SideFigures => ({
  perSecond: samplesOf(1000),
  busy: samplesOf(busy),
  cpuMs: samplesOf(cpuMs),
  p50Ms: samplesOf(1),
  p99Ms: samplesOf(1),
});

suite('the verdict on the endpoints', () => {
  test('counts the CPU of a request beside a server that had time left, and speed does not', () => {
    const sides = new Map<Side, SideFigures>([
      ['direct', side({ busy: 1, cpuMs: 0 })],
      ['nginx', side({ busy: 0.4, cpuMs: 1 })],
      ['proxy', side({ busy: 1, cpuMs: 3 })],
    ]);
    const socketBytes = new Samples();
    for (const name of ['bare', 'proxy']) socketBytes.add(name, 1);
    const judged = judgeProxy({ machine: '', extent: { rounds: 1 } as never, native: { sides, socketBytes }, microvm: undefined });
    const verdicts = Object.fromEntries(judged.map(({ target, verdict }) => [target, verdict]));
    assert.equal(verdicts['CPU of a request by nginx'], 'missed');
    assert.equal(verdicts['bulk down by nginx'], 'does not count');
  });
});
