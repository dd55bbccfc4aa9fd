/** A guest of a build whose application ends, whichever way the host hears of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BuildFailure } from '../../../src/domain/image.ts';
import { greetBuildGuest, whileAlive } from '../../../src/runtime/build-guest.ts';
import type { Machine } from '../../../src/vmm/driver.ts';
import { FakeGuest, welcomeOf } from '../guest/fake-guest.ts';
import { DEFAULTS } from '../guest/loopback.ts';

const signal = AbortSignal.timeout(30_000);
const machine = { exited: new Promise<string>(() => undefined), kill: async () => undefined } as unknown as Machine;

for (const [how, status, exitCode] of [
  ['with a code', { exitCode: 3, signal: null }, 3],
  ['by a signal', { exitCode: null, signal: 9 }, 137],
] as const) {
  test(`an application that had ended ${how} before the greeting fails the step`, { timeout: 10_000 }, async () => {
    const fake = new FakeGuest();
    const greeting = greetBuildGuest({ machine, channel: fake.hostEnd }, DEFAULTS);
    fake.say(welcomeOf(await fake.nonce(), { application: { state: 'exited', pid: 7, ...status } }));
    await using guest = await greeting;
    assert.equal(await guest.exited, exitCode);
    const never = new Promise(() => undefined);
    await assert.rejects(whileAlive(guest, { step: 'validate', signal }, never), (error) => error instanceof BuildFailure && error.step === 'validate');
  });
}
