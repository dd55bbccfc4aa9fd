/** Streams that the agent opens toward the host (docs/agent-protocol.md, "Streams to the host"). */
import type { Duplex } from 'node:stream';
import { AgentStream, type StreamChannel } from './agent-stream.ts';
import type { FrameName } from './frame.ts';
import { violation } from './guest-error.ts';
import { openSchema, parseMessage } from './messages.ts';

/** Ids of streams that the agent opens have the highest bit. */
export const FIRST_AGENT_ID = 0x8000_0000;
/** Streams to one service that the agent may have open at once, answered or not: they take no place of another's. */
const STREAMS_LIMIT = 64;

/** What the host offers inside the guest, by name, and who takes a stream to it; the stream's errors have a listener already. */
export type OfferedServices = ReadonlyMap<string, (stream: Duplex) => void>;

/** What answers and streams are sent with. */
export interface ServiceChannel extends Omit<StreamChannel, 'forget'> {
  opened(id: number): void;
  refused(id: number, failure: { code: string; message: string }): void;
}

/** What the agent has opened; its stream is null until the host has answered. */
interface OpenStream {
  readonly service: string | undefined;
  readonly stream: AgentStream | null;
}

/** The streams of one session. Whatever breaks a rule is thrown as a GuestError `protocol`. */
export class ServiceStreams {
  readonly #services: OfferedServices;
  readonly #channel: ServiceChannel;
  readonly #streams = new Map<number, OpenStream>();
  #lastId = FIRST_AGENT_ID;

  constructor(services: OfferedServices, channel: ServiceChannel) {
    this.#services = services;
    this.#channel = channel;
  }

  /** OPEN. */
  open(id: number, payload: Buffer): void {
    const message = parseMessage(openSchema, payload);
    if (message === undefined) throw violation('an OPEN that cannot be read');
    if (id <= this.#lastId) throw violation('an OPEN whose id is not above all before');
    // Names that nobody offers share one limit.
    const service = this.#services.has(message.to) ? message.to : undefined;
    const others = [...this.#streams.values()].filter((open) => open.service === service);
    if (others.length >= STREAMS_LIMIT) throw violation('more streams to the host than it may have');
    this.#lastId = id;
    this.#streams.set(id, { service, stream: null });
    // A guest that asks and asks, and never reads the answers, waits: what it could heap up here is bounded by the limit.
    this.#channel.whenWritable(() => this.#answer(id, message.to));
  }

  /** The stream that a frame is for; undefined where it is gone. */
  find(id: number, name: FrameName): AgentStream | undefined {
    const stream = this.#streams.get(id)?.stream;
    if (stream === null || id > this.#lastId) throw violation(`a ${name} frame for a stream that the host has not opened`);
    return stream;
  }

  /** The session is over. */
  end(error: Error): void {
    for (const { stream } of this.#streams.values()) stream?.cutOff(error);
  }

  #answer(id: number, name: string): void {
    const connect = this.#services.get(name);
    if (connect === undefined) {
      this.#streams.delete(id);
      return this.#channel.refused(id, { code: 'ECONNREFUSED', message: 'the host has no such service' });
    }
    const stream = new AgentStream(id, { ...this.#channel, forget: (forgotten) => void this.#streams.delete(forgotten) });
    // The guest may reset it before whoever takes it listens.
    stream.on('error', () => undefined);
    this.#streams.set(id, { service: name, stream });
    this.#channel.opened(id);
    connect(stream);
  }
}
