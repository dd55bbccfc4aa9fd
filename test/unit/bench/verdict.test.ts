import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { SERIES, type RoundsResult } from '../../../src/bench/rounds.ts';
import { Samples } from '../../../src/bench/samples.ts';
import { judge, renderResult, type BenchResult } from '../../../src/bench/verdict.ts';

function samplesOf(values: Readonly<Record<string, number>>): Samples {
  const samples = new Samples();
  for (const [name, value] of Object.entries(values)) samples.add(name, value);
  return samples;
}

function rounds(values: { suspend: number }): RoundsResult {
  const { raw, launch, wake, rawSave, rawSaveBytes, suspend, suspendBytes } = SERIES;
  return {
    samples: samplesOf({
      [raw]: 100,
      [launch.fresh]: 150,
      [launch.ahead]: 140,
      [wake.fresh]: 151,
      [wake.ahead]: 139,
      [rawSave]: 500,
      [rawSaveBytes]: 1024 ** 3,
      [suspend]: values.suspend,
      [suspendBytes]: 1024 ** 2,
    }),
    steps: { launch: samplesOf({ 'start process': 40 }), suspend: samplesOf({ freeze: 5 }), wake: samplesOf({ memory: 3 }) },
  };
}

const result: BenchResult = {
  machine: 'QEMU with tcg',
  rounds: 20,
  idle: rounds({ suspend: 101 }),
  touched: rounds({ suspend: 100 }),
  churns: samplesOf({
    idle: 1000,
    'idle ms': 90,
    'idle zero pages': 1,
    read: 2000,
    'read ms': 90,
    'read zero pages': 1,
    allocated: 2001,
    'allocated ms': 90,
    'allocated zero pages': 1,
  }),
};

suite('verdict', () => {
  test('a target is met up to its limit and not a hair beyond', () => {
    const verdicts = judge(result).map(({ target, met }) => [target, met]);
    assert.deepEqual(verdicts, [
      ['launch, TLS included, by raw launch', true],
      ['launch, TLS excluded, by raw launch', true],
      ['wake by launch, TLS included', false],
      ['wake by launch, TLS excluded', true],
      ['suspend by full save, idle example', false],
      ['suspend by full save, memory touched', true],
      ['bytes after file reads by idle', true],
      ['bytes after allocate and free by idle', false],
    ]);
  });

  test('the tables hold every figure once, and the steps where they are asked for', () => {
    const plain = renderResult(result, false);
    assert.match(plain, /^launch, TLS included +150 ms +150 ms +1\.50 +by raw launch$/m);
    assert.match(plain, /^suspend +101 ms +101 ms +0\.20 +by raw save$/m);
    assert.match(plain, /^idle example +1\.0 MiB +1\.0 GiB +0\.0010 +by the full save$/m);
    assert.match(plain, /^wake by launch, TLS included +1\.01 +≤ 1 +missed$/m);
    assert.doesNotMatch(plain, /STEPS/);
    assert.match(renderResult(result, true), /^STEPS OF WAKE +P50 +P95\nmemory +3\.0 ms +3\.0 ms$/m);
  });
});
