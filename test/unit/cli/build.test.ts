/** What `lull build` says of a server that refuses, against a listening one. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { CreateRoleCommand, DeleteRoleCommand } from '@aws-sdk/client-iam';
import { createPassRole } from '../../../src/control/roles/pass-role.ts';
import { LullError } from '../../../src/domain/errors.ts';
import { DEFAULT_REALM } from '../../../src/domain/ids.ts';
import type { ApiBed } from '../api/bed.ts';
import { startCommandBed } from './installation-bed.ts';
import type { CommandBed } from './installation-bed.ts';

describe('lull build', () => {
  let command: CommandBed;
  let bed: ApiBed;
  let folder: string;
  before(async () => {
    command = await startCommandBed();
    bed = command.api;
    folder = await mkdtemp(join(tmpdir(), 'lull-build-'));
    await writeFile(join(folder, 'Dockerfile'), 'FROM scratch\n');
  });
  after(async () => {
    await command[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  /** @returns the last line that it says */
  async function build(): Promise<string | undefined> {
    const { status, said } = await command.lull('build', folder, '--name', 'app');
    assert.equal(status, 1);
    return said.at(-1);
  }

  for (const [useCase, exists] of [['images.create', false], ['images.update', true]] as const) {
    test(`without its role the error names the mend, which mends: ${useCase}`, async () => {
      const passRole = createPassRole({ roles: bed.store.roles, realm: DEFAULT_REALM, check: 'own-account' });
      if (!exists) bed.control.instead.set('images.get', () => Promise.reject(new LullError('not-found', 'MicroVM image not found')));
      else bed.control.instead.delete('images.get');
      bed.control.instead.set(useCase, async () => {
        await passRole('arn:aws:iam::000000000000:role/build');
        throw new LullError('conflict', 'the role is there');
      });
      await bed.iam.send(new DeleteRoleCommand({ RoleName: 'build' }));
      const said = (await build()) ?? '';
      assert.match(said, /^There is no role build, .*\(or start the server with --role-check off\)\.$/);
      const [, RoleName, AssumeRolePolicyDocument] = /aws iam create-role --role-name (\S+) --assume-role-policy-document '(.*)'/.exec(said) ?? [];
      await bed.iam.send(new CreateRoleCommand({ RoleName, AssumeRolePolicyDocument }));
      assert.equal(await build(), 'the role is there');
    });
  }
});
