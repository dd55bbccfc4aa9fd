/** The table of quotas: what is in force, and that the contract enforces the figures that nobody may change. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { z } from 'zod';
import { parseInput } from '../../../src/contract/constraints.ts';
import { INPUT_OF } from '../../../src/contract/operations.ts';
import { QUOTA_NAMES, QUOTAS, quotasOf, ratesOf } from '../../../src/domain/quotas.ts';

suite('quotas', () => {
  test('without a word: the host’s memory, the usual counts, and no rates', () => {
    const quotas = quotasOf({ limits: 'none', given: {} }, 8000);
    assert.deepEqual([quotas.memory, quotas.images, quotas.versions, quotas.builds], [8000, 100, 50, 22]);
    assert.equal(ratesOf(quotas).size, 0);
  });

  test('AWS’s rates are section 7.2, and a single figure wins over them', () => {
    const rates = ratesOf(quotasOf({ limits: 'aws', given: { 'run-rate': 50 } }, 8000));
    assert.deepEqual(Object.fromEntries([...rates].map(([operation, { perSecond }]) => [operation, perSecond])), {
      RunMicrovm: 50,
      ResumeMicrovm: 5,
      SuspendMicrovm: 2,
      TerminateMicrovm: 10,
      GetMicrovm: 100,
      CreateMicrovmAuthToken: 50,
      CreateMicrovmShellAuthToken: 5,
    });
    assert.deepEqual([...rates.keys()].filter((operation) => !Object.hasOwn(INPUT_OF, operation)), []);
    const alone = ratesOf(quotasOf({ limits: 'none', given: { 'get-rate': 7 } }, 8000));
    assert.deepEqual([...alone.keys()], ['GetMicrovm']);
  });

  test('codes are unlike, and in the form of Service Quotas', () => {
    const codes = QUOTA_NAMES.map((name) => QUOTAS[name].code);
    assert.equal(new Set(codes).size, codes.length);
    for (const code of codes) assert.match(code, /^[a-zA-Z][a-zA-Z0-9-]{1,128}$/);
  });
});

const ARN = 'arn:aws:lambda:us-east-1:000000000000:microvm-image:app';
const image = (count: number) => ({
  name: 'app',
  baseImageArn: 'arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1',
  buildRoleArn: 'arn:aws:iam::000000000000:role/build',
  codeArtifact: { uri: 's3://a/b.zip' },
  environmentVariables: Object.fromEntries(Array.from({ length: count }, (_, n) => [`V${n}`, ''])),
});

const FIXED: readonly [keyof typeof QUOTAS, 'RunMicrovm' | 'CreateMicrovmImage', (figure: number) => Record<string, unknown>][] = [
  ['environment-variables', 'CreateMicrovmImage', image],
  ['run-hook-payload', 'RunMicrovm', (length) => ({ imageIdentifier: ARN, runHookPayload: 'x'.repeat(length) })],
  ['maximum-duration', 'RunMicrovm', (seconds) => ({ imageIdentifier: ARN, maximumDurationInSeconds: seconds })],
  ['connectors', 'RunMicrovm', (length) => ({ imageIdentifier: ARN, egressNetworkConnectors: Array.from({ length }, (_, n) => `arn:${n}`) })],
];
for (const [name, operation, input] of FIXED) {
  test(`the contract enforces ${name}: as many and no more`, () => {
    const { adjustable, default: figure } = QUOTAS[name];
    assert.equal(adjustable, false);
    const schema: z.ZodType = INPUT_OF[operation].input;
    assert.ok(parseInput(schema, input(Number(figure))));
    assert.throws(() => parseInput(schema, input(Number(figure) + 1)), /1 validation error detected/);
  });
}
