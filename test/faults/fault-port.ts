/** {@link Effects} that note what happens and, once armed, bring one step to grief. */
import { readdirSync, readFileSync, statSync, truncateSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { Effect, Effects } from '../../src/lib/effects.ts';

export const ERRNOS = ['ENOSPC', 'EIO', 'EMFILE', 'ENOMEM'] as const;
export type Errno = (typeof ERRNOS)[number];

/** A step, told by its name and how many of that name came before it in the same order. */
export interface Point {
  readonly name: string;
  readonly nth: number;
}

/** What is to happen at a point. */
export interface Fault {
  readonly point: Point;
  /**
   * `server`: it is killed once the step is done; `server half-way`: in the middle of it, half of a file or folder is there;
   * `vmm`: its process is killed once the step is done; `power`: both; `full`: from the step on nothing can be written, until the
   * next `begin`. An errno: the step fails with it.
   */
  readonly what: 'server' | 'server half-way' | 'vmm' | 'power' | 'full' | Errno;
}

/** A step as it was done: for the test of power cuts, with its paths. */
export interface Done extends Effect, Point {}

/** Below the work folder of an engine: the steps since it began to count, a line of JSON each. */
export const DONE_NAME = 'done.ndjson';

/** Steps that a full disk does not take. */
export const takesRoom = ({ kind }: Pick<Effect, 'kind'>) => ['commit', 'make folder', 'write', 'rename', 'link', 'unpack'].includes(kind);

/** Steps whose mark a crash can leave half made. */
export const isHalvable = ({ kind }: Pick<Effect, 'kind'>) => kind === 'write' || kind === 'remove tree' || kind === 'unpack';

const IDS: readonly [RegExp, string][] = [
  // Files that are named by their content.
  [/\b[0-9a-f]{64}\b/g, '*'],
  [/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '*'],
  [/\bgen-\d+\b/g, 'gen-*'],
  // The mark of the data folder, which is a temporary one.
  [/^[0-9a-f]{8}(?=\/|$)/g, 'run'],
];

/** See the file's head. */
export class FaultPort implements Effects {
  readonly #folders: readonly string[];
  readonly #runtimeFolder: string;
  readonly #onDone: (done: Done) => void;
  readonly #counts = new Map<string, number>();
  #fault: Fault | undefined;
  /** What an armed point has met. */
  wasHit = false;

  /** @param options.folders prefixes that names leave out */
  constructor(options: { folders: readonly string[]; runtimeFolder: string; onDone: (done: Done) => void }) {
    this.#folders = options.folders;
    this.#runtimeFolder = options.runtimeFolder;
    this.#onDone = options.onDone;
  }

  /** Counts anew from here on. */
  begin(fault?: Fault): void {
    this.#counts.clear();
    this.#fault = fault;
    this.wasHit = false;
  }

  before(effect: Effect): void {
    const name = this.nameOf(effect);
    const nth = (this.#counts.get(name) ?? 0) + 1;
    this.#counts.set(name, nth);
    const fault = this.#fault;
    if (fault?.what === 'full' && this.wasHit && takesRoom(effect)) throw failure('ENOSPC', name);
    if (fault === undefined || this.wasHit || fault.point.name !== name || fault.point.nth !== nth) return;
    switch (fault.what) {
      case 'server':
      case 'vmm':
      case 'power':
        return;
      case 'server half-way':
        return this.#halve(effect);
      case 'ENOSPC':
      case 'EIO':
      case 'EMFILE':
      case 'ENOMEM':
        this.wasHit = true;
        throw failure(fault.what, name);
      case 'full':
        this.wasHit = true;
        throw failure('ENOSPC', name);
    }
    fault.what satisfies never;
  }

  after(effect: Effect): void {
    const name = this.nameOf(effect);
    const nth = this.#counts.get(name) ?? 1;
    this.#onDone({ ...effect, name, nth });
    const fault = this.#fault;
    if (fault === undefined || this.wasHit || fault.point.name !== name || fault.point.nth > nth) return;
    if (fault.what === 'vmm' || fault.what === 'power') this.#killMachines();
    this.wasHit = true;
    if (fault.what === 'vmm') return;
    if (fault.what === 'server half-way') leaveHalf(effect);
    process.kill(process.pid, 'SIGKILL');
  }

  nameOf({ kind, subject, to }: Effect): string {
    const short = (path: string) => {
      let text = path;
      for (const folder of this.#folders) text = text.replaceAll(`${folder}/`, '').replaceAll(folder, '.');
      for (const [id, mark] of IDS) text = text.replaceAll(id, mark);
      return text;
    };
    return `${kind} ${short(subject)}${to === undefined ? '' : ` to ${short(to)}`}`;
  }

  /** A tree that is half removed: its removal never gets to the end. */
  #halve(effect: Effect): void {
    if (effect.kind !== 'remove tree') return;
    leaveHalf(effect);
    process.kill(process.pid, 'SIGKILL');
  }

  #killMachines(): void {
    for (const pid of machinesBelow(this.#runtimeFolder)) {
      process.kill(pid, 'SIGKILL');
      while (isAlive(pid)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

const failure = (code: Errno, name: string) => Object.assign(new Error(`${code}: injected, ${name}`), { code, errno: -1 });

/** Half of the bytes of a file, or of the entries of a folder. */
function leaveHalf({ subject }: Effect): void {
  const found = statSync(subject, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isDirectory()) return truncateSync(subject, Math.floor(found.size / 2));
  const files = readdirSync(subject, { withFileTypes: true }).filter((entry) => entry.isFile());
  for (const { name } of files.slice(0, Math.ceil(files.length / 2))) unlinkSync(join(subject, name));
}

/** How a VMM is told of its agent's socket: the fake one, QEMU. */
const AGENT_SOCKET = ['agent=', 'socket,id=agent,path='];

/** Processes of VMMs whose sockets are below a folder. */
export function machinesBelow(folder: string): number[] {
  const marks = AGENT_SOCKET.map((mark) => `${mark}${folder}/`);
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && wordsOf(name).some((word) => marks.some((mark) => word.startsWith(mark))))
    .map(Number);
}

function wordsOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return [];
  }
}

function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
