/** The real clock, randomness and host behind the ports. */
import { randomBytes, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { HostCapacity } from '../control/microvms/capacity.ts';
import type { Clock, Random } from '../domain/ports.ts';

/** The longest delay that a Node timer takes (2^31 - 1 ms); longer waits are made of several. */
const MAX_TIMER_MS = 2_147_483_647;

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  at: (atMs, callback) => {
    let timer: NodeJS.Timeout;
    const arm = () => {
      const leftMs = atMs - Date.now();
      timer = setTimeout(leftMs > MAX_TIMER_MS ? arm : callback, Math.min(Math.max(leftMs, 0), MAX_TIMER_MS)).unref();
    };
    arm();
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  },
};

export const systemRandom: Random = { uuid: () => randomUUID(), bytes: (length) => randomBytes(length) };

/** What the host keeps for itself, whoever asks. */
const HOST_RESERVE_MIB = 512;
/** Of the host's memory, what microVMs may be promised by default. */
const QUOTA_SHARE = 0.8;

function meminfoMib(field: string): number {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync('/proc/meminfo', 'utf8'));
  return Math.floor(Number(match?.[1] ?? 0) / 1024);
}

/** proc(5), /proc/meminfo: MemAvailable, less a reserve. */
export const hostCapacity: HostCapacity = { availableMib: () => Math.max(0, meminfoMib('MemAvailable') - HOST_RESERVE_MIB) };

/** The default of `--memory-quota`, in MiB. */
export const defaultMemoryQuotaMib = () => Math.floor(meminfoMib('MemTotal') * QUOTA_SHARE);
