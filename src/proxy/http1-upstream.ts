import type { Duplex } from 'node:stream';
import { cutOffAfter } from './cut-off.ts';
import { Http1Exchange, type Outcome } from './http1-exchange.ts';
import type { ProxyLimits } from './limits.ts';
import { LINGER_MS, type OnFree, type Outbound, type OutboundEvents, type OutboundHead, type UpstreamConnection } from './outbound.ts';
import { withoutDetection } from './tls-detection.ts';

/** HTTP/1.1 over one stream to an application (RFC 9112): one exchange after the other. */
export class Http1Connection implements UpstreamConnection {
  #stream: Duplex;
  readonly #onFree: OnFree;
  readonly #headerBytes: number;
  #exchange: Http1Exchange | undefined;
  #onUnfit: (() => void) | undefined;
  #isFit = true;
  readonly #listeners = {
    data: (bytes: Buffer) => {
      if (this.#exchange === undefined) this.#lose();
      else this.#exchange.take(bytes);
    },
    drain: () => this.#exchange?.drained(),
    end: () => {
      if (this.#exchange?.farEnded() !== true) this.#lose();
    },
    error: (error: Error) => this.#lose(error),
    close: () => this.#lose(),
  };

  constructor(stream: Duplex, options: { onFree: OnFree; limits: ProxyLimits }) {
    this.#stream = stream;
    this.#onFree = options.onFree;
    this.#headerBytes = options.limits.headerBytes;
    this.#listen();
  }

  get isUsable(): boolean {
    return this.#isFit && !this.#stream.destroyed && this.#stream.writable;
  }

  begin(head: OutboundHead, events: OutboundEvents): Outbound {
    const exchange = new Http1Exchange({ stream: this.#stream, head, events, headerBytes: this.#headerBytes, onOver: (outcome) => this.#over(outcome) });
    // It went away between being chosen and being used.
    if (!this.isUsable) process.nextTick(() => exchange.fail(new Error('the connection to the application has ended')));
    this.#exchange = exchange;
    return exchange;
  }

  whenUnfit(listener: () => void): () => void {
    this.#onUnfit = listener;
    return () => void (this.#onUnfit = undefined);
  }

  end(): void {
    this.#isFit = false;
    const stream = this.#stream;
    if (stream.destroyed) return;
    cutOffAfter(stream, LINGER_MS);
    stream.resume().end();
  }

  destroy(): void {
    this.#isFit = false;
    this.#stream.destroy();
  }

  /** The application hung up, failed, or spoke unasked. */
  #lose(error?: Error): void {
    this.#isFit = false;
    this.#exchange?.fail(error);
    this.#onUnfit?.();
  }

  #over(outcome: Outcome): void {
    this.#exchange = undefined;
    switch (outcome) {
      case 'reusable':
        this.#unwrap();
        this.#stream.resume();
        if (!this.isUsable || !this.#onFree(this)) this.end();
        return;
      case 'last':
        return this.end();
      case 'broken':
        return this.destroy();
      case 'switched':
        return this.#leave();
    }
    outcome satisfies never;
  }

  #listen(): void {
    for (const [event, listener] of Object.entries(this.#listeners)) this.#stream.on(event, listener);
  }

  #leave(): void {
    const stream = this.#stream;
    // An 'error' that nobody hears would end the process.
    stream.on('error', () => undefined);
    for (const [event, listener] of Object.entries(this.#listeners)) stream.off(event, listener);
  }

  /** What a port speaks has been found out: the stream that did so has no further use. */
  #unwrap(): void {
    const far = withoutDetection(this.#stream);
    if (far === this.#stream) return;
    this.#leave();
    this.#stream = far;
    this.#listen();
  }
}
