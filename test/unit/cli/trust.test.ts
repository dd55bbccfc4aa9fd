/** `lull trust`: it says what it will do before it does it, and does nothing without a yes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Machine, Terminal, TrustPlan } from '../../../src/cli/command-line.ts';
import { runCommandLine } from '../../../src/cli/program.ts';

const PLAN: TrustPlan = {
  fingerprint: 'AB:CD',
  names: ['DNS:microvm.localhost', 'IP:127.0.0.1/255.255.255.255'],
  steps: [
    { kind: 'write', path: '/usr/local/share/ca-certificates/lull-0123456789ab.crt' },
    { kind: 'run', argv: ['certutil', '-n', 'Lull local CA 0123456789ab'], changes: '/srv/ada/.pki/nssdb' },
  ],
  notes: ['a note'],
};

/** Runs the command; `answer` is the user's, undefined where there is no terminal. */
async function trust(words: readonly string[], { answer, plan = PLAN }: { answer?: boolean | undefined; plan?: TrustPlan } = {}) {
  let out = '';
  const said: string[] = [];
  const did: string[] = [];
  const machine = {
    version: '1.2.3',
    serverOptions: [],
    planTrust: async () => plan,
    trust: async (_plan: TrustPlan, { caPath, uninstall }: { caPath: string; uninstall: boolean }) => void did.push(`${uninstall ? 'out' : 'in'} ${caPath} after ${out.length}`),
    confirm: async () => answer,
  } as unknown as Machine;
  const terminal: Terminal = {
    ...{ env: {}, uid: 0, dataFolder: () => '/data', signal: new AbortController().signal },
    out: (text) => void (out += text.toString()),
    say: (line) => void said.push(line),
  };
  return { status: await runCommandLine(['trust', ...words], { terminal, machine }), out, said, did };
}

test('every file and command is told, and what the authority may vouch for, before the question', async () => {
  const { status, out, did } = await trust([], { answer: true });
  assert.equal(status, 0);
  assert.match(out, /^SHA-256 AB:CD\n.*nothing else \(name constraints\): DNS:microvm\.localhost, IP:127\.0\.0\.1\/255\.255\.255\.255\.$/m);
  assert.match(out, /^ {2}write {2}\/usr\/local\/share\/ca-certificates\/lull-0123456789ab\.crt$/m);
  assert.match(out, /^ {2}run {4}certutil -n 'Lull local CA 0123456789ab' {3}\(changes \/srv\/ada\/\.pki\/nssdb\)$/m);
  assert.match(out, /^This will not:\n {2}a note$/m);
  for (const name of ['NODE_EXTRA_CA_CERTS', 'REQUESTS_CA_BUNDLE', 'SSL_CERT_FILE', 'CURL_CA_BUNDLE', 'AWS_CA_BUNDLE']) assert.ok(out.includes(`  ${name}=/data/tls/ca`), name);
  assert.deepEqual(did, [`in /data/tls/ca.pem after ${out.length}`]);
});

test('a no changes nothing', async () => {
  const { status, said, did } = await trust(['--uninstall'], { answer: false });
  assert.deepEqual({ status, said, did }, { status: 0, said: ['nothing was changed'], did: [] });
});

test('without a terminal nothing is changed, unless --yes says so', async () => {
  const refused = await trust([]);
  assert.deepEqual([refused.status, refused.said, refused.did], [2, ['nothing was changed: there is no terminal to ask on, and no --yes'], []]);
  const { status, did } = await trust(['--uninstall', '--yes']);
  assert.deepEqual([status, did.length, did[0]?.startsWith('out /data/tls/ca.pem')], [0, 1, true]);
});

test('--json is the plan, and does it with --yes alone', async () => {
  const shown = await trust(['--json'], { answer: true });
  assert.deepEqual(JSON.parse(shown.out), { ca: '/data/tls/ca.pem', bundle: '/data/tls/ca-bundle.pem', ...PLAN, done: false });
  assert.deepEqual(shown.did, []);
  const done = await trust(['--json', '--yes']);
  assert.deepEqual([(JSON.parse(done.out) as { done: boolean }).done, done.did.length], [true, 1]);
});

test('--print is the path alone', async () => {
  const { out, did } = await trust(['--print'], { answer: true });
  assert.deepEqual([out, did], ['/data/tls/ca.pem\n', []]);
});

test('where there is nothing to do nobody is asked', async () => {
  const { status, out, did } = await trust([], { plan: { ...PLAN, steps: [], notes: [] } });
  assert.deepEqual([status, did], [0, []]);
  assert.match(out, /^There is nothing to do\.$/m);
});
