/** A world outside for tests of networks: a namespace of its own with a public and a private address, joined to this host. Root only. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { run } from '../../src/host/process.ts';
import { within } from '../../src/lib/deadline.ts';

const PROGRAM = join(import.meta.dirname, '../fixtures/world/world.py');
const LIMIT_MS = 20_000;

export class World implements AsyncDisposable {
  /** From a block for documentation (RFC 5737). */
  static readonly address = '203.0.113.2';
  static readonly hostAddress = '203.0.113.1';
  static readonly privateAddress = '10.213.0.2';
  static readonly privateNetwork = '10.213.0.0/24';
  readonly #namespace: string;
  readonly #process: ChildProcess;
  readonly #lines: Interface;

  private constructor(namespace: string, process: ChildProcess, lines: Interface) {
    this.#namespace = namespace;
    this.#process = process;
    this.#lines = lines;
  }

  static async open(): Promise<World> {
    const namespace = `lull-world-${process.pid}`;
    const ours = `lw${process.pid}`;
    const commands = [
      `netns add ${namespace}`,
      `link add ${ours} type veth peer name eth0 netns ${namespace}`,
      `address add ${World.hostAddress}/24 dev ${ours}`,
      `address add 10.213.0.1/24 dev ${ours}`,
      `link set ${ours} up`,
      `-netns ${namespace} link set lo up`,
      `-netns ${namespace} address add ${World.address}/24 dev eth0`,
      `-netns ${namespace} address add ${World.privateAddress}/24 dev eth0`,
      `-netns ${namespace} link set eth0 up`,
    ];
    try {
      for (const command of commands) await run(['ip', ...command.split(' ')]);
      const child = spawn('ip', ['netns', 'exec', namespace, 'python3', PROGRAM], { stdio: ['pipe', 'pipe', 'inherit'] });
      const lines = createInterface({ input: child.stdout });
      const world = new World(namespace, child, lines);
      await within('the world', LIMIT_MS, once(lines, 'line'));
      return world;
    } catch (error) {
      await run(['ip', 'netns', 'delete', namespace]).catch(() => undefined);
      throw error;
    }
  }

  /** Every IPv4 address that a packet has come from. */
  async sources(): Promise<readonly string[]> {
    const line = once(this.#lines, 'line');
    this.#process.stdin!.write('\n');
    return JSON.parse(String((await within('the sources', LIMIT_MS, line))[0])) as readonly string[];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#process, 'close');
    this.#process.kill('SIGKILL');
    await closed;
    // Its end of the pair goes with it, and ours with that.
    await run(['ip', 'netns', 'delete', this.#namespace]);
  }
}
