/** What the endpoint of one microVM may carry: contract reference, section 5.6. Off unless an operator wants AWS's figures. */
import type { Clock } from '../domain/ports.ts';
import type { ClientConnection } from './inbound.ts';
import { REFUSALS, RefusedError } from './refusal.ts';

export interface Allowance {
  /** Connections of clients at once. */
  readonly connections: number;
  readonly requestsPerSecond: number;
  /** Of bodies and upgraded connections, both directions together; beyond it everybody waits, nobody is refused. */
  readonly bytesPerSecond: number;
}

/** Of a microVM's baseline memory; undefined where nothing is limited. */
export type AllowanceOf = (baselineMib: number) => Allowance | undefined;

const MIB_PER_PEAK_VCPU = 512;

/**
 * AWS's figures: a table by size, which is linear in the vCPUs at peak. Requests per second are published for two sizes (40 and
 * 160); the others follow from them.
 */
export const awsAllowance: AllowanceOf = (baselineMib) => {
  const peakVcpus = Math.max(1, baselineMib / MIB_PER_PEAK_VCPU);
  return { connections: 8 * peakVcpus, requestsPerSecond: 10 * peakVcpus, bytesPerSecond: 1_000_000 * peakVcpus };
};

/** Fills evenly, up to what flows in a second. */
class Bucket {
  readonly #perSecond: number;
  readonly #clock: Clock;
  #level: number;
  #filledAtMs: number;

  constructor(perSecond: number, clock: Clock) {
    this.#perSecond = perSecond;
    this.#clock = clock;
    this.#level = perSecond;
    this.#filledAtMs = clock.nowMs();
  }

  get level(): number {
    const nowMs = this.#clock.nowMs();
    const gained = (Math.max(0, nowMs - this.#filledAtMs) / 1000) * this.#perSecond;
    this.#filledAtMs = nowMs;
    this.#level = Math.min(this.#perSecond, this.#level + gained);
    return this.#level;
  }

  /** How long until it is full again. */
  get fullInMs(): number {
    return ((this.#perSecond - this.level) / this.#perSecond) * 1000;
  }

  /** Takes more than there is, if need be. @returns how long it takes until the debt is paid, 0 where there is none */
  take(amount: number): number {
    this.#level = this.level - amount;
    return Math.max(0, (-this.#level / this.#perSecond) * 1000);
  }
}

interface Account {
  readonly microvmId: string;
  readonly allowance: Allowance;
  readonly connections: Set<ClientConnection>;
  readonly requests: Bucket;
  readonly bytes: Bucket;
}

/**
 * Holds microVMs to their allowance. What is counted outlives their sleep, since connections of clients do; once nobody is
 * connected and both buckets are full again, an account is as good as none, and goes.
 */
export class Allowances {
  readonly #allowanceOf: AllowanceOf;
  readonly #clock: Clock;
  readonly #accounts = new Map<string, Account>();
  /** Where a connection is counted: one of HTTP/2 may serve many microVMs. */
  readonly #counted = new WeakMap<ClientConnection, Set<Account>>();

  constructor(allowanceOf: AllowanceOf, clock: Clock) {
    this.#allowanceOf = allowanceOf;
    this.#clock = clock;
  }

  /**
   * Counts a request that has been admitted, and the connection that it came on, which is open, until that closes.
   * @throws RefusedError too many (429)
   */
  enter(target: { microvmId: string; baselineMib: number }, connection: ClientConnection): void {
    const account = this.#accountOf(target);
    if (account === undefined) return;
    const { allowance, connections, requests } = account;
    if (!connections.has(connection)) {
      if (connections.size >= allowance.connections) throw new RefusedError(REFUSALS.tooMany, 'too many connections');
      this.#count(connection, account);
    }
    if (requests.level < 1) throw new RefusedError(REFUSALS.tooMany, 'too many requests');
    requests.take(1);
  }

  /** Counts bytes that have crossed. @returns resolves when more may; undefined for at once */
  pass(microvmId: string, bytes: number): Promise<void> | undefined {
    const waitMs = this.#accounts.get(microvmId)?.bytes.take(bytes) ?? 0;
    if (waitMs === 0) return undefined;
    return new Promise((resolve) => void this.#clock.at(this.#clock.nowMs() + waitMs, resolve));
  }

  #count(connection: ClientConnection, account: Account): void {
    account.connections.add(connection);
    const counted = this.#counted.get(connection);
    if (counted !== undefined) return void counted.add(account);
    const accounts = new Set([account]);
    this.#counted.set(connection, accounts);
    connection.once('close', () => {
      for (const each of accounts) {
        each.connections.delete(connection);
        this.#dropSpent(each);
      }
    });
  }

  #dropSpent(account: Account): void {
    const { microvmId, connections, requests, bytes } = account;
    // Whoever is connected comes by here when he leaves.
    if (connections.size > 0 || this.#accounts.get(microvmId) !== account) return;
    const fullInMs = Math.max(requests.fullInMs, bytes.fullInMs);
    if (fullInMs === 0) this.#accounts.delete(microvmId);
    else this.#clock.at(this.#clock.nowMs() + Math.ceil(fullInMs), () => this.#dropSpent(account));
  }

  #accountOf({ microvmId, baselineMib }: { microvmId: string; baselineMib: number }): Account | undefined {
    const known = this.#accounts.get(microvmId);
    const allowance = known === undefined ? this.#allowanceOf(baselineMib) : undefined;
    if (allowance === undefined) return known;
    const account = {
      microvmId,
      allowance,
      connections: new Set<ClientConnection>(),
      requests: new Bucket(allowance.requestsPerSecond, this.#clock),
      bytes: new Bucket(allowance.bytesPerSecond, this.#clock),
    };
    this.#accounts.set(microvmId, account);
    return account;
  }
}
