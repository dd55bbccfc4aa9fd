import { Duplex } from 'node:stream';
import { AGENT_PREAMBLE, HEADER_BYTES, HOST_PREAMBLE, jsonFrame } from '../../../src/guest/frame.ts';

/** The guest's end of a channel, which says whatever a test likes. */
export class FakeGuest {
  readonly hostEnd: Duplex;
  readonly received: Buffer[] = [];
  #isReading = true;
  readonly #hello = Promise.withResolvers<string>();

  constructor() {
    this.hostEnd = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, callback) => {
        this.received.push(chunk);
        const all = Buffer.concat(this.received);
        if (all.length > HOST_PREAMBLE.length + HEADER_BYTES) {
          const length = all.readUInt32LE(HOST_PREAMBLE.length + 8);
          const json = all.subarray(HOST_PREAMBLE.length + HEADER_BYTES, HOST_PREAMBLE.length + HEADER_BYTES + length);
          this.#hello.resolve((JSON.parse(json.toString()) as { nonce: string }).nonce);
        }
        if (this.#isReading) callback();
      },
    });
  }

  /** From now on nothing that the host writes is taken. */
  stopReading(): void {
    this.#isReading = false;
  }

  say(...bytes: Buffer[]): void {
    for (const chunk of bytes) this.hostEnd.push(chunk);
  }

  async nonce(): Promise<string> {
    return this.#hello.promise;
  }
}

export function welcomeOf(nonce: string, change: object = {}): Buffer {
  const application = { state: 'none', pid: null, exitCode: null, signal: null };
  const realtimeNs = (BigInt(Date.now()) * 1_000_000n).toString();
  return Buffer.concat([AGENT_PREAMBLE, jsonFrame('welcome', 0, { protocol: 1, nonce, agent: 'x', realtimeNs, bootId: 'b', application, warnings: [], ...change })]);
}
