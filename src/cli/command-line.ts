/** What every command is given: the terminal, the environment, and the machine behind ports. */
import type { Readable } from 'node:stream';
import type { Command } from 'commander';

/** What is typed or piped in. */
export interface Keyboard {
  /** A person's, and the output is too. */
  readonly isTerminal: boolean;
  readonly input: Readable;
  /** Every key is given as it is, until this is disposed of. */
  raw(): Disposable;
  /** Tells the size of the screen, now and whenever it changes. */
  onResize(listener: (size: { readonly cols: number; readonly rows: number }) => void): Disposable;
}

/** The terminal and what surrounds it. */
export interface Terminal {
  readonly env: NodeJS.ProcessEnv;
  readonly uid: number;
  /** The data folder of commands that are told none: the environment's, the configuration file's, or the usual one. */
  readonly dataFolder: () => string;
  /** Writes to standard output. */
  readonly out: (text: string | Buffer) => void;
  /** Resolves when standard output takes more; undefined for at once. For what may be endless: the rest is short. */
  readonly drained?: () => Promise<unknown> | undefined;
  /** Writes one line to standard error. */
  readonly say: (line: string) => void;
  /** Standard input; none where left out. */
  readonly keyboard?: Keyboard;
  /** Aborts at SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
}

/** One finding of `lull doctor`. */
export interface Finding {
  readonly need: string;
  /** `degraded`: Lull works, with less. */
  readonly state: 'ok' | 'degraded' | 'missing';
  readonly detail: string;
  /** The command that mends it. */
  readonly mend?: string;
}

/** A server that was started in this process. */
export interface Serving {
  readonly dataFolder: string;
  readonly apiUrl: string;
  /** How endpoints look, for the terminal: `https://ID.microvm.localhost:8443`. */
  readonly endpointPattern: string;
  readonly driver: string;
  readonly accelerator: string;
  readonly warnings: readonly string[];
  /** Resolves when it has ended by itself (`lull down`), rejects where it failed. */
  readonly ended: Promise<void>;
  /** Stops serving; microVMs run on. Resolves when the data folder is free. */
  stop(): Promise<{ readonly microvmsLeftRunning: number }>;
}

/** An option of `up`, for its help. */
export interface ServerOptionText {
  readonly name: string;
  readonly flag: string;
  readonly env: string;
  readonly description: string;
  readonly shownDefault?: string | undefined;
  readonly repeatable?: boolean | undefined;
}

/** Option values as given on the command line. */
export type OptionValues = Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

/** What `lull config` shows. */
export interface Configuration {
  readonly settings: readonly { readonly key: string; readonly value: unknown; readonly source: string }[];
  /** A configuration file that says the same, with the sources as comments. */
  readonly file: string;
}

/** One change that makes a store trust the local authority, or trust it no more. */
export type TrustStep =
  | { readonly kind: 'write' | 'remove'; readonly path: string }
  | { readonly kind: 'run'; readonly argv: readonly [string, ...string[]]; readonly changes: string };

/** What `lull trust` would do, and what it would not. */
export interface TrustPlan {
  readonly fingerprint: string;
  /** What the authority may vouch for. */
  readonly names: readonly string[];
  readonly steps: readonly TrustStep[];
  readonly notes: readonly string[];
}

export interface TrustRequest {
  readonly caPath: string;
  readonly uninstall: boolean;
}

/** What touches the machine; `src/main` has the real one. */
export interface Machine {
  readonly version: string;
  /** The words that start this command line again. */
  readonly self: readonly [string, ...string[]];
  /** Folder of the examples that come with Lull. */
  readonly examples: string;
  readonly serverOptions: readonly ServerOptionText[];
  /** Starts a server. @throws UsageError where an option is wrong */
  serve(values: OptionValues): Promise<Serving>;
  /** The settings that a server would start with. @throws UsageError where one is wrong */
  configuration(values: OptionValues): Promise<Configuration>;
  /** Prepares the machine, telling each step. @returns false where there was nothing to do */
  setUp(options: { refresh: boolean; say: (line: string) => void; signal: AbortSignal }): Promise<boolean>;
  doctor(options: { signal: AbortSignal }): Promise<readonly Finding[]>;
  /** Finds out; changes nothing. */
  planTrust(request: TrustRequest): Promise<TrustPlan>;
  /** Does what was planned. */
  trust(plan: TrustPlan, options: TrustRequest & { signal: AbortSignal }): Promise<void>;
  /** Asks the user; undefined where there is no terminal to ask on. */
  confirm(question: string): Promise<boolean | undefined>;
  /** Runs every test of the checkout. @returns the exit status */
  test(options: { say: (line: string) => void; signal: AbortSignal }): Promise<number>;
  /** Keeps microVMs busy for long. @returns the exit status: 0 where nothing was lost and nothing grew */
  soak(name: string, options: OptionValues, terminal: Terminal): Promise<number>;
  /** Runs a benchmark. @returns the exit status */
  bench(name: string, options: OptionValues, terminal: Terminal): Promise<number>;
}

/** Adds a command to the program. `action` gives the exit status, 0 where it says nothing. */
export interface CommandContext {
  readonly program: Command;
  readonly terminal: Terminal;
  readonly machine: Machine;
  /** Turns a handler into what commander calls: keeps the exit status. */
  readonly action: <A extends readonly unknown[]>(work: (...args: A) => Promise<number | undefined | void>) => (...args: A) => Promise<void>;
}

/** A wrong way to call a command: status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** What a command was asked for did not come about, for a reason that the message tells: status 1. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure';
}
