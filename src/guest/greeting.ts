import type { Duplex } from 'node:stream';
import type { ConnectOptions } from './connect-options.ts';
import { HOST_PREAMBLE, jsonFrame } from './frame.ts';
import { GuestError } from './guest-error.ts';
import { AnswerSeeker, type Answer } from './handshake.ts';
import type { Welcome } from './messages.ts';

/** The versions of the protocol that this end speaks: those of every agent that may be frozen in a snapshot. */
const PROTOCOLS = { min: 1, max: 1 };

const NONCE_BYTES = 16;
const ENTROPY_BYTES = 64;

/** What a HELLO says; undefined members are left out of its JSON. */
function helloOf(nonce: string, options: ConnectOptions & { outputCredit: number }): unknown {
  return {
    protocol: options.protocols ?? PROTOCOLS,
    nonce,
    secret: options.secret,
    nextSecret: options.nextSecret,
    outputCredit: options.outputCredit,
    restore: options.restore && {
      realtimeNs: (BigInt(options.clock.nowMs()) * 1_000_000n).toString(),
      entropy: options.random.bytes(ENTROPY_BYTES).toString('base64'),
      resetConnections: options.restore.resetConnections,
      network: options.restore.network === 'none' ? {} : options.restore.network,
    },
    thaw: options.thaw,
    services: options.services && [...options.services.keys()],
  };
}

/** @throws GuestError `protocol` where the agent speaks a version that was not offered */
function requireSpoken({ protocol }: Welcome, { min, max } = PROTOCOLS): void {
  if (protocol < min || protocol > max) throw new GuestError('protocol', `the guest's agent speaks version ${protocol} of the protocol, this Lull ${min} to ${max}`);
}

/**
 * Says HELLO and waits for the answer to it. The channel is paused, and without listeners of ours, when this returns.
 * @throws GuestError as {@link AnswerSeeker.push}, or `ETIMEDOUT`, `ABORT_ERR`, `hung-up`
 */
export async function greet(transport: Duplex, options: ConnectOptions & { outputCredit: number; timeoutMs: number }): Promise<Answer> {
  const { signal, timeoutMs } = options;
  if (signal?.aborted === true) throw new GuestError('ABORT_ERR', 'the guest\'s hello was given up', { cause: signal.reason });
  // One that has closed already tells nobody any more.
  if (transport.destroyed) throw new GuestError('hung-up', 'the channel to the guest closed before its hello');
  const nonce = options.random.bytes(NONCE_BYTES).toString('hex');
  const seeker = new AnswerSeeker(nonce);
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const onData = (chunk: Buffer): void => {
    try {
      const answer = seeker.push(chunk);
      if (answer === undefined) return;
      requireSpoken(answer.welcome, options.protocols);
      transport.pause();
      transport.off('data', onData);
      resolve(answer);
    } catch (error) {
      reject(error);
    }
  };
  const onError = (cause: Error): void => reject(new GuestError('hung-up', 'the channel to the guest broke before its hello', { cause }));
  const onEnd = (): void => reject(new GuestError('hung-up', 'the channel to the guest closed before its hello'));
  const onAbort = (): void => reject(new GuestError('ABORT_ERR', 'the guest\'s hello was given up', { cause: signal?.reason }));
  const timer = setTimeout(() => reject(new GuestError('ETIMEDOUT', `the guest did not say hello within ${timeoutMs} ms`)), timeoutMs);
  transport.on('data', onData).on('error', onError).on('end', onEnd).on('close', onEnd);
  signal?.addEventListener('abort', onAbort);
  try {
    transport.write(Buffer.concat([HOST_PREAMBLE, jsonFrame('hello', 0, helloOf(nonce, options))]));
    return await promise;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    transport.off('data', onData).off('error', onError).off('end', onEnd).off('close', onEnd);
    // Destroyed by the caller after a failure: its late errors are nobody's.
    transport.on('error', () => undefined);
  }
}
