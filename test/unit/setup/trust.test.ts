/** The local CA in the stores of a machine: planned for every kind of it, and really done in stores of the test's own. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, suite, test } from 'node:test';
import { ensureCertificates } from '../../../src/proxy/certificates.ts';
import { carryOut, planTrust, type SystemStore } from '../../../src/setup/trust.ts';
import { SteeredClock } from '../../fakes/steered-clock.ts';

const root = mkdtempSync(join(tmpdir(), 'lull-trust-'));
after(() => rmSync(root, { recursive: true }));
const lacks = (program: string) => (spawnSync(program, ['--help']).error === undefined ? false : `no ${program}`);
const never = new AbortController().signal;

suite('the trust of a machine', { timeout: 60_000 }, () => {
  let caPath: string;
  let place: string;
  const at = (...names: string[]) => join(place, ...names);
  before(async () => {
    ({ caPath } = await ensureCertificates({ dir: join(root, 'tls'), domain: 'microvm.localhost', clock: new SteeredClock(Date.now()) }));
  });
  beforeEach(() => {
    place = mkdtempSync(join(root, 'machine-'));
    for (const folder of ['bin', 'home', 'anchors']) mkdirSync(at(folder));
  });

  /** A program that is there; nothing runs it while there is only a plan. */
  const program = (name: string, script = '#!/bin/sh\nexit 1\n') => {
    writeFileSync(at('bin', name), script);
    chmodSync(at('bin', name), 0o755);
  };
  const store = (): SystemStore => ({ folder: at('anchors'), extension: 'pem', refresh: ['see-anchors', 'extract'], forget: ['see-anchors', 'fresh'] });
  const surroundings = (more: { uid?: number; stores?: readonly SystemStore[] } = {}) =>
    ({ env: { PATH: at('bin'), HOME: at('home') }, uid: 0, stores: [store()], ...more });
  const plan = (uninstall = false, more: Parameters<typeof surroundings>[0] = {}) => planTrust({ caPath, uninstall }, surroundings(more));

  test('is planned by the first store that is there with its program', async () => {
    program('see-anchors');
    const { steps, notes, names } = await plan(false, { stores: [{ ...store(), folder: at('absent') }, { ...store(), refresh: ['absent'] }, store()] });
    assert.equal(notes.length, 0);
    assert.deepEqual(names.slice(0, 3), ['DNS:microvm.localhost', 'DNS:localhost', 'IP:127.0.0.1/255.255.255.255']);
    const [first] = steps;
    assert.match(first?.kind === 'write' ? first.path : '', /\/anchors\/lull-[0-9a-f]{12}\.pem$/);
    assert.deepEqual(steps[1], { kind: 'run', argv: ['see-anchors', 'extract'], changes: "the system's store" });
    assert.deepEqual(readdirSync(at('anchors')), [], 'a plan changes nothing');
  });

  test('is root’s: another user is told the line that root runs', async () => {
    program('see-anchors');
    const { steps, notes } = await plan(false, { uid: 1000 });
    assert.deepEqual(steps, []);
    assert.match(notes.join('\n'), /^the system's store is root's: sudo install -m 644 \S+\/ca\.pem \S+\/anchors\/lull-[0-9a-f]{12}\.pem && sudo see-anchors extract$/);
  });

  test('has browsers’ databases, of which none is made; without certutil it says what to install', async () => {
    for (const folder of ['.pki/nssdb', '.mozilla/firefox/abc.default', '.mozilla/firefox/Crash Reports']) mkdirSync(at('home', folder), { recursive: true });
    for (const folder of ['.pki/nssdb', '.mozilla/firefox/abc.default']) writeFileSync(at('home', folder, 'cert9.db'), '');
    assert.match((await plan(false, { stores: [] })).notes.join('\n'), /^no store of the system .*\nbrowsers have stores of their own .*libnss3-tools/);
    program('certutil');
    const { steps } = await plan(false, { stores: [] });
    assert.deepEqual(steps.map((step) => step.kind === 'run' && step.changes), [at('home/.mozilla/firefox/abc.default'), at('home/.pki/nssdb')]);
  });

  test('takes nothing that is not held to names of its own', async () => {
    const open = at('open.pem');
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=any', '-keyout', at('key'), '-out', open], { stdio: 'ignore' });
    const leaf = join(root, 'tls/endpoint.pem');
    for (const path of [open, leaf, at('key')]) await assert.rejects(planTrust({ caPath: path, uninstall: false }, surroundings()), { kind: 'validation', message: /is no authority that is held to names/ });
    await assert.rejects(planTrust({ caPath: at('absent'), uninstall: false }, surroundings()), { message: /cannot be read \(ENOENT\)/ });
  });

  test('is not changed for another authority than was planned for', async () => {
    await assert.rejects(carryOut({ ...(await plan()), fingerprint: 'AB' }, caPath, never), { kind: 'conflict', message: `${caPath} has changed meanwhile: ask again.` });
  });

  test('tells a command that fails, with its words', async () => {
    const failing = { ...(await plan()), steps: [{ kind: 'run' as const, argv: ['sh', '-c', 'echo full >&2; exit 3'] as const, changes: 'a store' }] };
    await assert.rejects(carryOut(failing, caPath, never), { kind: 'internal', message: 'a store: `sh` ended with status 3\nfull' });
  });

  test('comes and goes in Debian’s store, by its own program, and is the same when asked again', { skip: lacks('/usr/sbin/update-ca-certificates') }, async () => {
    for (const folder of ['etc', 'hooks', 'packaged']) mkdirSync(at(folder));
    // One that the distribution brings: without any, Debian's program leaves the bundle as it was.
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=packaged', '-keyout', at('key'), '-out', at('packaged/one.crt')], { stdio: 'ignore' });
    writeFileSync(at('conf'), 'one.crt\n');
    const refresh = ['update-ca-certificates', '--certsconf', at('conf'), '--certsdir', at('packaged'), '--localcertsdir', at('anchors'), '--etccertsdir', at('etc'), '--hooksdir', at('hooks')] as const;
    const stores = [{ folder: at('anchors'), extension: 'crt', refresh, forget: [...refresh, '--fresh'] as const }];
    await carryOut(await plan(false, { stores }), caPath, never);
    assert.equal(statSync(at('anchors', readdirSync(at('anchors'))[0]!)).mode & 0o777, 0o644);
    assert.ok(readFileSync(at('etc/ca-certificates.crt'), 'utf8').includes(readFileSync(caPath, 'utf8').trim()));
    assert.match(execFileSync('openssl', ['verify', '-no-CAfile', '-CApath', at('etc'), join(root, 'tls/endpoint.pem')], { encoding: 'utf8' }), /: OK\n$/);
    assert.deepEqual((await plan(false, { stores })).steps, []);
    await carryOut(await plan(true, { stores }), caPath, never);
    assert.deepEqual([readdirSync(at('anchors')), readFileSync(at('etc/ca-certificates.crt'), 'utf8')], [[], readFileSync(at('packaged/one.crt'), 'utf8')]);
    assert.deepEqual((await plan(true, { stores })).steps, []);
  });

  test('comes and goes in a browser’s database, by certutil', { skip: lacks('certutil') }, async () => {
    const database = at('home/.pki/nssdb');
    mkdirSync(database, { recursive: true });
    execFileSync('certutil', ['-N', '-d', `sql:${database}`, '--empty-password']);
    const listed = () => execFileSync('certutil', ['-L', '-d', `sql:${database}`], { encoding: 'utf8' });
    const planned = (uninstall: boolean) => planTrust({ caPath, uninstall }, { ...surroundings({ stores: [] }), env: { ...process.env, HOME: at('home') } });
    await carryOut(await planned(false), caPath, never);
    assert.match(listed(), /Lull local CA [0-9a-f]{12} +C,,/);
    assert.deepEqual((await planned(false)).steps, []);
    await carryOut(await planned(true), caPath, never);
    assert.doesNotMatch(listed(), /Lull/);
    assert.ok(existsSync(join(database, 'cert9.db')));
  });
});
