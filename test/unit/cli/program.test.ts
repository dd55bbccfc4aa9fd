/** The command line's manners: help, errors in one line, exit statuses. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../../../src/cli/command-line.ts';
import type { Finding, Machine, Terminal } from '../../../src/cli/command-line.ts';
import { runCommandLine } from '../../../src/cli/program.ts';

/** A machine on which nothing happens. */
function machine(changes: Partial<Machine> = {}): Machine {
  const refuse = () => Promise.reject(new Error('not part of this test'));
  return {
    version: '1.2.3',
    self: ['lull'],
    examples: '/nowhere',
    serverOptions: [
      { name: 'config', flag: '--config <file>', env: 'LULL_CONFIG', description: 'file' },
      { name: 'accel', flag: '--accel <name>', env: 'LULL_ACCEL', description: 'accelerator' },
    ],
    serve: refuse,
    configuration: refuse,
    setUp: refuse,
    doctor: refuse,
    planTrust: refuse,
    trust: refuse,
    confirm: async () => undefined,
    test: refuse,
    soak: refuse,
    bench: refuse,
    ...changes,
  };
}

async function run(argv: readonly string[], changes: Partial<Machine> = {}, aborted = false) {
  let stdout = '';
  const said: string[] = [];
  const terminal: Terminal = {
    env: { HOME: '/nonexistent' },
    uid: 1000,
    dataFolder: () => '/nonexistent/data',
    out: (text) => {
      stdout += text.toString();
    },
    say: (line) => {
      said.push(line);
    },
    signal: aborted ? AbortSignal.abort() : new AbortController().signal,
  };
  const status = await runCommandLine(argv, { terminal, machine: machine(changes) });
  return { status, stdout, said };
}

test('help and version end with 0 and name every command', async () => {
  const { status, stdout } = await run(['--help']);
  assert.equal(status, 0);
  const names = ['up', 'down', 'env', 'doctor', 'setup', 'build', 'run', 'ps', 'images', 'logs', 'curl', 'suspend', 'resume', 'rm', 'keys', 'demo', 'test', 'soak', 'bench'];
  for (const name of names) assert.match(stdout, new RegExp(`^  ${name}\\b`, 'm'), name);
  assert.deepEqual(await run(['--version']), { status: 0, stdout: '1.2.3\n', said: [] });
  assert.match((await run(['up', '--help'])).stdout, /--accel <name>\s+accelerator \(LULL_ACCEL\)/);
});

for (const argv of [['--nope'], ['nope'], ['up', '--acel', 'kvm'], ['build', '.'], ['run'], ['run', 'image', '--idle', 'long'], ['curl', 'microvm-1'], ['keys', 'revoke']]) {
  test(`wrong use ends with 2 and one line: lull ${argv.join(' ')}`, async () => {
    const { status, said, stdout } = await run(argv);
    assert.equal(status, 2);
    assert.equal(said.length, 1);
    assert.ok(!said[0]!.includes('\n'), said[0]);
    assert.equal(stdout, '');
  });
}

for (const [argv, said] of [
  [['run', 'app', '--life', '28801'], /--life <seconds>.* from 1 to 28800\.$/],
  [['run', 'app', '--life', '0'], /--life <seconds>.* from 1 to 28800\.$/],
  [['run', 'app', '--idle', '59'], /--idle <seconds>.* from 60 to 28800\.$/],
  [['run', 'app', '--idle', '28801'], /--idle <seconds>.* from 60 to 28800\.$/],
  [['run', 'app', '--asleep', '28801'], /--asleep <seconds>.* from 0 to 28800\.$/],
  [['build', '.', '--name', 'bad name'], /--name <name>.* Write 1 to 64 of a-z, A-Z, 0-9, - and _\.$/],
  [['build', '.', '--name', 'a'.repeat(65)], /--name <name>.* Write 1 to 64 of /],
] as const) {
  test(`the limits of an option are told before anything is sent: lull ${argv.join(' ')}`, async () => {
    const result = await run(argv);
    assert.deepEqual([result.status, result.said.length], [2, 1]);
    assert.match(result.said[0]!, said);
  });
}

test('an option that the server refuses ends with 2', async () => {
  const serve = () => Promise.reject(new UsageError('--accel: must be one of auto, kvm, tcg'));
  assert.deepEqual(await run(['up', '--accel', 'xen'], { serve }), { status: 2, stdout: '', said: ['--accel: must be one of auto, kvm, tcg'] });
});

test('without a server the message says what to do', async () => {
  for (const argv of [['ps'], ['env'], ['down'], ['keys', 'list'], ['curl', 'microvm-1', '/']]) {
    const { status, said } = await run([...argv, '--data', '/nonexistent/lull']);
    assert.equal(status, 1);
    assert.match(said.join('\n'), /No server has run on \/nonexistent\/lull yet\. Start one with `lull up`/);
  }
});

test('up serves until a signal and says what runs on', async () => {
  const serve = () =>
    Promise.resolve({
      dataFolder: '/srv/lull',
      apiUrl: 'http://127.0.0.1:1',
      endpointPattern: 'https://ID.microvm.localhost:2',
      driver: 'qemu',
      accelerator: 'tcg',
      warnings: ['::1 is not there'],
      ended: new Promise<void>(() => undefined),
      stop: () => Promise.resolve({ microvmsLeftRunning: 2 }),
    });
  const { status, said } = await run(['up'], { serve }, true);
  assert.equal(status, 0);
  assert.match(said.join('\n'), /warning: ::1 is not there\n.*serving http:\/\/127\.0\.0\.1:1 .*\n.*eval "\$\(lull env\)"\nstopped; 2 microVMs run on/);
  // What only this command line says, the next one has to say too.
  const elsewhere = await run(['up', '--config', 'other.toml'], { serve }, true);
  assert.match(elsewhere.said.join('\n'), /eval "\$\(lull env --data '\/srv\/lull'\)"/);
});

test('doctor shows the mend and ends with 1 where something is missing', async () => {
  const findings: Finding[] = [
    { need: 'memory', state: 'ok', detail: 'enough' },
    { need: 'set-up', state: 'missing', detail: 'nothing', mend: './lull setup' },
  ];
  const { status, stdout } = await run(['doctor'], { doctor: () => Promise.resolve(findings) });
  assert.equal(status, 1);
  assert.match(stdout, /^missing\s+set-up\s+nothing\n\s+mend: \.\/lull setup$/m);
  const asJson = await run(['doctor', '--json'], { doctor: () => Promise.resolve(findings.slice(0, 1)) });
  assert.deepEqual([asJson.status, JSON.parse(asJson.stdout)], [0, findings.slice(0, 1)]);
});
