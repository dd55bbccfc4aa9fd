import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPassRole, type RoleCheck } from '../../../src/control/roles/pass-role.ts';
import { createRoleUseCases } from '../../../src/control/roles/role-use-cases.ts';
import { DEFAULT_REALM } from '../../../src/domain/ids.ts';
import { openStore } from '../../../src/store/store.ts';
import { configInput, createInput, imagesBed } from './images-bed.ts';
import { microvmsBed, runInput } from './microvms-bed.ts';

const TRUST = JSON.stringify({ Statement: [{ Effect: 'Allow', Principal: '*', Action: 'sts:AssumeRole' }] });
const own = (role: string) => `arn:aws:iam::000000000000:role/${role}`;
const FOREIGN = 'arn:aws:iam::123456789012:role/from-aws';
/** ARNs that the wire's pattern takes and that no role has: without a slash, with an empty part of the path, with a name that is too long. */
const unreadable = (account: string) => ['nobody', '/team//Mine', `/${'x'.repeat(65)}`].map((role) => `arn:aws:iam::${account}:role${role}`);
const OWN_UNREADABLE = unreadable('000000000000');
const FOREIGN_UNREADABLE = unreadable('123456789012');
/** Sections 1.6 and 1.11. */
const denied = (arn: string) => ({
  kind: 'access-denied',
  message: `User: arn:aws:iam::000000000000:root is not authorized to perform: iam:PassRole on resource: ${arn} because no identity-based policy allows the iam:PassRole action`,
});

test('a role that is named must be there, by the setting', async () => {
  await using store = await openStore({ path: ':memory:' });
  const roles = createRoleUseCases({ roles: store.roles, clock: { nowMs: () => 1 }, random: { bytes: (length) => Buffer.alloc(length) }, realm: DEFAULT_REALM });
  await roles.create({ roleName: 'Mine', path: '/team/', description: null, maxSessionSeconds: 3600, trustPolicy: TRUST, tags: {} });
  const refused: { [C in RoleCheck]: string[] } = {
    off: [],
    'own-account': [own('nobody'), own('Mine'), own('team/mine'), ...OWN_UNREADABLE],
    strict: [own('nobody'), own('Mine'), own('team/mine'), FOREIGN, ...OWN_UNREADABLE, ...FOREIGN_UNREADABLE],
  };
  for (const check of ['off', 'own-account', 'strict'] as const) {
    const passRole = createPassRole({ roles: store.roles, realm: DEFAULT_REALM, check });
    const roleArns = [own('team/Mine'), own('build'), own('run'), own('nobody'), own('Mine'), own('team/mine'), FOREIGN, ...OWN_UNREADABLE, ...FOREIGN_UNREADABLE];
    for (const arn of roleArns) {
      if (refused[check].includes(arn)) await assert.rejects(passRole(arn), denied(arn), `${check} ${arn}`);
      else await passRole(arn);
    }
    await passRole(null);
  }
});

test('images and microVMs whose role is not there are refused, and nothing of them is left', async () => {
  await using images = await imagesBed();
  const config = configInput({ buildRoleArn: own('nobody') });
  await assert.rejects(images.images.create(createInput('app', { config })), denied(own('nobody')));
  assert.equal(await images.store.images.get('app'), undefined);
  await images.made('app');
  await assert.rejects(images.images.update({ imageIdentifier: 'app', config, clientToken: null }), denied(own('nobody')));
  assert.equal((await images.images.get('app')).state, 'CREATED');

  await using microvms = await microvmsBed();
  await assert.rejects(microvms.microvms.useCases.run(runInput({ executionRoleArn: own('nobody') })), denied(own('nobody')));
  assert.equal((await microvms.microvms.useCases.list({}, { limit: 5 })).items.length, 0);
  await microvms.microvms.useCases.run(runInput({ executionRoleArn: own('run') }));
});
