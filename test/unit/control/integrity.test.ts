/** Which files are verified, and that only one verification reads at a time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createIntegrityUseCases } from '../../../src/control/integrity.ts';
import { DEFAULT_REALM } from '../../../src/domain/ids.ts';
import type { Inspection, VerifyRequest } from '../../../src/domain/integrity.ts';
import { openStore } from '../../../src/store/store.ts';
import { imageRecord, insertLaunchable, microvmRecord, versionRecord } from '../../fakes/records.ts';

/** Finds a fault in everything that it is shown. */
const inspect = (): Inspection => ({
  async *snapshot() {
    yield { file: 'memory', sizeBytes: 1, fault: 'is missing' };
  },
  async *generation() {
    yield { file: 'memory.diff', sizeBytes: 1, fault: 'is missing' };
  },
  [Symbol.asyncDispose]: async () => undefined,
});
const EVERYTHING: VerifyRequest = { images: [], microvms: [] };
const signal = () => AbortSignal.timeout(10_000);

test('everything at rest is read once; a fault in what has gone meanwhile is none', async () => {
  await using store = await openStore({ path: ':memory:' });
  await insertLaunchable(store);
  for (const name of ['one', 'two']) await store.microvms.insert(microvmRecord(name, { state: 'SUSPENDED' }));
  await store.microvms.insert(microvmRecord('awake', { state: 'RUNNING' }));
  const integrity = createIntegrityUseCases({ store, realm: DEFAULT_REALM, inspect });
  const subjects = async (request = EVERYTHING) => (await Array.fromAsync(await integrity.verify(request, signal()))).map(({ subject }) => subject);
  assert.deepEqual((await subjects()).toSorted(), ['app:1.0', 'microvm-one', 'microvm-two']);
  assert.deepEqual(await subjects({ images: [], microvms: ['microvm-awake'] }), ['app:1.0']);
  const findings = await integrity.verify(EVERYTHING, signal());
  await store.microvms.apply('microvm-one', 'terminate');
  assert.deepEqual((await Array.fromAsync(findings)).map(({ subject }) => subject), ['app:1.0', 'microvm-two']);
});

test('a second one is refused until the first has ended or its client has gone', async () => {
  await using store = await openStore({ path: ':memory:' });
  const integrity = createIntegrityUseCases({ store, realm: DEFAULT_REALM, inspect });
  const client = new AbortController();
  await integrity.verify(EVERYTHING, client.signal);
  await assert.rejects(integrity.verify(EVERYTHING, signal()), { kind: 'conflict', message: 'Another verification is under way: wait for its end.' });
  client.abort();
  await Array.fromAsync(await integrity.verify(EVERYTHING, signal()));
  await Array.fromAsync(await integrity.verify(EVERYTHING, signal()));
});

test('what is not there, or has no snapshot, is refused', async () => {
  await using store = await openStore({ path: ':memory:' });
  await store.images.insert(imageRecord('app'), versionRecord('app'));
  const integrity = createIntegrityUseCases({ store, realm: DEFAULT_REALM, inspect });
  const image = (imageIdentifier: string, imageVersion: string | null) => integrity.verify({ images: [{ imageIdentifier, imageVersion }], microvms: [] }, signal());
  await assert.rejects(image('none', null), { kind: 'not-found' });
  await assert.rejects(image('app', '2.0'), { kind: 'not-found' });
  await assert.rejects(image('app', '1.0'), { kind: 'validation', message: 'Version 1.0 of the image app is PENDING: it has no snapshot to verify.' });
  await assert.rejects(integrity.verify({ images: [], microvms: ['microvm-none'] }, signal()), { kind: 'not-found' });
});
