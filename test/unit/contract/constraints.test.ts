import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { z } from 'zod';
import { parseInput } from '../../../src/contract/constraints.ts';
import { ApiError, parseError, renderError } from '../../../src/contract/exceptions.ts';
import { fillTemplate, matchesTemplate } from '../../../src/contract/labels.ts';
import { SENSITIVE_MEMBERS } from '../../../src/contract/microvms.ts';
import { OPERATIONS } from '../../../src/contract/operations.ts';
import type { OperationName } from '../../../src/contract/operations.ts';

function refusalOf(operation: OperationName, input: unknown): ApiError {
  const schema: z.ZodType = OPERATIONS[operation].input;
  try {
    parseInput(schema, input, SENSITIVE_MEMBERS);
  } catch (error) {
    assert.ok(error instanceof ApiError);
    return error;
  }
  throw new assert.AssertionError({ message: `${operation} accepted ${JSON.stringify(input)}` });
}

const ROLE = 'arn:aws:iam::000000000000:role/build';
const IMAGE = { name: 'app', baseImageArn: 'arn:x', buildRoleArn: ROLE, codeArtifact: { uri: 's3://b/k' } };
const one = (at: string, constraint: string) => `1 validation error detected: Value ${at} failed to satisfy constraint: Member must ${constraint}`;

const VIOLATIONS: readonly (readonly [OperationName, unknown, string])[] = [
  ['RunMicrovm', {}, one("null at 'imageIdentifier'", 'not be null')],
  ['RunMicrovm', { imageIdentifier: null }, one("null at 'imageIdentifier'", 'not be null')],
  ['RunMicrovm', { imageIdentifier: '' }, one("'' at 'imageIdentifier'", 'have length greater than or equal to 1')],
  ['RunMicrovm', { imageIdentifier: 'a', maximumDurationInSeconds: 28801 }, one("'28801' at 'maximumDurationInSeconds'", 'have value less than or equal to 28800')],
  [
    'RunMicrovm',
    { imageIdentifier: 'a', idlePolicy: { maxIdleDurationSeconds: 59 } },
    "3 validation errors detected: Value '59' at 'idlePolicy.maxIdleDurationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 60; " +
      "Value null at 'idlePolicy.suspendedDurationSeconds' failed to satisfy constraint: Member must not be null; " +
      "Value null at 'idlePolicy.autoResumeEnabled' failed to satisfy constraint: Member must not be null",
  ],
  ['RunMicrovm', { imageIdentifier: 'a', runHookPayload: 'x'.repeat(4097) }, one("at 'runHookPayload'", 'have length less than or equal to 4096')],
  [
    'RunMicrovm',
    { imageIdentifier: 'a', ingressNetworkConnectors: ['a', ''] },
    "1 validation error detected: Value '[a, ]' at 'ingressNetworkConnectors' failed to satisfy constraint: Member must satisfy constraint: [Member must have length greater than or equal to 1]",
  ],
  ['CreateMicrovmImage', { ...IMAGE, name: 'a b' }, one("'a b' at 'name'", 'satisfy regular expression pattern: [a-zA-Z0-9-_]+')],
  ['CreateMicrovmImage', { ...IMAGE, name: 'a\n' }, one("'a\n' at 'name'", 'satisfy regular expression pattern: [a-zA-Z0-9-_]+')],
  ['CreateMicrovmImage', { ...IMAGE, codeArtifact: {} }, one("null at 'codeArtifact.uri'", 'not be null')],
  [
    'CreateMicrovmImage',
    { ...IMAGE, hooks: { microvmHooks: { run: 'YES', runTimeoutInSeconds: 61 } } },
    "2 validation errors detected: Value 'YES' at 'hooks.microvmHooks.run' failed to satisfy constraint: Member must satisfy enum value set: [ENABLED, DISABLED]; " +
      "Value '61' at 'hooks.microvmHooks.runTimeoutInSeconds' failed to satisfy constraint: Member must have value less than or equal to 60",
  ],
  [
    'CreateMicrovmImage',
    { ...IMAGE, environmentVariables: { 'a b': 'x' } },
    "1 validation error detected: Value at 'environmentVariables' failed to satisfy constraint: Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [^\\s]+]",
  ],
  ['CreateMicrovmImage', { ...IMAGE, environmentVariables: Object.fromEntries(Array.from({ length: 51 }, (_, at) => [`V${at}`, ''])) }, one("at 'environmentVariables'", 'have length less than or equal to 50')],
  ['ListMicrovms', { maxResults: '51' }, one("'51' at 'maxResults'", 'have value less than or equal to 50')],
  ['UpdateMicrovmImageVersion', { imageIdentifier: 'a', imageVersion: '1.0' }, one("null at 'status'", 'not be null')],
  ['CreateMicrovmShellAuthToken', { microvmIdentifier: 'a', expirationInMinutes: 0 }, one("'0' at 'expirationInMinutes'", 'have value greater than or equal to 1')],
  ['CreateMicrovmAuthToken', { microvmIdentifier: 'a', expirationInMinutes: 1, allowedPorts: [] }, one("'[]' at 'allowedPorts'", 'have length greater than or equal to 1')],
  ['CreateMicrovmAuthToken', { microvmIdentifier: 'a', expirationInMinutes: 1, allowedPorts: [{ port: 65536 }] }, one("'65536' at 'allowedPorts.1.member.port'", 'have value less than or equal to 65535')],
];
for (const [operation, input, text] of VIOLATIONS) {
  test(`${operation} ${JSON.stringify(input).slice(0, 80)}: AWS's text, all violations at once (1.6)`, () => {
    const refusal = refusalOf(operation, input);
    assert.deepEqual([refusal.exception, refusal.wireMessage], ['ValidationException', text]);
  });
}

