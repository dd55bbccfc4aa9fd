/** Calls per second, by real clients: off by default; AWS's figures or an operator's own, one bucket for each operation. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as sdk from '@aws-sdk/client-lambda-microvms';
import { startApi } from './bed.ts';

const id = { microvmIdentifier: 'microvm-one' };
const suspend = () => new sdk.SuspendMicrovmCommand(id);

test('without rates nothing is limited', async () => {
  await using bed = await startApi();
  for (let n = 0; n < 20; n += 1) await bed.lambda.send(suspend());
});

test('one call too many in a second is 429 with Retry-After, and what it limits; time gives the calls back', async () => {
  await using bed = await startApi({}, { choice: { limits: 'aws' } });
  for (let n = 0; n < 2; n += 1) await bed.lambda.send(suspend());
  const thrown = await bed.lambda.send(suspend()).catch((error: unknown) => error);
  assert.ok(thrown instanceof sdk.ThrottlingException);
  assert.deepEqual(
    [thrown.$metadata.httpStatusCode, thrown.message, thrown.retryAfterSeconds, thrown.serviceCode, thrown.quotaCode],
    [429, 'Rate exceeded', 1, 'lambda', 'LULL-RATE-SUSPENDMICROVM'],
  );
  // Each operation for itself.
  for (let n = 0; n < 10; n += 1) await bed.lambda.send(new sdk.TerminateMicrovmCommand(id));
  await assert.rejects(bed.lambda.send(new sdk.TerminateMicrovmCommand(id)), { name: 'ThrottlingException' });
  await bed.lambda.send(new sdk.ListMicrovmsCommand({}));
  // Two a second: the next after half a second, and a long rest saves up no more than a second's worth.
  bed.time.nowMs += 500;
  await bed.lambda.send(suspend());
  await assert.rejects(bed.lambda.send(suspend()), { name: 'ThrottlingException' });
  bed.time.nowMs += 60_000;
  for (let n = 0; n < 2; n += 1) await bed.lambda.send(suspend());
  await assert.rejects(bed.lambda.send(suspend()), { name: 'ThrottlingException' });
  assert.equal(bed.control.calls.filter(({ useCase }) => useCase === 'microvms.suspend').length, 5);
});

test('a clock that is set back neither fills nor empties', async () => {
  await using bed = await startApi({}, { choice: { limits: 'aws' } });
  await bed.lambda.send(suspend());
  bed.time.nowMs -= 10_000;
  await bed.lambda.send(suspend());
  await assert.rejects(bed.lambda.send(suspend()), { name: 'ThrottlingException' });
  bed.time.nowMs += 500;
  await bed.lambda.send(suspend());
});

test('who is not let in uses nothing up', async () => {
  await using bed = await startApi({}, { choice: { limits: 'aws' } });
  for (let n = 0; n < 5; n += 1) {
    const answer = await fetch(`${bed.origin}/2025-09-09/microvms/microvm-one/suspend`, { method: 'POST' });
    assert.equal(answer.status, 403);
  }
  for (let n = 0; n < 2; n += 1) await bed.lambda.send(suspend());
});

test('a figure of one’s own is enforced alone', async () => {
  await using bed = await startApi({}, { choice: { given: { 'get-rate': 1 } } });
  await bed.lambda.send(new sdk.GetMicrovmCommand(id));
  await assert.rejects(bed.lambda.send(new sdk.GetMicrovmCommand(id)), { name: 'ThrottlingException' });
  for (let n = 0; n < 5; n += 1) await bed.lambda.send(suspend());
});
