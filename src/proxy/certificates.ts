import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LullError } from '../domain/errors.ts';
import type { Clock } from '../domain/ports.ts';
import { writeFileAtomic } from '../lib/atomic-file.ts';
import { openssl } from './openssl.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const CA_DAYS = 3650;
/** Under the 398 days that clients accept of a leaf. */
const LEAF_DAYS = 397;
const RENEW_LEAF_DAYS = 30;
/** A leaf never outlives its CA. */
const RENEW_CA_DAYS = LEAF_DAYS + 1;
/** Where distributions keep the CAs that the system trusts: Debian, Fedora, SUSE, Alpine. */
const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

/** What may stand in openssl's configuration file unquoted. */
const HOST_NAME = /^[a-z0-9-]+(\.[a-z0-9-]+)*$/;

/** Paths of the files, all PEM. */
export interface Certificates {
  /** Our CA alone, for programs that add it to those they know (NODE_EXTRA_CA_CERTS). */
  readonly caPath: string;
  /** The system's CAs and ours, for programs that replace theirs by a file (CURL_CA_BUNDLE, SSL_CERT_FILE, …). */
  readonly bundlePath: string;
  readonly certPath: string;
  readonly keyPath: string;
}

/**
 * The local CA and the wildcard certificate of the endpoints: made at the first start, the certificate again when it has
 * under 30 days left. The CA may only vouch for `domain`, localhost and the loopback addresses, so that its key, should
 * it get lost, is of no use against other sites. The bundle is written afresh each time.
 * @param options.dir folder of the files, made where it is missing; keys are 0600
 * @param options.domain parent of the endpoints' host names, such as `microvm.localhost`
 * @param options.alsoTrusted more authorities for the bundle (PEM)
 * @throws LullError validation where `domain` is no host name; internal where openssl is missing or fails
 */
export async function ensureCertificates(options: { dir: string; domain: string; clock: Clock; alsoTrusted?: string | undefined }): Promise<Certificates> {
  const { dir, domain, clock } = options;
  if (!HOST_NAME.test(domain)) throw new LullError('validation', `Not a host name: ${domain}`);
  await mkdir(dir, { recursive: true });
  const paths = {
    caPath: join(dir, 'ca.pem'),
    caKeyPath: join(dir, 'ca.key'),
    bundlePath: join(dir, 'ca-bundle.pem'),
    certPath: join(dir, 'endpoint.pem'),
    keyPath: join(dir, 'endpoint.key'),
  };
  let ca = await readPair(paths.caPath, paths.caKeyPath);
  if (ca === undefined || daysLeft(ca, clock) < RENEW_CA_DAYS || !ca.subject.split('\n').includes(`CN=${caName(domain)}`)) {
    await inTemporaryFolder(dir, (work) => makeCa({ work, domain, ...paths }));
    ca = await readPair(paths.caPath, paths.caKeyPath);
  }
  const leaf = await readPair(paths.certPath, paths.keyPath);
  const usable =
    leaf !== undefined && daysLeft(leaf, clock) >= RENEW_LEAF_DAYS && ca !== undefined && leaf.verify(ca.publicKey) && covers(leaf, domain);
  if (!usable) await inTemporaryFolder(dir, (work) => makeLeaf({ work, domain, ...paths }));
  await writeBundle(paths, options.alsoTrusted ?? '');
  const { caKeyPath: _, ...published } = paths;
  return published;
}

/** A name for each domain, since the constraints are part of the CA; a digest, because a common name ends at 64 characters. */
const caName = (domain: string) => `Lull local CA ${createHash('sha256').update(domain).digest('hex').slice(0, 8)}`;

const daysLeft = (certificate: X509Certificate, clock: Clock) => (certificate.validToDate.getTime() - clock.nowMs()) / DAY_MS;

/** One with an address in it is of an earlier Lull: see {@link makeLeaf}. */
const covers = (leaf: X509Certificate, domain: string) =>
  leaf.checkHost(`any.${domain}`) !== undefined && leaf.checkHost(domain) !== undefined && leaf.checkIP('127.0.0.1') === undefined;

/** A certificate whose key is there and belongs to it; a crash between the two files leaves none. */
async function readPair(certPath: string, keyPath: string): Promise<X509Certificate | undefined> {
  try {
    const certificate = new X509Certificate(await readFile(certPath));
    return certificate.checkPrivateKey(createPrivateKey(await readFile(keyPath))) ? certificate : undefined;
  } catch {
    return undefined;
  }
}