const WRONG_TYPES: readonly (readonly [OperationName, unknown, string])[] = [
  ['RunMicrovm', { imageIdentifier: 5 }, 'NUMBER_VALUE can not be converted to a String'],
  ['RunMicrovm', { imageIdentifier: ['a'] }, 'Start of list found where not expected'],
  ['RunMicrovm', { imageIdentifier: {} }, 'Start of structure or map found where not expected.'],
  ['ListMicrovms', { maxResults: 'many' }, 'STRING_VALUE can not be converted to an Integer'],
  ['RunMicrovm', { imageIdentifier: 'a', logging: { disabled: {}, cloudWatch: {} } }, 'Exactly one member of the union must be given: disabled, cloudWatch'],
  ['CreateMicrovmAuthToken', { microvmIdentifier: 'a', expirationInMinutes: 1, allowedPorts: [{ allPorts: true }] }, 'Expected null'],
  ['CreateMicrovmAuthToken', { microvmIdentifier: 'a', expirationInMinutes: 1, allowedPorts: [{}] }, 'Exactly one member of the union must be given: port, range, allPorts'],
];
for (const [operation, input, text] of WRONG_TYPES) {
  test(`${operation} ${JSON.stringify(input)}: a wrong JSON type is a SerializationException with a capital Message (1.3)`, () => {
    const refusal = refusalOf(operation, input);
    assert.equal(refusal.exception, 'SerializationException');
    assert.deepEqual(JSON.parse(renderError(refusal).body), { Message: text });
  });
}

test('names that objects have anyway are data in maps', () => {
  const environmentVariables = JSON.parse('{"constructor":"a","toString":"b"}');
  const parsed = parseInput(OPERATIONS.CreateMicrovmImage.input, { ...IMAGE, environmentVariables });
  assert.deepEqual(parsed.environmentVariables, environmentVariables);
});

test('an error answer is read from header, __type or code, message or Message (appendix A)', () => {
  const read = (body: string, headers: Record<string, string> = {}) => parseError({ status: 400, headers, body });
  assert.equal(read('{"message":"m"}', { 'x-amzn-errortype': 'ValidationException:http://x/' }).exception, 'ValidationException');
  assert.equal(read('{"__type":"com.amazon#AccessDeniedException","Message":"m"}').exception, 'AccessDeniedException');
  assert.deepEqual(read('<html>'), { status: 400, exception: undefined, message: 'HTTP status 400', requestId: undefined });
});

