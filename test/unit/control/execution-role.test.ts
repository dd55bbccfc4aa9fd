/** The keys of an execution role over the life of a microVM: contract reference, section 8.2. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { microvmsBed } from './microvms-bed.ts';

/** Of another account: no role of this one is looked up. */
const ROLE = 'arn:aws:iam::111122223333:role/app';
const MINUTE_MS = 60_000;

test('are good for 55 minutes from the launch, the same over a sleep of 313 seconds, others after 70 minutes', async () => {
  await using bed = await microvmsBed();
  const launchedMs = bed.clock.nowMs();
  const id = await bed.running({ executionRoleArn: ROLE, idlePolicy: null });
  const { useCases } = bed.microvms;
  const credentials = () => useCases.executionRoleCredentials(id);
  bed.clock.advance(MINUTE_MS / 2);
  const [first, second] = await Promise.all([credentials(), credentials()]);
  assert.deepEqual(second, first);
  assert.equal(first!.expiresAtMs, launchedMs + 55 * MINUTE_MS);
  await useCases.suspend(id);
  bed.clock.advance(313_000);
  await useCases.resume(id);
  assert.deepEqual(await credentials(), first);
  bed.clock.advance(44 * MINUTE_MS);
  assert.deepEqual(await credentials(), first);
  // Others are there five minutes before the end, and the first ones good until then.
  bed.clock.advance(MINUTE_MS);
  const fresh = await credentials();
  assert.equal(fresh!.expiresAtMs, bed.clock.nowMs() + 55 * MINUTE_MS);
  const key = await bed.store.accessKeys.get(first!.accessKeyId);
  assert.deepEqual([key?.session?.roleArn, key?.session?.microvmId], [ROLE, id]);
  assert.match(key!.session!.sessionName, /^Lambda-microvmsExecutor-.+/);
  await useCases.suspend(id);
  bed.clock.advance(70 * MINUTE_MS);
  await useCases.resume(id);
  assert.notDeepEqual(await credentials(), fresh);
  assert.equal(await bed.store.accessKeys.get(first!.accessKeyId), undefined, 'what has expired does not heap up');
});

test('there are none without a role, and none after the end, however it came', async () => {
  await using bed = await microvmsBed();
  const { useCases } = bed.microvms;
  assert.equal(await useCases.executionRoleCredentials(await bed.running()), undefined);
  assert.equal(await useCases.executionRoleCredentials('microvm-unknown'), undefined);
  const [told, died] = [await bed.running({ executionRoleArn: ROLE }), await bed.running({ executionRoleArn: ROLE })];
  const kept = await Promise.all([told, died].map((id) => useCases.executionRoleCredentials(id)));
  await useCases.terminate(told);
  bed.microvms.vmmDied(died, (await useCases.get(died)).process!);
  // Queued behind the end.
  await assert.rejects(useCases.suspend(died));
  for (const id of [told, died]) assert.equal(await useCases.executionRoleCredentials(id), undefined);
  for (const credentials of kept) assert.equal(await bed.store.accessKeys.get(credentials!.accessKeyId), undefined);
});