async function makeCa(options: { work: string; domain: string; caPath: string; caKeyPath: string }): Promise<void> {
  const { work, domain } = options;
  const [config, key, cert] = [join(work, 'ca.cnf'), join(work, 'ca.key'), join(work, 'ca.pem')];
  await writeFile(
    config,
    [
      '[req]',
      'distinguished_name = subject',
      'x509_extensions = authority',
      'prompt = no',
      '[subject]',
      'O = Lull',
      `CN = ${caName(domain)}`,
      '[authority]',
      'basicConstraints = critical, CA:TRUE, pathlen:0',
      'keyUsage = critical, keyCertSign, cRLSign',
      'subjectKeyIdentifier = hash',
      'nameConstraints = critical, @names',
      '[names]',
      `permitted;DNS.0 = ${domain}`,
      'permitted;DNS.1 = localhost',
      'permitted;IP.0 = 127.0.0.1/255.255.255.255',
      'permitted;IP.1 = ::1/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
      '',
    ].join('\n'),
    { mode: 0o600 },
  );
  // Without -set_serial openssl takes a random serial number.
  await openssl(['req', '-x509', '-config', config, ...newKey(key), '-sha256', '-days', `${CA_DAYS}`, '-out', cert]);
  await publish([
    { from: key, to: options.caKeyPath, mode: 0o600 },
    { from: cert, to: options.caPath, mode: 0o644 },
  ]);
}

interface LeafOptions {
  readonly work: string;
  readonly domain: string;
  readonly caPath: string;
  readonly caKeyPath: string;
  readonly certPath: string;
  readonly keyPath: string;
}

/** It has no addresses: endpoints are asked by name, and BoringSSL (grpcio) refuses them under a CA whose constraints speak of addresses. */
async function makeLeaf(options: LeafOptions): Promise<void> {
  const { work, domain } = options;
  const config = join(work, 'endpoint.cnf');
  const [key, request, cert] = [join(work, 'endpoint.key'), join(work, 'endpoint.csr'), join(work, 'endpoint.pem')];
  await writeFile(
    config,
    [
      '[req]',
      'distinguished_name = subject',
      'prompt = no',
      '[subject]',
      'O = Lull',
      'CN = Lull endpoints',
      '[endpoint]',
      'basicConstraints = critical, CA:FALSE',
      'keyUsage = critical, digitalSignature',
      'extendedKeyUsage = serverAuth',
      'subjectKeyIdentifier = hash',
      'authorityKeyIdentifier = keyid',
      'subjectAltName = @names',
      '[names]',
      `DNS.0 = *.${domain}`,
      `DNS.1 = ${domain}`,
      'DNS.2 = localhost',
      '',
    ].join('\n'),
    { mode: 0o600 },
  );
  await openssl(['req', '-new', '-config', config, ...newKey(key), '-sha256', '-out', request]);
  await openssl([
    ...['x509', '-req', '-in', request, '-CA', options.caPath, '-CAkey', options.caKeyPath],
    // A serial file in the work folder: openssl starts it with a random number.
    ...['-CAcreateserial', '-CAserial', join(work, 'serial')],
    ...['-extfile', config, '-extensions', 'endpoint', '-sha256', '-days', `${LEAF_DAYS}`, '-out', cert],
  ]);
  await publish([
    { from: key, to: options.keyPath, mode: 0o600 },
    { from: cert, to: options.certPath, mode: 0o644 },
  ]);
}

const newKey = (path: string) => ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', path];

/** The system's bundle (where there is one) with ours at the end. */
async function writeBundle({ caPath, bundlePath }: { caPath: string; bundlePath: string }, alsoTrusted: string): Promise<void> {
  const parts: Buffer[] = [];
  for (const path of SYSTEM_BUNDLES) {
    const system = await readFile(path).catch(() => undefined);
    if (system === undefined) continue;
    parts.push(system, Buffer.from('\n'));
    break;
  }
  parts.push(Buffer.from(alsoTrusted), await readFile(caPath));
  await writeFileAtomic(bundlePath, Buffer.concat(parts), 0o644);
}

/** Copies rather than moves what openssl wrote, so that mode and durability are ours; the key goes first. */
async function publish(files: readonly { from: string; to: string; mode: number }[]): Promise<void> {
  for (const { from, to, mode } of files) await writeFileAtomic(to, await readFile(from), mode);
}

/** mkdtemp makes the folder 0700. */
async function inTemporaryFolder(dir: string, use: (work: string) => Promise<void>): Promise<void> {
  const work = await mkdtemp(join(dir, 'making-'));
  try {
    await use(work);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
