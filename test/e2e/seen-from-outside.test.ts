/** What a real server tells of real microVMs: its log, its metrics, and its certificates while they are renewed. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { connect } from 'node:tls';
import { ensureCertificates } from '../../src/proxy/certificates.ts';
import { Exposition } from '../fakes/prometheus-text.ts';
import { SteeredClock } from '../fakes/steered-clock.ts';
import { cannotServe, LullServer } from './lull-server.ts';
import { WAKES_BY_TRAFFIC } from './test-microvm.ts';

const PROBE = join(import.meta.dirname, '../fixtures/probe-app');

describe('a server that is watched', { skip: await cannotServe() }, () => {
  it('tells of a request that woke a microVM, and counts what it does', async () => {
    await using server = await LullServer.start(['--metrics-microvms', '5']);
    const microvm = await server.run(await server.image('probe', PROBE), { idlePolicy: WAKES_BY_TRAFFIC });
    await microvm.ask('/count');
    await microvm.suspend();
    const from = server.process.lines.length;
    await microvm.ask('/count?secret=in-the-query');
    const line = await server.process.said(
      'the line of the request',
      (text) => (text.includes('"msg":"request"') ? (JSON.parse(text) as Record<string, unknown>) : undefined),
      { from },
    );
    const { woke, status, microvmId, version, heldMs } = line;
    assert.deepEqual({ woke, status, microvmId, version }, { woke: true, status: 200, microvmId: microvm.id, version: 'http/1.1' });
    assert.ok((heldMs as number) > 0);
    assert.equal(server.process.lines.some((text) => text.includes('in-the-query')), false);
    const metrics = new Exposition(await (await fetch(`${server.apiUrl}/lull/v1/metrics`)).text());
    const expected = {
      'lull_microvms{state="RUNNING"}': 1,
      'lull_microvms{state="SUSPENDED"}': 0,
      'lull_microvm_operations_total{operation="launch",outcome="success"}': 1,
      'lull_microvm_operations_total{operation="suspend",outcome="success"}': 1,
      'lull_microvm_operations_total{operation="wake",outcome="success"}': 1,
      'lull_image_builds_total{outcome="success"}': 1,
      'lull_endpoint_requests_total{version="http/1.1",status="2xx"}': 2,
      'lull_endpoint_hold_seconds_count{woke="true"}': 1,
      [`lull_microvm_endpoint_requests_total{microvm_id="${microvm.id}",status="2xx"}`]: 2,
    };
    assert.deepEqual(Object.fromEntries(Object.keys(expected).map((series) => [series, metrics.figure(series)])), expected);
    assert.ok(metrics.figure('lull_microvm_operation_duration_seconds_sum{operation="wake"}')! > 0);
    await microvm.terminate();
  });

  it('serves a certificate that was renewed, at SIGHUP, on both listeners', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'lull-renewal-'));
    const made = (name: string) => ensureCertificates({ dir: join(folder, name), domain: 'microvm.localhost', clock: new SteeredClock(Date.now()) });
    const [first, second] = [await made('first'), await made('second')];
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
    const install = (from: typeof first) => {
      copyFileSync(from.certPath, cert);
      copyFileSync(from.keyPath, key);
    };
    install(first);
    await using server = await LullServer.start(['--endpoint-cert', cert, '--endpoint-key', key, '--api-cert', cert, '--api-key', key]);
    const ports = [server.endpointPort, Number(new URL(server.apiUrl).port)];
    const shown = async (port: number) => {
      const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      const { fingerprint256 } = socket.getPeerX509Certificate()!;
      socket.destroy();
      return fingerprint256;
    };
    const fingerprint = ({ certPath }: typeof first) => new X509Certificate(readFileSync(certPath)).fingerprint256;
    for (const port of ports) assert.equal(await shown(port), fingerprint(first));
    install(second);
    server.process.kill('SIGHUP');
    for (const who of ['the API', 'the endpoints']) {
      await server.process.said(`the renewal of ${who}`, (text) => (text.includes(`"who":"${who}"`) && text.includes('a new certificate is served') ? true : undefined));
    }
    for (const port of ports) {
      assert.equal(await shown(port), fingerprint(second));
      const old = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' });
      await assert.rejects(once(old, 'secureConnect'), { code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION' });
    }
    await rm(folder, { recursive: true });
  });
});
