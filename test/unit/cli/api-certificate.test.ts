/** Commands against an API with the operator's own certificate: whom they trust, and what they say where they do not. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { createServer, type Server } from 'node:tls';
import { CREDENTIALS, startApi } from '../api/bed.ts';
import type { ApiBed } from '../api/bed.ts';

const CLI = join(import.meta.dirname, '../../../src/main/cli.ts');

suite('a command, where the API has a certificate of a CA of the operator', { timeout: 60_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'lull-api-certificate-'));
  const at = (name: string) => join(folder, name);
  let bed: ApiBed;
  let front: Server;
  before(async () => {
    const names = ['-subj', '/CN=lull', '-addext', 'subjectAltName=DNS:localhost'];
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', at('key.pem')];
    execFileSync('openssl', ['req', '-x509', ...key, ...names, '-days', '2', '-out', at('ca.pem')], { stdio: 'ignore' });
    bed = await startApi();
    front = createServer({ cert: readFileSync(at('ca.pem')), key: readFileSync(at('key.pem')) }, (client) => {
      const api = connect(bed.port, '127.0.0.1');
      client.on('error', () => api.destroy()).pipe(api);
      api.on('error', () => client.destroy()).pipe(client);
    });
    // Who does not trust it goes away in the handshake.
    front.on('tlsClientError', (_error, client) => client.destroy());
    await once(front.listen(0, '127.0.0.1'), 'listening');
    writeFileSync(at('credentials.json'), JSON.stringify({ region: 'us-east-1', account: '000000000000', ...CREDENTIALS }));
  });
  after(async () => {
    front.close();
    await bed[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });

  /** Lists the keys in a process of its own: Node reads these variables once. */
  function listKeys(name: string, env: Readonly<Record<string, string>>): Promise<{ url: string; stdout: string; stderr: string }> {
    const url = `https://${name}:${(front.address() as AddressInfo).port}`;
    writeFileSync(at('server.json'), JSON.stringify({ pid: 1, apiUrl: url, endpointPort: 1, domain: 'd', version: '1' }));
    const own = { PATH: process.env['PATH'], HOME: folder };
    return new Promise((resolve) => {
      execFile(process.execPath, [CLI, 'keys', 'list', '--data', folder], { env: { ...own, ...env } }, (_error, stdout, stderr) => resolve({ url, stdout, stderr }));
    });
  }

  for (const variable of ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE']) {
    test(`trusts what ${variable} names`, async () => {
      const { stdout, stderr } = await listKeys('localhost', { [variable]: at('ca.pem') });
      assert.equal(stderr, '');
      assert.match(stdout, new RegExp(CREDENTIALS.accessKeyId));
    });
  }

  test('says that it is not trusted and how it would be', async () => {
    const { url, stderr } = await listKeys('localhost', {});
    const fault = 'has a certificate that is not trusted here (DEPTH_ZERO_SELF_SIGNED_CERT). Name the PEM file of its CA in NODE_EXTRA_CA_CERTS.';
    assert.equal(stderr, `lull: The server at ${url} ${fault}\n`);
  });

  test('says that it is for other names', async () => {
    const { url, stderr } = await listKeys('127.0.0.1', { NODE_EXTRA_CA_CERTS: at('ca.pem') });
    assert.equal(stderr, `lull: The server at ${url} has a certificate for other names. Give the server one of those with --api-host.\n`);
  });
});
