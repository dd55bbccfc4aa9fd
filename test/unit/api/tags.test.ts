import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ListTagsCommand, TagResourceCommand, UntagResourceCommand } from '@aws-sdk/client-lambda-microvms';
import { DEFAULT_REALM, imageArn } from '../../../src/domain/ids.ts';
import { imageRecord, versionRecord } from '../../fakes/records.ts';
import { startApi } from './bed.ts';
import type { ApiBed } from './bed.ts';

const ARN = imageArn(DEFAULT_REALM, 'app');
const ENCODED = `/2017-03-31/tags/${encodeURIComponent(ARN)}`;
const JSON_TYPE = { 'content-type': 'application/json' };

describe('tags, over the real store', () => {
  let bed: ApiBed;
  before(async () => {
    bed = await startApi();
    await bed.store.images.insert(imageRecord('app', { tags: {} }), versionRecord('app'));
  });
  after(() => bed[Symbol.asyncDispose]());

  const listed = async () => (await bed.lambda.send(new ListTagsCommand({ Resource: ARN }))).Tags;
  const body = (tags: Record<string, string>) => ({ body: JSON.stringify({ Tags: tags }), headers: JSON_TYPE });

  test('an image without tags has none; tagging merges, untagging takes away', async () => {
    assert.deepEqual(await listed(), {});
    await bed.lambda.send(new TagResourceCommand({ Resource: ARN, Tags: { team: 'a', 'cost centre': 'ü=1' } }));
    await bed.lambda.send(new TagResourceCommand({ Resource: ARN, Tags: { team: 'b', empty: '' } }));
    assert.deepEqual(await listed(), { team: 'b', 'cost centre': 'ü=1', empty: '' });
    await bed.lambda.send(new UntagResourceCommand({ Resource: ARN, TagKeys: ['cost centre', 'empty', 'was never there'] }));
    assert.deepEqual(await listed(), { team: 'b' });
    assert.deepEqual((await bed.store.images.get('app'))?.tags, { team: 'b' });
  });

  test('tagging and untagging answer 204 without a body', async () => {
    for (const answer of [await bed.call('POST', ENCODED, body({ x: '1' })), await bed.call('DELETE', `${ENCODED}?tagKeys=x&tagKeys=y`)]) {
      assert.deepEqual([answer.status, answer.text, answer.headers.get('content-type')], [204, '', null]);
      assert.ok(answer.headers.get('x-amzn-requestid'));
    }
  });

  test('the ARN may come with raw colons', async () => {
    const answer = await bed.call('GET', `/2017-03-31/tags/${ARN}`);
    assert.deepEqual([answer.status, JSON.parse(answer.text)], [200, { Tags: { team: 'b' } }]);
  });

  const other = (resource: string) => `/2017-03-31/tags/${encodeURIComponent(`arn:aws:lambda:us-east-1:000000000000:${resource}`)}`;
  const many = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`k${n}`, 'v']));
  const refused: [string, string, string, { body: string; headers: Record<string, string> } | undefined, number, string, unknown][] = [
    ['an image that is not there', 'GET', other('microvm-image:none'), undefined, 404, 'ResourceNotFoundException', { message: 'MicroVMImage not found for MicroVMImageID: arn:aws:lambda:us-east-1:000000000000:microvm-image:none', resourceId: null, resourceType: null }],
    ['an image of another account', 'GET', ENCODED.replaceAll('000000000000', '111111111111'), undefined, 404, 'ResourceNotFoundException', { message: `MicroVMImage not found for MicroVMImageID: ${ARN.replace('000000000000', '111111111111')}`, resourceId: null, resourceType: null }],
    ['a function', 'GET', other('function:f'), undefined, 404, 'ResourceNotFoundException', { message: 'The resource you requested does not exist: arn:aws:lambda:us-east-1:000000000000:function:f', resourceId: null, resourceType: null }],
    ['a microVM, which has no tags', 'GET', other('microvm:microvm-1'), undefined, 400, 'InvalidParameterValueException', /^1 validation error detected: Value 'arn:aws:lambda:us-east-1:000000000000:microvm:microvm-1' at 'resource' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:/],
    ['a bare name', 'POST', '/2017-03-31/tags/app', body({ a: 'b' }), 400, 'InvalidParameterValueException', /Value 'app' at 'resource'/],
    ['no tags', 'POST', ENCODED, { body: '{}', headers: JSON_TYPE }, 400, 'InvalidParameterValueException', { Type: 'User', message: "1 validation error detected: Value null at 'tags' failed to satisfy constraint: Member must not be null" }],
    ['a value that is too long', 'POST', ENCODED, body({ a: 'x'.repeat(257) }), 400, 'InvalidParameterValueException', /at 'tags' failed to satisfy constraint: Member must satisfy constraint: \[Member must have length less than or equal to 256\]/],
    ['a key with a forbidden character', 'POST', ENCODED, body({ 'a#': 'x' }), 400, 'InvalidParameterValueException', /Map keys must satisfy constraint: \[Member must satisfy regular expression pattern/],
    ['no keys', 'DELETE', ENCODED, undefined, 400, 'InvalidParameterValueException', { Type: 'User', message: "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be null" }],
    ['a key of AWS', 'POST', ENCODED, body({ 'aws:x': '1' }), 400, 'InvalidParameterValueException', { Type: 'User', message: "The tag key 'aws:x' is not valid: keys that begin with 'aws:' are reserved." }],
    ['more than fifty', 'POST', ENCODED, body(many), 400, 'InvalidParameterValueException', { Type: 'User', message: 'A resource can have at most 50 tags.' }],
  ];
  for (const [title, method, path, sent, status, exception, expected] of refused) {
    test(`refused: ${title}`, async () => {
      const answer = await bed.call(method, path, sent ?? {});
      assert.deepEqual([answer.status, answer.headers.get('x-amzn-errortype')], [status, exception], answer.text);
      if (expected instanceof RegExp) assert.match(JSON.parse(answer.text).message, expected);
      else assert.deepEqual(JSON.parse(answer.text), expected);
      assert.deepEqual(await listed(), { team: 'b' });
    });
  }

  test('what breaks inside is ServiceException here', async () => {
    bed.control.instead.set('tags.list', async () => {
      throw new Error('secret');
    });
    const answer = await bed.call('GET', ENCODED);
    bed.control.instead.clear();
    assert.deepEqual([answer.status, answer.headers.get('x-amzn-errortype')], [500, 'ServiceException']);
    assert.equal(JSON.parse(answer.text).Type, 'Service');
    assert.doesNotMatch(answer.text, /secret/);
  });
});
