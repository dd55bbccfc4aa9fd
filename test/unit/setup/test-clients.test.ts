/** The clients of the tests: installed once, again when their list changes, and only whole. */
import assert from 'node:assert/strict';
import { access, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findTestClients, installTestClients } from '../../../src/setup/test-clients.ts';

const skip = await access('/usr/bin/python3').then(
  () => false,
  () => 'no /usr/bin/python3',
);

test('the clients of the tests are made once, again when their list changes, and count only where all is there', { skip }, async () => {
  const root = await mkdtemp(join(tmpdir(), 'lull-test-'));
  const list = join(root, 'test/clients/requirements.txt');
  const said: string[] = [];
  const install = () => installTestClients({ root, say: (line) => void said.push(line), signal: new AbortController().signal });
  try {
    await mkdir(join(root, 'test/clients'), { recursive: true });
    await writeFile(list, '# nothing\n');
    assert.equal((await findTestClients(root)).installed, false);
    assert.equal(await install(), true);
    assert.equal((await findTestClients(root)).installed, true);
    said.length = 0;
    assert.equal(await install(), false);
    assert.deepEqual(said, []);
    await writeFile(list, `./no-such-wheel.whl --hash=sha256:${'0'.repeat(64)}\n`);
    assert.equal((await findTestClients(root)).installed, false);
    await assert.rejects(install(), /^LullError: installing Python clients for the tests: `.*python` ended with status 1\n[^]*no-such-wheel/);
    assert.equal((await findTestClients(root)).installed, false);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
});
