import { execFile } from 'node:child_process';
import { LullError } from '../domain/errors.ts';

/** Making an EC key and a certificate takes milliseconds; a machine short of everything gets a while. */
const OPENSSL_LIMIT_MS = 30_000;
const MAX_OUTPUT_BYTES = 64 * 1024;

/**
 * Runs the `openssl` program to its end.
 * @param args its arguments, the command first
 * @throws LullError internal with the last line of its complaint, or naming the Debian package where it is missing
 */
export function openssl(args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const limits = { timeout: OPENSSL_LIMIT_MS, maxBuffer: MAX_OUTPUT_BYTES };
    const child = execFile('openssl', args, limits, (error, _stdout, stderr) => {
      if (error === null) return resolve();
      const detail =
        error.code === 'ENOENT' ? 'the program is not there: install the package openssl' : (stderr.trim().split('\n').at(-1) ?? '');
      reject(new LullError('internal', `openssl ${args[0]} failed: ${detail}`, { cause: error }));
    });
    child.stdin?.end();
  });
}
