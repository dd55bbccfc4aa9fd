/**
 * The networks of microVMs, as root: a tap for each that reaches out, which its VMM holds open and which goes with it, and one table of
 * rules for all. Without root there is none.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { isIPv4 } from 'node:net';
import type { Egress, GuestNetwork } from '../domain/network-connector.ts';
import { nftablesWork, removeTable, replaceTable, tablesOfInet } from '../host/nftables.ts';
import { run } from '../host/process.ts';
import { resolversIn } from '../host/resolvers.ts';
import { effect, type Effects } from '../lib/effects.ts';
import { GATEWAY, rulesetText, type Rules } from './ruleset.ts';

export interface GuestNetworksOptions {
  readonly wanted: 'auto' | 'none';
  /** Tells this server's devices and rules from another's: at least five letters or digits. */
  readonly mark: string;
  /** CIDRs of private networks that microVMs may reach. */
  readonly allowedNetworks: readonly string[];
  /** IPv4 address; the host's own resolver where undefined. */
  readonly resolver: string | undefined;
  readonly uid: number;
  readonly effects: Effects;
}

const COMMAND_LIMIT_MS = 10_000;
/** Why there is no network where none is wanted. */
const CONFIGURED = 'configured';
/** The last byte pair of the guests' network: neither its first address nor its last 256. */
const SLOTS = 65_278;
const DEVICES = '/sys/class/net';
/** systemd-resolved's own list, where `/etc/resolv.conf` names its stub on loopback. */
const RESOLVER_FILES = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'] as const;

export class GuestNetworks {
  /** Why there is none; undefined where there is. */
  readonly missing: string | undefined;
  readonly #table: string;
  readonly #rules: Rules;
  readonly #effects: Effects;
  #next: number;

  private constructor({ table, rules, effects, missing }: { table: string; rules: Rules; effects: Effects; missing: string | undefined }) {
    this.#table = table;
    this.#rules = rules;
    this.#effects = effects;
    this.missing = missing;
    // Two servers of a host begin far from each other.
    this.#next = createHash('sha256').update(table).digest().readUInt32BE() % SLOTS;
  }

  /** Puts the rules in place. @throws CommandError where nftables refuses them */
  static async open({ wanted, mark, allowedNetworks, resolver: chosen, uid, effects }: GuestNetworksOptions): Promise<GuestNetworks> {
    const resolver = chosen ?? (await hostResolver());
    const rules: Rules = { devicePrefix: `lull${mark.slice(0, 5)}`, allowedNetworks, ...(resolver === undefined ? {} : { resolver }) };
    const missing = wanted === 'none' ? CONFIGURED : await missingFor(uid);
    const networks = new GuestNetworks({ table: `lull_net_${mark}`, rules, effects, missing });
    if (missing === undefined) {
      await networks.#putRules();
      await run(['sysctl', '--quiet', '--write', 'net.ipv4.ip_forward=1'], { timeoutMs: COMMAND_LIMIT_MS });
    }
    return networks;
  }

  /** Puts the rules back where somebody has flushed them: without them a guest would reach this host. @returns what was done */
  async reconcile(): Promise<ReadonlyMap<string, readonly string[]>> {
    if (this.missing !== undefined) return new Map();
    const table = this.#table;
    if ((await tablesOfInet()).includes(table)) return new Map();
    await this.#putRules();
    return new Map([[table, ['rules']]]);
  }

  #putRules(): Promise<void> {
    return effect(this.#effects, { kind: 'network', subject: 'rules' }, () => replaceTable(this.#table, rulesetText(this.#rules)));
  }

  /** For one launch or wake. A device of that name is made by the driver, and may be taken by another server meanwhile. */
  connect(egress: Egress): GuestNetwork {
    if (egress === 'none' || this.missing !== undefined) return { kind: 'none' };
    for (let tried = 0; tried < SLOTS; tried += 1) {
      const slot = 1 + (this.#next++ % SLOTS);
      const device = `${this.#rules.devicePrefix}${slot.toString(36)}`;
      if (!existsSync(`${DEVICES}/${device}`)) return { kind: 'routed', device, guestAddress: `198.19.${slot >> 8}.${slot & 255}`, gateway: GATEWAY };
    }
    return { kind: 'none' };
  }

  /** Takes the rules away where no microVM of this server is left; else they stay, since microVMs run on without it. */
  async close(): Promise<void> {
    // Those of an earlier server too, whose microVMs have all ended by now.
    if (this.missing !== undefined && this.missing !== CONFIGURED) return;
    const devices = await readdir(DEVICES);
    if (devices.some((name) => name.startsWith(this.#rules.devicePrefix))) return;
    const removed = effect(this.#effects, { kind: 'network', subject: 'no rules' }, () => removeTable(this.#table));
    // Where none was wanted there may be no nftables either.
    if (this.missing === CONFIGURED) await removed.catch(() => undefined);
    else await removed;
  }
}

/** What stands in the way of networks on this machine; undefined where nothing does. */
export async function missingFor(uid: number): Promise<string | undefined> {
  if (uid !== 0) return 'only root can make them';
  if (!existsSync('/dev/net/tun')) return 'there is no /dev/net/tun';
  return (await nftablesWork()) ? undefined : 'nftables cannot be used';
}

/** The first IPv4 resolver of the host that is not on its loopback. */
async function hostResolver(): Promise<string | undefined> {
  for (const path of RESOLVER_FILES) {
    const found = (await resolversIn(path)).find((address) => isIPv4(address) && !address.startsWith('127.'));
    if (found !== undefined) return found;
  }
  return undefined;
}
