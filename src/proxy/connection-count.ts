import type { Socket } from 'node:net';

/** Counts clients' TCP connections on all listeners: no address may take the place of all others. */
export class ConnectionCount {
  readonly #limits: { readonly connections: number; readonly connectionsPerAddress: number };
  readonly #byAddress = new Map<string, number>();
  #total = 0;

  constructor(limits: { readonly connections: number; readonly connectionsPerAddress: number }) {
    this.#limits = limits;
  }

  /** Counts a connection until it closes; false where it is one too many. */
  admit(socket: Socket): boolean {
    const address = shareOf(socket.remoteAddress ?? '');
    const count = this.#byAddress.get(address) ?? 0;
    if (this.#total >= this.#limits.connections || count >= this.#limits.connectionsPerAddress) return false;
    this.#total += 1;
    this.#byAddress.set(address, count + 1);
    socket.once('close', () => this.#leave(address));
    return true;
  }

  #leave(address: string): void {
    this.#total -= 1;
    const count = this.#byAddress.get(address)! - 1;
    if (count === 0) this.#byAddress.delete(address);
    else this.#byAddress.set(address, count);
  }
}

/** Who has one address of IPv6 has 2^64 of them, its first four groups (RFC 4291, 2.5.4). */
function shareOf(address: string): string {
  if (!address.includes(':')) return address;
  const [head = '', tail] = address.split('::', 2);
  const groups = head === '' ? [] : head.split(':');
  // What `::` stands for is zeros, unless it is in the second half.
  const omitted = tail === undefined ? 0 : 8 - groups.length - (tail === '' ? 0 : tail.split(':').length);
  return [...groups, ...Array<string>(omitted).fill('0'), ...(tail ?? '').split(':')].slice(0, 4).join(':');
}