test('templates fill and match', () => {
  const path = fillTemplate(OPERATIONS.GetMicrovmImageVersion.path, { imageIdentifier: 'arn:a/b', imageVersion: '1.0' });
  assert.equal(path, '/2025-09-09/microvm-images/arn%3Aa%2Fb/versions/1.0');
  assert.ok(matchesTemplate(OPERATIONS.GetMicrovmImageVersion.path, path));
  assert.ok(!matchesTemplate(OPERATIONS.GetMicrovmImage.path, path));
  assert.throws(() => fillTemplate(OPERATIONS.GetMicrovm.path, {}));
});

test('a list or map that is too long is refused before its entries are looked at', () => {
  const entries = 50_000;
  const list = Array.from({ length: entries }, () => '');
  const map = Object.fromEntries(list.map((_, at) => [`#${at}`, '']));
  const tooLong: readonly (readonly [OperationName, string, object, number])[] = [
    ['CreateMicrovmImage', 'tags', { ...IMAGE, tags: map }, 1000],
    ['CreateMicrovmImage', 'environmentVariables', { ...IMAGE, environmentVariables: { ' ': '', ...map } }, 50],
    ['CreateMicrovmImage', 'cpuConfigurations', { ...IMAGE, cpuConfigurations: list }, 1000],
    ['CreateMicrovmImage', 'additionalOsCapabilities', { ...IMAGE, additionalOsCapabilities: list }, 1000],
    ['CreateMicrovmImage', 'resources', { ...IMAGE, resources: list }, 1],
    ['CreateMicrovmImage', 'egressNetworkConnectors', { ...IMAGE, egressNetworkConnectors: list }, 1],
    ['RunMicrovm', 'ingressNetworkConnectors', { imageIdentifier: 'a', ingressNetworkConnectors: list }, 10],
    ['CreateMicrovmAuthToken', 'allowedPorts', { microvmIdentifier: 'a', expirationInMinutes: 1, allowedPorts: list }, 1000],
    ['UntagResource', 'tagKeys', { Resource: 'arn:aws:lambda:us-east-1:000000000000:microvm-image:a', tagKeys: list }, 1000],
  ];
  for (const [operation, member, input, most] of tooLong) {
    const { exception, wireMessage } = refusalOf(operation, input);
    assert.equal(exception, 'ValidationException', member);
    assert.match(wireMessage ?? '', new RegExp(`^1 validation error detected: Value .*at '${member}' failed to satisfy constraint: Member must have length less than or equal to ${most}$`, 's'));
    assert.ok((wireMessage ?? '').length < 5000, 'no more than some of it is shown');
  }
});

test('a map is rendered once, however many of its keys or values are wrong', () => {
  const renderings = (key: string, wrong: number) => {
    let listings = 0;
    const counting: ProxyHandler<Record<string, string>> = {
      ownKeys: (map) => {
        listings += 1;
        return Reflect.ownKeys(map);
      },
    };
    const tags = new Proxy(Object.fromEntries(Array.from({ length: wrong }, (_, at) => [`${key}${at}`, '#'])), counting);
    assert.match(refusalOf('CreateMicrovmImage', { ...IMAGE, tags }).wireMessage ?? '', /^1 validation error detected: Value '\{\S0=#/);
    return listings;
  };
  for (const key of ['#', 'k']) assert.equal(renderings(key, 500), renderings(key, 1));
});

test('of very many violations a hundred are told', () => {
  const allowedPorts = Array.from({ length: 1000 }, () => ({ port: 0 }));
  const { wireMessage } = refusalOf('CreateMicrovmAuthToken', { microvmIdentifier: 'a', expirationInMinutes: 1, allowedPorts });
  assert.match(wireMessage ?? '', /^1000 validation errors detected: /);
  assert.equal(wireMessage?.split('; ').length, 100);
});
