/** Certificates that are renewed while the server runs: certbot, cert-manager, an operator's own script, or we ourselves. */
import { X509Certificate } from 'node:crypto';
import type { Clock } from '../domain/ports.ts';
import type { Log } from '../lib/log.ts';
import type { Certificate } from './certificate-files.ts';

export interface WatchedCertificate {
  /** Whose it is, for the log: `the API`. */
  readonly who: string;
  /** Reads it as it is now, and tries it. */
  readonly read: () => Promise<Certificate>;
  readonly everyMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * One certificate, looked at again from time to time. The files are read, not watched: an event is lost where a link above them
 * is swapped (certbot, Kubernetes), and two small files a minute cost nothing. What is not a chain with its key leaves the one
 * before in force, and is told once.
 */
export class CertificateWatch implements Disposable {
  readonly #watched: WatchedCertificate;
  readonly #listeners = new Set<(certificate: Certificate) => void>();
  #current: Certificate;
  #complaint: string | undefined;
  #timer: Disposable | undefined;
  #last: Promise<void> = Promise.resolve();
  /** The look that has not begun: it will see the files as they are then, so it is good for whoever asks meanwhile. */
  #next: Promise<void> | undefined;

  private constructor(watched: WatchedCertificate, current: Certificate) {
    this.#watched = watched;
    this.#current = current;
    this.#schedule();
  }

  /** @throws LullError validation where the first one cannot be used: nothing is served with it */
  static async open(watched: WatchedCertificate): Promise<CertificateWatch> {
    return new CertificateWatch(watched, await watched.read());
  }

  get current(): Certificate {
    return this.#current;
  }

  /** When the one in force ends. */
  get expiresAtMs(): number {
    return new X509Certificate(this.#current.cert).validToDate.getTime();
  }

  /** Calls back with each that comes into force from now on. */
  onChange(listener: (certificate: Certificate) => void): void {
    this.#listeners.add(listener);
  }

  /** Looks now. Never rejects. */
  check(): Promise<void> {
    this.#next ??= this.#last.then(() => {
      this.#next = undefined;
      return this.#look();
    });
    this.#last = this.#next;
    return this.#last;
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#listeners.clear();
  }

  #schedule(): void {
    const { clock, everyMs } = this.#watched;
    this.#timer = clock.at(clock.nowMs() + everyMs, () => {
      this.#schedule();
      void this.check();
    });
  }

  async #look(): Promise<void> {
    const { who, read, log } = this.#watched;
    try {
      const found = await read();
      this.#complaint = undefined;
      if (found.cert.equals(this.#current.cert) && found.key.equals(this.#current.key)) return;
      this.#current = found;
      for (const listener of this.#listeners) listener(found);
      log.info({ who, expiresAt: new Date(this.expiresAtMs).toISOString() }, 'a new certificate is served');
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (reason !== this.#complaint) log.warn({ who, reason }, 'the new certificate cannot be used, the one before stays');
      this.#complaint = reason;
    }
  }
}
