/** What makes the compatibility page: it must not call anything seen that was not, and must not let a gap pass. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../clients/client.ts';
import { coverageOf } from '../../clients/coverage.ts';
import type { Difference } from '../../clients/differences.ts';
import type { Model } from '../../clients/model.ts';

const MODEL: Model = {
  operations: {
    Turn: { http: { method: 'POST', requestUri: '/turn' }, input: { shape: 'In' }, output: { shape: 'Out' }, errors: [{ shape: 'Conflict' }] },
    Other: { http: { method: 'GET', requestUri: '/other' }, input: { shape: 'In' }, errors: [{ shape: 'Conflict' }] },
  },
  shapes: {
    In: { type: 'structure', members: { angle: { shape: 'Angle' } } },
    Angle: { type: 'structure', members: { degrees: { shape: 'Number' }, radians: { shape: 'Number' } } },
    Out: { type: 'structure', members: { states: { shape: 'States' }, reason: { shape: 'Text' } } },
    States: { type: 'list', member: { shape: 'State' } },
    State: { type: 'string', enum: ['LEFT', 'RIGHT'] },
    Number: { type: 'integer' },
    Text: { type: 'string' },
    Conflict: { type: 'structure', members: {} },
  },
};

const call = (operation: string, input: JsonObject, rest: object) => ({ client: 'boto3' as const, service: 'turner', operation, input, ...rest });
const TURNED = call('Turn', { angle: { degrees: 1 } }, { output: { states: ['LEFT'], reason: null } });
const REFUSED = call('Other', { angle: { radians: 1 } }, { error: { type: 'Conflict', status: 409 }, recorded: 'in the way' });

const coverage = (differences: readonly Difference[]) =>
  coverageOf({ services: [{ model: MODEL, operations: ['Turn', 'Other'] }], recordedErrors: ['in the way', 'out of reach'], differences, observations: [TURNED, REFUSED] });

test('what was sent and received with success is seen, nulls as nulls; a refused call shows its error only', () => {
  const { item } = coverage([]);
  assert.deepEqual(
    ['Turn', 'Turn.input.angle.degrees', 'Turn.output.states', 'Turn.output.reason', 'enum.State.LEFT', 'Other.errors.Conflict', 'recorded.in the way'].map((key) => item(key).seen),
    ['yes', 'yes', 'yes', 'null', 'yes', 'yes', 'yes'],
  );
  assert.deepEqual(['Turn.input.angle.radians', 'Other', 'Other.input.angle.radians', 'enum.State.RIGHT'].map((key) => item(key).seen), ['no', 'no', 'no', 'no']);
});

test('every gap is told until it is explained, and every explanation that is wrong', () => {
  assert.deepEqual(coverage([]).unexplained, [
    'Turn.input.angle.radians: not seen, and not explained',
    'Turn.errors.Conflict: not seen, and not explained',
    'Other: not seen, and not explained',
    'enum.State.RIGHT: not seen, and not explained',
    'recorded.out of reach: not seen, and not explained',
  ]);
  const because = 'of a reason';
  const explained: readonly Difference[] = [
    { of: '*.input.angle.radians', seen: 'no', because },
    { of: '*.errors.Conflict', seen: 'no', because },
    { of: 'Other', seen: 'no', because },
    { of: 'enum.State.RIGHT', seen: 'no', because },
    { of: 'recorded.out of reach', seen: 'no', because },
  ];
  assert.deepEqual(coverage(explained).unexplained, []);
  assert.deepEqual(coverage([...explained.slice(0, 3), { of: 'enum.*', seen: 'no', because }, { of: 'recorded.*', seen: 'yes', because }, { of: 'Turn.output.nothing', seen: 'no', because }]).unexplained, [
    'enum.State.LEFT: seen, though explained as not',
    'recorded.out of reach: not seen, though explained as seen',
    'Turn.output.nothing: explained, but not in the model',
  ]);
});
