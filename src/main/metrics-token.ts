/** The token that a scraper shows. */
import { open } from 'node:fs/promises';
import { LullError } from '../domain/errors.ts';
import type { Clock } from '../domain/ports.ts';
import type { Log } from '../lib/log.ts';
import type { NamedFile } from './certificate-files.ts';
import { Reread, type RereadKind, type RereadSubject } from './reread.ts';

const READABLE_BY_OTHERS = 0o077;
/** RFC 6750, 2.1; of a length that nobody guesses. */
const TOKEN = /^[A-Za-z0-9._~+/-]{16,1024}=*$/;
const MAX_FILE_BYTES = 4096;
/** Another token is in force within a minute. */
const CHECK_MS = 60_000;

const TOKENS: RereadKind<string> = {
  isSame: (one, other) => one === other,
  about: () => ({}),
  renewed: 'a new token is asked for',
  refused: 'the new token cannot be used, the one before stays',
};

/** The token, as the file has it now. */
export class MetricsTokenWatch extends Reread<string> {
  /** @throws LullError validation as {@link readMetricsToken} */
  static async open(file: NamedFile, ports: { readonly clock: Clock; readonly log: Log }): Promise<MetricsTokenWatch> {
    const subject: RereadSubject<string> = { who: 'the metrics', everyMs: CHECK_MS, read: () => readMetricsToken(file), ...ports };
    return new MetricsTokenWatch(subject, TOKENS, await subject.read());
  }
}

/**
 * Reads the one line of the file.
 * @throws LullError validation: one line that names the option and the file, where it cannot be read, others may read it, or it holds no token
 */
export async function readMetricsToken(file: NamedFile): Promise<string> {
  const wrong = (what: string, cause?: unknown) => new LullError('validation', `${file.option}: ${file.path} ${what}.`, { cause });
  await using handle = await open(file.path).catch((cause: NodeJS.ErrnoException) => {
    throw wrong(`cannot be read (${cause.code ?? cause.message})`, cause);
  });
  const about = await handle.stat();
  if (!about.isFile() || about.size > MAX_FILE_BYTES) throw wrong('is no file with a token');
  if ((about.mode & READABLE_BY_OTHERS) !== 0) throw wrong('can be read by others: chmod 600 it');
  const token = (await handle.readFile('utf8')).trim();
  if (!TOKEN.test(token)) throw wrong('holds no token: 16 to 1024 letters, digits and ._~+/- on one line');
  return token;
}
