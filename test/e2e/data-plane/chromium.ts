/** Debian's Chromium without a window, led by its debugging protocol over a pipe. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { promisify } from 'node:util';
import { within } from '../../../src/lib/deadline.ts';
import { clientEnvironment } from './endpoint.ts';

const PROGRAMS = ['/usr/bin/chromium', '/usr/bin/certutil'];
const ANSWER_LIMIT_MS = 60_000;
const END_LIMIT_MS = 10_000;

/** Why there is no Chromium here, or false. */
export async function noChromium(): Promise<string | false> {
  const found = await Promise.allSettled(PROGRAMS.map((path) => access(path)));
  const isThere = found.every(({ status }) => status === 'fulfilled');
  return isThere ? false : 'Chromium or certutil is not installed: apt-get install -y --no-install-recommends chromium libnss3-tools';
}

type Parameters = Readonly<Record<string, unknown>>;

/** An answer to a command, or an event. */
interface Message {
  readonly id?: number;
  readonly sessionId?: string;
  readonly method?: string;
  readonly params?: unknown;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

/** What came of opening a URL in a page. */
export interface Visit {
  readonly status: number;
  readonly protocol: string;
  /** The same for requests that shared a connection. */
  readonly connectionId: number;
  readonly text: string;
}

/** See the file's head. It has a home of its own, where it trusts the system's authorities and the one that is given. */
export class Chromium implements AsyncDisposable {
  readonly #home: string;
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, (message: Message) => void>();
  readonly #listening = new Set<(message: Message) => void>();
  #lastId = 0;

  private constructor(home: string) {
    this.#home = home;
    const rootOnly = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
    const quiet = ['--headless', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking', '--no-first-run', '--no-proxy-server'];
    this.#process = spawn(PROGRAMS[0]!, [...quiet, ...rootOnly, '--remote-debugging-pipe', `--user-data-dir=${join(home, 'profile')}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
      env: clientEnvironment({ HOME: home }),
    });
    this.#process.on('error', () => undefined);
    this.#input.on('error', () => undefined);
    this.#listen(this.#process.stdio[4] as Readable);
  }

  /** @param caPath PEM of an authority that it is to trust */
  static async start(caPath: string): Promise<Chromium> {
    const home = await mkdtemp(join(tmpdir(), 'lull-chromium-'));
    const database = join(home, '.pki/nssdb');
    await mkdir(database, { recursive: true });
    const certutil = (words: readonly string[]) => promisify(execFile)(PROGRAMS[1]!, ['-d', `sql:${database}`, ...words]);
    await certutil(['-N', '--empty-password']);
    await certutil(['-A', '-n', 'lull', '-t', 'C,,', '-i', caPath]);
    return new Chromium(home);
  }

  /** Opens an empty page. */
  async page(): Promise<Page> {
    const { targetId } = await this.send<{ targetId: string }>('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.send<{ sessionId: string }>('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, sessionId);
    for (const domain of ['Network', 'Page']) await page.send(`${domain}.enable`);
    return page;
  }

  /** Gives a command. @throws Error where it is refused */
  send<T>(method: string, params: Parameters = {}, sessionId?: string): Promise<T> {
    const id = ++this.#lastId;
    const answered = Promise.withResolvers<T>();
    this.#waiting.set(id, ({ error, result }) => (error === undefined ? answered.resolve(result as T) : answered.reject(new Error(`${method}: ${error.message}`))));
    this.#input.write(`${JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) })}\0`);
    return within(`Chromium’s answer to ${method}`, ANSWER_LIMIT_MS, answered.promise);
  }

  /** Resolves at the next event of a page for which `matches` holds. */
  event<T>(sessionId: string, name: string, matches: (params: T) => boolean = () => true): Promise<T> {
    const { promise, resolve } = Promise.withResolvers<T>();
    const listener = ({ sessionId: from, method, params }: Message) => {
      if (from === sessionId && method === name && matches(params as T)) resolve(params as T);
    };
    this.#listening.add(listener);
    return within(`Chromium’s ${name}`, ANSWER_LIMIT_MS, promise).finally(() => this.#listening.delete(listener));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const ended = once(this.#process, 'exit');
      this.send('Browser.close').catch(() => undefined);
      await within('Chromium’s end', END_LIMIT_MS, ended).catch(() => this.#process.kill('SIGKILL'));
    }
    await rm(this.#home, { recursive: true, force: true, maxRetries: 5 });
  }

  get #input(): Writable {
    return this.#process.stdio[3] as Writable;
  }

  /** Messages end with a zero byte. */
  #listen(output: Readable): void {
    let text = '';
    output.setEncoding('utf8').on('data', (more: string) => {
      const parts = (text + more).split('\0');
      text = parts.pop() ?? '';
      for (const part of parts) this.#hear(JSON.parse(part) as Message);
    });
  }

  #hear(message: Message): void {
    if (message.id === undefined) {
      for (const listener of this.#listening) listener(message);
      return;
    }
    this.#waiting.get(message.id)?.(message);
    this.#waiting.delete(message.id);
  }
}

interface ResponseReceived {
  readonly type: string;
  readonly response: { readonly status: number; readonly protocol: string; readonly connectionId: number };
}

/** A tab. */
export class Page {
  readonly #browser: Chromium;
  readonly #sessionId: string;

  constructor(browser: Chromium, sessionId: string) {
    this.#browser = browser;
    this.#sessionId = sessionId;
  }

  send<T>(method: string, params: Parameters = {}): Promise<T> {
    return this.#browser.send<T>(method, params, this.#sessionId);
  }

  /** Opens a URL. @param headers of this request and of all that the page makes from here on */
  async visit(url: string, headers: Readonly<Record<string, string>>): Promise<Visit> {
    await this.send('Network.setExtraHTTPHeaders', { headers });
    const received = this.#browser.event<ResponseReceived>(this.#sessionId, 'Network.responseReceived', ({ type }) => type === 'Document');
    const loaded = this.#browser.event(this.#sessionId, 'Page.loadEventFired');
    const [{ response }, { errorText }] = await Promise.all([received, this.send<{ errorText?: string }>('Page.navigate', { url }), loaded]);
    if (errorText !== undefined) throw new Error(`${url}: ${errorText}`);
    const { status, protocol, connectionId } = response;
    return { status, protocol, connectionId, text: await this.evaluate<string>('document.body.innerText') };
  }

  /** The value of an expression, or of the promise that it is. @throws Error where it throws */
  async evaluate<T>(expression: string): Promise<T> {
    const evaluated = await this.send<{ result: { value: T }; exceptionDetails?: { text: string; exception?: { description?: string } } }>('Runtime.evaluate', {
      ...{ expression, awaitPromise: true, returnByValue: true },
    });
    const { exceptionDetails: thrown } = evaluated;
    if (thrown !== undefined) throw new Error(thrown.exception?.description ?? thrown.text);
    return evaluated.result.value;
  }
}
