/** `lull shell` and the shell endpoint of real microVMs (contract reference, section 6.2), in a real terminal. */
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { WebSocket } from 'ws';
import { within } from '../../src/lib/deadline.ts';
import { cannotServe, LullServer } from './lull-server.ts';
import { WAKES_BY_TRAFFIC, type TestMicrovm } from './test-microvm.ts';

const ROOT = join(import.meta.dirname, '../..');
const LULL = join(ROOT, 'lull');
const LIMIT_MS = 60_000;
/** What bash tells the terminal around a line that is typed: not to take a paste for keys. */
const PASTE_MODE = /\x1b\[\?2004[hl]\r?/g;
const ARN = (region: string, name: string) => `arn:aws:lambda:${region}:aws:network-connector:aws-network-connector:${name}`;

const noTmux = (() => {
  try {
    execFileSync('tmux', ['-V']);
    return false;
  } catch {
    return 'tmux is not installed: apt-get install tmux';
  }
})();

describe('a shell in a microVM, through its endpoint', { skip: await cannotServe() }, () => {
  let server: LullServer;
  let microvm: TestMicrovm;
  before(async () => {
    server = await LullServer.start();
    const imageArn = await server.image('probe', join(import.meta.dirname, '../fixtures/probe-app'));
    const region = imageArn.split(':')[3]!;
    microvm = await server.run(imageArn, { idlePolicy: WAKES_BY_TRAFFIC, ingressNetworkConnectors: ['HTTP_INGRESS', 'SHELL_INGRESS'].map((name) => ARN(region, name)) });
    await microvm.until('RUNNING');
  });
  after(() => server?.[Symbol.asyncDispose]());

  const shellToken = async () => {
    const { authToken } = await server.lambda.createMicrovmShellAuthToken({ microvmIdentifier: microvm.id, expirationInMinutes: 5 });
    return authToken!['X-aws-proxy-auth']!;
  };
  /** A shell by a browser's means: nothing but subprotocols. */
  async function dial(): Promise<{ socket: WebSocket; until: (pattern: RegExp) => Promise<string> }> {
    const name = microvm.endpoint.replace(/:\d+$/, '');
    const protocols = ['lambda-microvms', `lambda-microvms.authentication.${await shellToken()}`, 'lambda-microvms.port.8022'];
    const tls = { ca: server.ca, servername: name };
    const socket = new WebSocket(`wss://127.0.0.1:${server.endpointPort}/shell`, protocols, { ...tls, headers: { host: `${name}:${server.endpointPort}` } });
    let seen = '';
    socket.on('message', (message: Buffer) => {
      seen = (seen + message.toString()).replaceAll(PASTE_MODE, '');
      socket.emit('seen');
    });
    await within('the handshake', LIMIT_MS, once(socket, 'open'));
    const until = async (pattern: RegExp) => {
      while (!pattern.test(seen)) await within(`the terminal to show ${pattern}, not ${seen}`, LIMIT_MS, once(socket, 'seen'));
      return seen;
    };
    return { socket, until };
  }
  const piped = async (words: readonly string[], input: string) => {
    const child = spawn(LULL, ['shell', ...words], { env: { ...process.env, LULL_DATA: server.data }, stdio: 'pipe' });
    const [out, said] = [child.stdout.setEncoding('utf8').toArray(), child.stderr.setEncoding('utf8').toArray()];
    child.stdin.end(input);
    const [status] = (await within('the command to end', LIMIT_MS, once(child, 'close'))) as [number];
    return { status, out: (await out).join('').replaceAll(PASTE_MODE, ''), said: (await said).join('') };
  };

  it('is told its session, has a size, and closes with 1000 “shell exited”', async () => {
    const { socket, until } = await dial();
    const closed = once(socket, 'close');
    assert.match(await until(/λ \$ /), /^\{"type":"session_init","session_id":"[0-9a-f-]{36}"\}/);
    socket.send('stty size\n');
    await until(/\n0 0\r/);
    socket.send('{"type":"resize","cols":120,"rows":40}');
    socket.send(Buffer.from('stty size\n'));
    await until(/\n40 120\r/);
    socket.send('exit\n');
    const [code, reason] = (await within('the end', LIMIT_MS, closed)) as [number, Buffer];
    assert.deepEqual([code, reason.toString()], [1000, 'shell exited']);
  });

  it('is lost with 1001 when its microVM is suspended, and the next one wakes it', async () => {
    const { socket, until } = await dial();
    await until(/λ \$ /);
    const closed = once(socket, 'close');
    await microvm.suspend();
    const [code] = (await within('the end', LIMIT_MS, closed)) as [number];
    assert.equal(code, 1001);
    const { status, out } = await piped([microvm.id], 'echo awake-$((6*7))');
    assert.equal(status, 0);
    assert.match(out, /awake-42/);
    assert.equal(await microvm.state(), 'RUNNING');
  });

  it('`lull shell` types what is piped in, and names the mend where no shell is let in', async () => {
    const { status, out } = await piped([microvm.id], 'id -u\necho $((40+2))');
    assert.equal(status, 0);
    assert.match(out, /\n0\r\n[^]*42\r\n/);
    const other = await server.run((await server.lambda.getMicrovm({ microvmIdentifier: microvm.id })).imageArn!, {});
    await other.until('RUNNING');
    const refused = await piped([other.id], '');
    assert.deepEqual([refused.status, refused.out], [1, '']);
    assert.match(refused.said, /SHELL_INGRESS network connector to be configured on the MicroVM\. Launch one with `lull run --shell IMAGE`\.\n$/);
    await other.terminate();
  });

  it('`lull shell` names `lull resume` where its microVM sleeps and may not be woken by requests', async () => {
    const { imageArn } = await server.lambda.getMicrovm({ microvmIdentifier: microvm.id });
    const idlePolicy = { ...WAKES_BY_TRAFFIC, autoResumeEnabled: false };
    const sleeper = await server.run(imageArn!, { idlePolicy, ingressNetworkConnectors: [ARN(await server.lambda.config.region(), 'SHELL_INGRESS')] });
    await sleeper.until('RUNNING');
    await sleeper.suspend();
    const { status, out, said } = await piped([sleeper.id], '');
    assert.deepEqual([status, out], [1, '']);
    assert.match(said, new RegExp(`took no shell \\(.*502.*\\): it sleeps, and only \`lull resume ${sleeper.id}\` wakes it\\.\n$`));
    await sleeper.terminate();
  });

  it('`lull shell` in a terminal: size, resize, Ctrl-C, clean exit', { skip: noTmux }, async () => {
    const socket = join(server.runtime, 'tmux.sock');
    const tmux = (...words: string[]) =>
      new Promise<string>((resolve, reject) => execFile('tmux', ['-S', socket, '-f', '/dev/null', ...words], (error, out) => (error ? reject(error) : resolve(out))));
    const screen = async (pattern: RegExp) => {
      // tmux has no event for what a pane shows: it is looked at, as a person would.
      for (const endMs = performance.now() + LIMIT_MS; ; ) {
        const shown = await tmux('capture-pane', '-p', '-S', '-', '-t', 'shell');
        if (pattern.test(shown)) return;
        assert.ok(performance.now() < endMs, `${pattern}:\n${shown}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    };
    const command = `LULL_DATA=${server.data} ${LULL} shell ${microvm.id}; echo status-$?; stty -a | grep -ow -e '-icanon' -e icanon; exec sleep 60`;
    await tmux('new-session', '-d', '-s', 'shell', '-x', '100', '-y', '30', command);
    try {
      await screen(/^λ \$/m);
      await tmux('send-keys', '-t', 'shell', 'stty size', 'Enter');
      await screen(/^30 100$/m);
      await tmux('resize-window', '-t', 'shell', '-x', '80', '-y', '20');
      await tmux('send-keys', '-t', 'shell', 'until stty size | grep -x "20 80"; do sleep 0.1; done', 'Enter');
      await screen(/^20 80$/m);
      await tmux('send-keys', '-t', 'shell', 'echo asleep; sleep 1000', 'Enter');
      await screen(/^asleep$/m);
      await tmux('send-keys', '-t', 'shell', 'C-c');
      // What is typed before the shell asks again, the interrupt takes along.
      await screen(/\^C\s+λ \$/);
      await tmux('send-keys', '-t', 'shell', 'echo interrupted-$?', 'Enter');
      await screen(/^interrupted-130$/m);
      await tmux('send-keys', '-t', 'shell', 'exit', 'Enter');
      await screen(/^status-0\nicanon$/m);
    } finally {
      await tmux('kill-server');
    }
  });
});
