/** Microvms that are TCP ports of this machine, and can be made to misbehave. */
import { connect as dial } from 'node:net';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { LullError } from '../../src/domain/errors.ts';
import type { ShellSession } from '../../src/domain/ports.ts';
import type { Destination, Destinations } from '../../src/proxy/destinations.ts';

export class FakeDestinations implements Destinations {
  /** By endpoint id. */
  readonly known = new Map<string, Destination>();
  /** The native port behind each port of any microVM. */
  readonly ports = new Map<number, number>();
  readonly connects: { microvmId: string; port: number; signal: AbortSignal }[] = [];
  /** MicroVMs that a shell was asked of. */
  readonly shellsAsked: string[] = [];
  readonly touches: string[] = [];
  readonly asleep = new Set<string>();
  /** Awaited before dialling: a microVM that is not awake yet, or never will be. */
  beforeConnect: (signal: AbortSignal) => Promise<void> = () => Promise.resolve();

  /** What opens a shell. */
  shell: (signal: AbortSignal) => Promise<ShellSession> = () => Promise.reject(new LullError('internal', 'there is no shell'));

  lookup(endpointId: string): Promise<Destination | undefined> {
    return Promise.resolve(this.known.get(endpointId));
  }

  async connect(microvmId: string, port: number, signal: AbortSignal): Promise<Duplex> {
    this.connects.push({ microvmId, port, signal });
    await this.beforeConnect(signal);
    const native = this.ports.get(port);
    if (native === undefined) throw new LullError('internal', `nothing listens on port ${port}`);
    const socket = dial({ host: '127.0.0.1', port: native, allowHalfOpen: true, noDelay: true });
    try {
      await once(socket, 'connect', { signal });
      return socket;
    } catch (error) {
      // Nobody listens to it any more.
      socket.on('error', () => undefined).destroy();
      throw error;
    }
  }

  isAsleep(microvmId: string): boolean {
    return this.asleep.has(microvmId);
  }

  openShell(microvmId: string, signal: AbortSignal): Promise<ShellSession> {
    this.shellsAsked.push(microvmId);
    return this.shell(signal);
  }

  touched(microvmId: string): void {
    this.touches.push(microvmId);
  }
}
