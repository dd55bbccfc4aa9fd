import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ListTagsCommand, TagResourceCommand, UntagResourceCommand } from '@aws-sdk/client-lambda-microvms';
import { imageConfig, insertLaunchable, microvmRecord } from '../../fakes/records.ts';
import { startApi } from './bed.ts';
import type { ApiBed } from './bed.ts';

const PATH = '/2026-04-04/network-connectors';
const ROLE = 'arn:aws:iam::000000000000:role/network';
const CONFIGURATION = {
  VpcEgressConfiguration: {
    SubnetIds: ['subnet-1'],
    SecurityGroupIds: ['sg-1'],
    NetworkProtocol: 'IPv4',
    AssociatedComputeResourceTypes: ['MicroVm'],
  },
};
const CREATE = { Name: 'vpc', Configuration: CONFIGURATION, OperatorRole: ROLE, ClientToken: 'first' };
const DUAL_STACK = { VpcEgressConfiguration: { ...CONFIGURATION.VpcEgressConfiguration, NetworkProtocol: 'DualStack' } };

describe('network connectors, over the real store', () => {
  let bed: ApiBed;
  let arn: string;
  before(async () => {
    bed = await startApi();
  });
  after(() => bed[Symbol.asyncDispose]());

  async function call(method: string, path: string, body?: object) {
    const sent = body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } };
    const answer = await bed.call(method, path, sent);
    return { status: answer.status, type: answer.headers.get('x-amzn-errortype'), body: JSON.parse(answer.text) };
  }
  const one = (identifier: string) => `${PATH}/${encodeURIComponent(identifier)}`;
  const listed = async (query = '') => (await call('GET', `${PATH}${query}`)).body.NetworkConnectors.map(({ Name }: { Name: string }) => Name);

  test('one is made, ACTIVE at once, and answered with exactly the members of a creation', async () => {
    const { status, body } = await call('POST', PATH, CREATE);
    arn = body.Arn;
    assert.match(body.Id, /^nc-[0-9a-f-]{36}$/);
    const identity = { Arn: `arn:aws:lambda:us-east-1:000000000000:network-connector:${body.Id}`, Name: 'vpc', Id: body.Id };
    assert.deepEqual([status, body], [202, { ...identity, Configuration: CONFIGURATION, OperatorRole: ROLE, State: 'ACTIVE' }]);
  });

  test('it is found by ARN, raw or encoded, by id and by name; what it has not is absent', async () => {
    const id = arn.slice(arn.lastIndexOf(':') + 1);
    const LastModified = new Date(bed.time.nowMs).toISOString();
    const expected = { Arn: arn, Name: 'vpc', Id: id, Version: 1, Configuration: CONFIGURATION, OperatorRole: ROLE, State: 'ACTIVE', StateReason: 'Initial creation', LastModified };
    for (const path of [one(arn), `${PATH}/${arn}`, one(id), one('vpc')]) {
      assert.deepEqual(await call('GET', path), { status: 200, type: null, body: expected }, path);
    }
    assert.deepEqual((await call('GET', PATH)).body, { NetworkConnectors: [{ Arn: arn, Name: 'vpc', Id: id, Type: 'VPC_EGRESS', State: 'ACTIVE', LastModified }] });
  });

  test('the same call with the same token makes nothing new; another call with it is refused', async () => {
    assert.equal((await call('POST', PATH, CREATE)).body.Arn, arn);
    assert.deepEqual(await listed(), ['vpc']);
    const other = await call('POST', PATH, { ...CREATE, Name: 'other' });
    assert.deepEqual([other.status, other.type, other.body], [409, 'ResourceConflictException', { message: 'The client token first has already been used with different parameters.', Type: 'User' }]);
    const same = await call('POST', PATH, { ...CREATE, ClientToken: 'second' });
    assert.deepEqual([same.status, same.type, same.body.message], [409, 'ResourceConflictException', "A network connector with the name 'vpc' already exists."]);
  });

  const inVpc = (members: object) => ({ ...CREATE, Configuration: { VpcEgressConfiguration: { ...CONFIGURATION.VpcEgressConfiguration, ...members } } });
  const refused: [string, object, RegExp][] = [
    ['no ClientToken', { ...CREATE, ClientToken: undefined }, /^ClientToken is a required field$/],
    ['no OperatorRole', { ...CREATE, OperatorRole: undefined }, /^OperatorRole is a required field$/],
    ['no NetworkProtocol', inVpc({ NetworkProtocol: undefined }), /^NetworkProtocol is a required field$/],
    ['no compute types', inVpc({ AssociatedComputeResourceTypes: undefined }), /^AssociatedComputeResourceTypes is a required field$/],
    ['no Name', { ...CREATE, Name: undefined }, /^1 validation error detected: Value null at 'name' failed/],
    ['a Name with a blank', { ...CREATE, Name: 'a b' }, /Value 'a b' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern/],
    ['another protocol', inVpc({ NetworkProtocol: 'IPv6' }), /at 'configuration.vpcEgressConfiguration.networkProtocol' .* enum value set: \[IPv4, DualStack\]/],
    ['another compute type', inVpc({ AssociatedComputeResourceTypes: ['WebFunction'] }), /enum value set: \[MicroVm\]/],
    ['no subnet', inVpc({ SubnetIds: [] }), /at 'configuration.vpcEgressConfiguration.subnetIds' .* length greater than or equal to 1/],
    ['seventeen subnets', inVpc({ SubnetIds: Array.from({ length: 17 }, () => 'subnet-1') }), /length less than or equal to 16/],
    ['six security groups', inVpc({ SecurityGroupIds: Array.from({ length: 6 }, () => 'sg-1') }), /length less than or equal to 5/],
    ['a subnet that is none', inVpc({ SubnetIds: ['eni-1'] }), /pattern: subnet-/],
    ['a role that is none', { ...CREATE, OperatorRole: 'admin' }, /Value 'admin' at 'operatorRole'/],
  ];
  for (const [title, body, text] of refused) {
    test(`refused: ${title}`, async () => {
      const answer = await call('POST', PATH, { Name: 'bad', ...body });
      assert.deepEqual([answer.status, answer.type, answer.body.Type], [400, 'InvalidParameterValueException', 'User']);
      assert.match(answer.body.message, text);
      assert.deepEqual(await listed(), ['vpc']);
    });
  }

  test('pages have a NextMarker until the last, which has none; State filters', async () => {
    for (const Name of ['b', 'c']) await call('POST', PATH, { ...CREATE, Name, ClientToken: Name });
    const first = await call('GET', `${PATH}?MaxItems=2`);
    const second = await call('GET', `${PATH}?MaxItems=2&Marker=${encodeURIComponent(first.body.NextMarker)}`);
    assert.deepEqual([...first.body.NetworkConnectors, ...second.body.NetworkConnectors].map(({ Name }) => Name), ['c', 'b', 'vpc']);
    assert.equal('NextMarker' in second.body, false);
    assert.deepEqual(await listed('?State=PENDING'), []);
    assert.deepEqual(await listed('?State=ACTIVE&MaxItems=100'), ['c', 'b', 'vpc']);
    for (const query of ['MaxItems=101', 'MaxItems=0', 'State=GONE']) {
      assert.equal((await call('GET', `${PATH}?${query}`)).type, 'InvalidParameterValueException', query);
    }
  });

  test('an update replaces the configuration; one that changes nothing says so; its token counts', async () => {
    const update = { Configuration: DUAL_STACK, ClientToken: 'u1' };
    bed.time.nowMs += 1000;
    const LastModified = new Date(bed.time.nowMs).toISOString();
    const { status, body } = await call('PUT', one('vpc'), update);
    const id = arn.slice(arn.lastIndexOf(':') + 1);
    const updated = { LastUpdateStatus: 'Successful', LastUpdateStatusReason: 'Configuration updated', LastModified };
    assert.deepEqual([status, body], [202, { Arn: arn, Name: 'vpc', Id: id, Configuration: DUAL_STACK, OperatorRole: ROLE, State: 'ACTIVE', ...updated }]);
    assert.equal((await call('PUT', one(arn), { ...update, ClientToken: 'u2' })).body.LastUpdateStatusReason, 'No configuration changes detected');
    assert.equal((await call('GET', one(arn))).body.Version, 2);
    const reused = await call('PUT', one(arn), { Configuration: CONFIGURATION, ClientToken: 'u2' });
    assert.deepEqual([reused.status, reused.type], [409, 'ResourceConflictException']);
    assert.equal((await call('PUT', one(arn), { Configuration: CONFIGURATION })).body.message, 'ClientToken is a required field');
  });

  test('they have tags, under the ARN with their id and that with their name', async () => {
    const named = arn.replace(/[^:]+$/, 'vpc');
    for (const [Resource, value] of [[arn, 'a'], [named, 'b']] as const) {
      await bed.lambda.send(new TagResourceCommand({ Resource, Tags: { team: value, gone: '' } }));
      await bed.lambda.send(new UntagResourceCommand({ Resource, TagKeys: ['gone'] }));
      for (const one of [arn, named]) assert.deepEqual((await bed.lambda.send(new ListTagsCommand({ Resource: one }))).Tags, { team: value });
    }
    for (const Resource of [arn.replace(/[^:]+$/, 'nobody'), named.replace('000000000000', '111111111111')]) {
      const missing = { name: 'ResourceNotFoundException', message: `Network connector not found for: ${Resource}` };
      await assert.rejects(bed.lambda.send(new TagResourceCommand({ Resource, Tags: { team: 'c' } })), missing);
      await assert.rejects(bed.lambda.send(new ListTagsCommand({ Resource })), missing);
    }
  });

  test('one that is used is neither changed nor deleted', async () => {
    await insertLaunchable(bed.store, 'app', { config: imageConfig({ egressConnectors: [arn] }) });
    await bed.store.microvms.insert(microvmRecord('one', { egressConnectors: [arn] }));
    for (const answer of [await call('PUT', one(arn), { Configuration: CONFIGURATION, ClientToken: 'u3' }), await call('DELETE', one(arn))]) {
      assert.deepEqual([answer.status, answer.type], [409, 'ResourceConflictException']);
      assert.equal(answer.body.message, `The network connector ${arn} is in use by the MicroVM microvm-one. Every MicroVM that uses it must be terminated first.`);
    }
    await bed.store.microvms.apply('microvm-one', 'launchFailed');
    assert.equal((await call('PUT', one(arn), { Configuration: CONFIGURATION, ClientToken: 'u3' })).status, 202);
    assert.match((await call('DELETE', one(arn))).body.message, /is in use by version 1\.0 of the MicroVM image app\./);
    await bed.store.images.remove('app');
  });

  test('a deletion answers DELETING, then it is not found, in the words and the capitals of this family', async () => {
    const { status, body } = await call('DELETE', one(arn));
    assert.deepEqual([status, body.State, body.Arn], [202, 'DELETING', arn]);
    for (const [method, path] of [['GET', one(arn)], ['DELETE', one(arn)]] as const) {
      assert.deepEqual(await call(method, path), { status: 404, type: 'ResourceNotFoundException', body: { Message: `Network connector not found for: ${arn}`, Type: 'User' } });
    }
    assert.deepEqual(await listed(), ['c', 'b']);
    assert.equal((await call('GET', one(arn.replace('000000000000', '111111111111')))).status, 404);
    await assert.rejects(bed.store.microvms.insert(microvmRecord('two', { egressConnectors: [arn] })), { kind: 'not-found', message: `Network connector not found for: ${arn}` });
  });
});
