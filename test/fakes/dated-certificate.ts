/** A certificate that signs itself and begins when a test wants it to. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../src/host/process.ts';

const YEAR_MS = 365 * 24 * 3_600_000;

/** What openssl-ca(1) asks for; no other command of OpenSSL 3.0 takes a beginning. */
const AUTHORITY = `
[ca]
default_ca = self
[self]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
[any]
commonName = supplied
`;

/** @returns PEM */
export async function certificateFrom(startMs: number): Promise<Buffer> {
  const folder = await mkdtemp('/tmp/lull-c-');
  try {
    for (const [name, text] of [['ca.cnf', AUTHORITY], ['index.txt', ''], ['serial', '01\n']] as const) await writeFile(join(folder, name), text);
    const inFolder = (...words: string[]) => run(['env', '-C', folder, 'openssl', ...words]);
    await inFolder('req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', 'key.pem', '-out', 'request.pem', '-subj', '/CN=fresh.example');
    const dates = ['-startdate', asn1Time(startMs), '-enddate', asn1Time(startMs + YEAR_MS)];
    await inFolder('ca', '-batch', '-selfsign', '-config', 'ca.cnf', '-keyfile', 'key.pem', '-in', 'request.pem', '-out', 'certificate.pem', '-notext', ...dates);
    return await readFile(join(folder, 'certificate.pem'));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** GeneralizedTime, RFC 5280, 4.1.2.5.2. */
const asn1Time = (ms: number) => `${new Date(ms).toISOString().replace(/\.\d+|[-:T]/g, '')}`;
