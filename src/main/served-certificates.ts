/** The certificates of a server's listeners: the operator's, or one of the local CA. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../domain/ports.ts';
import type { Log } from '../lib/log.ts';
import { ensureCertificates } from '../proxy/certificates.ts';
import { readAuthorities, readCertificate, type Certificate } from './certificate-files.ts';
import { CertificateWatch } from './certificate-watch.ts';
import type { ServerOptions } from './options.ts';

/** A renewed certificate is in force within a minute. */
const OPERATOR_CHECK_MS = 60_000;
/** Ours is renewed 30 days before its end. */
const OWN_CHECK_MS = 12 * 3_600_000;

export interface ServedCertificates extends Disposable {
  /** Undefined where the API speaks plain HTTP. */
  readonly api: CertificateWatch | undefined;
  readonly endpoint: CertificateWatch;
  /** Looks at the files now. */
  reload(): Promise<void>;
}

/** @throws LullError validation where one that the operator names cannot be used */
export async function openCertificates(
  options: Pick<ServerOptions, 'apiCertificate' | 'apiAuthority' | 'endpointCertificate' | 'dataFolder' | 'domain'>,
  ports: { readonly clock: Clock; readonly log: Log },
): Promise<ServedCertificates> {
  using stack = new DisposableStack();
  const { apiCertificate, apiAuthority, endpointCertificate, dataFolder, domain } = options;
  const open = async (watched: { who: string; everyMs: number; read: () => Promise<Certificate> }) =>
    stack.use(await CertificateWatch.open({ ...watched, ...ports }));
  const ownCertificate = async () => {
    const alsoTrusted = apiAuthority && (await readAuthorities(apiAuthority));
    const { certPath, keyPath } = await ensureCertificates({ dir: join(dataFolder, 'tls'), domain, clock: ports.clock, alsoTrusted });
    return { cert: await readFile(certPath), key: await readFile(keyPath) };
  };
  const api = apiCertificate && (await open({ who: 'the API', everyMs: OPERATOR_CHECK_MS, read: () => readCertificate(apiCertificate) }));
  const endpoint = await open(
    endpointCertificate === undefined
      ? { who: 'the endpoints', everyMs: OWN_CHECK_MS, read: ownCertificate }
      : { who: 'the endpoints', everyMs: OPERATOR_CHECK_MS, read: () => readCertificate(endpointCertificate) },
  );
  // Commands and `lull env` look for the local CA's files in any case.
  if (endpointCertificate !== undefined) await ownCertificate();
  const held = stack.move();
  return {
    api,
    endpoint,
    reload: async () => void (await Promise.all([api?.check(), endpoint.check()])),
    [Symbol.dispose]: () => held.dispose(),
  };
}
