/** RunMicrovm, and waiting until it is usable. */
import { setTimeout as delay } from 'node:timers/promises';
import type { OperationAnswer, OperationRequest } from '../contract/operations.ts';
import type { LullClient } from '../client/client.ts';
import { CommandFailure } from './command-line.ts';

const POLL_MS = 20;
/** A launch takes tenths of a second; under emulation and load, seconds. The server's own limits come first. */
const RUNNING_LIMIT_MS = 300_000;

/** Launches a microVM and waits until it runs. @throws CommandFailure where it does not come up */
export async function launchMicrovm(
  client: LullClient,
  order: OperationRequest<'RunMicrovm'>,
  signal: AbortSignal,
): Promise<OperationAnswer<'GetMicrovm'>> {
  const { microvmId } = await client.call('RunMicrovm', order, signal);
  const startMs = performance.now();
  for (;;) {
    const microvm = await client.call('GetMicrovm', { microvmIdentifier: microvmId }, signal);
    if (microvm.state === 'TERMINATED' || microvm.state === 'TERMINATING') {
      throw new CommandFailure(`${microvmId} did not come up: ${microvm.stateReason ?? 'no reason given'}`);
    }
    if (microvm.state !== 'PENDING') return microvm;
    if (performance.now() - startMs > RUNNING_LIMIT_MS) {
      throw new CommandFailure(`${microvmId} is still PENDING after ${RUNNING_LIMIT_MS / 1000} s.`);
    }
    await delay(POLL_MS, undefined, { signal });
  }
}
