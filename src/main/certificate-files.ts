/** The operator's own certificates: read and tried before anything starts. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { LullError } from '../domain/errors.ts';

/** A file that an option names. */
export interface NamedFile {
  readonly path: string;
  /** The option, as who gave it writes it: `--api-cert`, `LULL_API_CERT`, `FILE:LINE: api.cert`. */
  readonly option: string;
}

/** Files of a certificate chain and its key (PEM). */
export interface CertificateFiles {
  readonly cert: NamedFile;
  readonly key: NamedFile;
}

/** What the files hold. */
export interface Certificate {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/**
 * Reads a chain and its key.
 * @throws LullError validation: one line that names the option and the file, where one of them cannot be read, is not what it should be, or they do not fit
 */
export async function readCertificate(files: CertificateFiles): Promise<Certificate> {
  const cert = await read(files.cert);
  const key = await read(files.key);
  const leaf = attempt(() => new X509Certificate(cert), files.cert, 'is no certificate in PEM');
  const privateKey = attempt(() => createPrivateKey(key), files.key, 'is no private key in PEM, or has a passphrase');
  if (!leaf.checkPrivateKey(privateKey)) throw wrong(files.key, `is not the key of ${files.cert.path}`);
  // A chain whose further certificates are damaged, a key that is too short, …
  attempt(() => createSecureContext({ cert, key }), files.cert, 'cannot be served');
  return { cert, key };
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * Reads authorities.
 * @throws LullError validation: one line that names the option and the file, where it cannot be read or holds anything else
 */
export async function readAuthorities(file: NamedFile): Promise<string> {
  const text = (await read(file)).toString('latin1');
  const authorities = text.match(PEM_CERTIFICATE) ?? [];
  const isAuthority = (pem: string) => attempt(() => new X509Certificate(pem).ca, file, 'is no certificate in PEM');
  if (authorities.length === 0 || !authorities.every(isAuthority)) throw wrong(file, 'is no certificate of a CA in PEM');
  return `${authorities.join('\n')}\n`;
}

async function read(file: NamedFile): Promise<Buffer> {
  return readFile(file.path).catch((cause: NodeJS.ErrnoException) => {
    throw wrong(file, `cannot be read (${cause.code ?? cause.message})`, cause);
  });
}

function attempt<T>(work: () => T, file: NamedFile, otherwise: string): T {
  try {
    return work();
  } catch (cause) {
    throw wrong(file, otherwise, cause);
  }
}

const wrong = ({ option, path }: NamedFile, what: string, cause?: unknown) => new LullError('validation', `${option}: ${path} ${what}.`, { cause });
