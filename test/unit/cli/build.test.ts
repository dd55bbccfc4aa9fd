/** What `lull build` says of a server that refuses, against a listening one. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { CreateRoleCommand, DeleteRoleCommand } from '@aws-sdk/client-iam';
import type { Machine, Terminal } from '../../../src/cli/command-line.ts';
import { runCommandLine } from '../../../src/cli/program.ts';
import { createPassRole } from '../../../src/control/roles/pass-role.ts';
import { LullError } from '../../../src/domain/errors.ts';
import { DEFAULT_REALM } from '../../../src/domain/ids.ts';
import { CREDENTIALS, startApi } from '../api/bed.ts';
import type { ApiBed } from '../api/bed.ts';

const NO_MACHINE = { version: '1.2.3', self: ['lull'], serverOptions: [] } as unknown as Machine;

describe('lull build', () => {
  let bed: ApiBed;
  let folder: string;
  before(async () => {
    bed = await startApi();
    folder = await mkdtemp(join(tmpdir(), 'lull-build-'));
    await writeFile(join(folder, 'Dockerfile'), 'FROM scratch\n');
    await writeFile(join(folder, 'credentials.json'), JSON.stringify({ region: 'us-east-1', account: '000000000000', ...CREDENTIALS }));
    await writeFile(join(folder, 'server.json'), JSON.stringify({ pid: 1, apiUrl: bed.origin, endpointPort: 1, domain: 'd', version: '1' }));
  });
  after(async () => {
    await bed[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  /** @returns the last line that it says */
  async function build(): Promise<string | undefined> {
    const said: string[] = [];
    const terminal: Terminal = {
      env: {},
      uid: 1000,
      dataFolder: () => folder,
      out: (text) => void said.push(text.toString()),
      say: (line) => void said.push(line),
      signal: new AbortController().signal,
    };
    assert.equal(await runCommandLine(['build', folder, '--name', 'app', '--data', folder], { terminal, machine: NO_MACHINE }), 1);
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
