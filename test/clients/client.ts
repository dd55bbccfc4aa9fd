/** AWS's clients behind one interface: a call in, its outcome out. Each is the real client, in a process with the environment of `lull env`. */
import { execFile, spawn, type ChildProcessByStdio } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { within } from '../../src/lib/deadline.ts';
import { PYTHON } from './installed.ts';

const PROGRAMS = join(import.meta.dirname, 'programs');
const CALL_LIMIT_MS = 60_000;

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };
export type JsonObject = { readonly [name: string]: Json };

/** One call: names as the service's model has them. A member `{"$file": path}` stands for the bytes of a file. */
export interface Call {
  readonly service: string;
  readonly operation: string;
  readonly input: JsonObject;
}

export interface Refusal {
  readonly type: string;
  /** Null where the client does not tell (the CLI). */
  readonly status: number | null;
  readonly message?: string | null;
}

/** What came of a call; `wire` is the body as it was received, where the client can tell. */
export type Outcome = { readonly output: object; readonly wire?: unknown } | { readonly error: Refusal };

export interface AwsClient extends Disposable {
  readonly name: ClientName;
  call(call: Call): Promise<Outcome>;
}

export const CLIENT_NAMES = ['javascript', 'boto3', 'cli', 'cli2'] as const;
export type ClientName = (typeof CLIENT_NAMES)[number];

/** A client of this kind. @param env that of a shell after `eval "$(lull env)"` */
export function openClient(name: ClientName, env: NodeJS.ProcessEnv): AwsClient {
  switch (name) {
    case 'javascript': {
      const program = new LineProgram([process.execPath, join(PROGRAMS, 'calls-javascript.ts')], env);
      return { name, call: (call) => program.ask(call) as Promise<Outcome>, [Symbol.dispose]: () => program.end() };
    }
    case 'boto3': {
      const program = new LineProgram([PYTHON, join(PROGRAMS, 'calls_boto3.py')], env);
      return { name, call: (call) => program.ask(call) as Promise<Outcome>, [Symbol.dispose]: () => program.end() };
    }
    case 'cli': {
      const program = new LineProgram([PYTHON, join(PROGRAMS, 'calls_aws_cli.py')], env);
      return { name, call: (call) => callByCli(call, (argv) => program.ask(argv) as Promise<CommandEnd>), [Symbol.dispose]: () => program.end() };
    }
    case 'cli2':
      return { name, call: (call) => callByCli(call, (argv) => runAws(argv, env)), [Symbol.dispose]: () => undefined };
  }
  name satisfies never;
  throw new Error(`there is no client ${String(name)}`);
}

/** A program that answers each line with a line, one at a time. */
class LineProgram {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #lines: AsyncIterator<string>;
  #lastWords = '';

  constructor(argv: readonly [string, ...string[]], env: NodeJS.ProcessEnv) {
    this.#child = spawn(argv[0], argv.slice(1), { env, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#lastWords = (this.#lastWords + text).slice(-4096);
    });
    this.#child.stdin.on('error', () => undefined);
  }

  async ask(question: unknown): Promise<unknown> {
    this.#child.stdin.write(`${JSON.stringify(question)}\n`);
    const { value, done } = await within(`the client's answer to ${JSON.stringify(question)}`, CALL_LIMIT_MS, this.#lines.next());
    if (done === true) throw new Error(`the client has ended: ${this.#lastWords}`);
    return JSON.parse(value);
  }

  end(): void {
    this.#child.kill();
  }
}

interface CommandEnd {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

/** A command of the CLI's second version, which is a program for one command. */
function runAws(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<CommandEnd> {
  return new Promise((resolve) => {
    execFile('aws', argv, { env, timeout: CALL_LIMIT_MS }, (error, out, err) => {
      resolve({ status: error === null ? 0 : Number(error.code ?? 1), out, err });
    });
  });
}

const ERROR = /An error occurred \(([^)]*)\) when calling the \w+ operation(?: \(reached max retries: \d+\))?: ?([^]*)/;

async function callByCli({ service, operation, input }: Call, run: (argv: readonly string[]) => Promise<CommandEnd>): Promise<Outcome> {
  const command = [service === 's3' ? 's3api' : service, kebab(operation)];
  // What comes as a stream goes into a file that is named without an option; then JSON may not stand for the options.
  const folder = operation === 'GetObject' ? await mkdtemp(join(tmpdir(), 'lull-cli-')) : undefined;
  try {
    const into = folder === undefined ? [] : [join(folder, 'object')];
    const asOption = (value: Json): value is string | { readonly $file: string } => isFile(value) || folder !== undefined;
    const options = Object.entries(input).flatMap(([name, value]) => (asOption(value) ? [`--${kebab(name)}`, isFile(value) ? value.$file : value] : []));
    const rest = Object.fromEntries(Object.entries(input).filter(([, value]) => !asOption(value)));
    const json = folder === undefined ? ['--cli-input-json', JSON.stringify(rest)] : [];
    const { status, out, err } = await run([...command, ...into, ...options, ...json, '--output', 'json', '--no-paginate']);
    if (status === 0) {
      const output = out.trim() === '' ? {} : (JSON.parse(out) as object);
      return { output: into.length === 0 ? output : { ...output, Body: await readFile(into[0]!, 'utf8') } };
    }
    const [, type, message = ''] = ERROR.exec(err) ?? [];
    if (type === undefined) throw new Error(`aws ${command.join(' ')}: status ${status}\n${err}`);
    return { error: { type, status: null, message: message.split('\n\nAdditional error details')[0]!.trimEnd() } };
  } finally {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }
}

/** What stands for the bytes of a file. */
export const isFile = (value: Json): value is { readonly $file: string } => typeof value === 'object' && value !== null && '$file' in value;

/** `ListObjectsV2` → `list-objects-v2`, as botocore names its commands. */
export const kebab = (name: string) =>
  name
    .replaceAll(/(.)([A-Z][a-z]+)/g, '$1-$2')
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1-$2')
    .toLowerCase();
