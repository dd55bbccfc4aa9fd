import assert from 'node:assert/strict';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { GuestShell } from '../../../src/guest/guest-shell.ts';
import { buildLoopback, Loopback } from './loopback.ts';

const skip = buildLoopback() ?? false;

test('a shell: bytes both ways, a size, and its end', { skip }, async () => {
  await using agent = await Loopback.start();
  await using session = await agent.session();
  const shell = await GuestShell.open(session);
  const seen = text(shell.stream);
  await shell.resize({ cols: 120, rows: 40 });
  shell.stream.write('stty size; exit\n');
  assert.match(await seen, /40 120\r\n/u);
  if (!shell.stream.closed) await once(shell.stream, 'close');
  await assert.rejects(shell.resize({ cols: 1, rows: 1 }), { code: 'ENXIO' });
});

test('a shell that is given up while it is opened is none, and the session goes on', { skip }, async () => {
  await using agent = await Loopback.start();
  await using session = await agent.session();
  const gone = new AbortController();
  const opening = GuestShell.open(session, gone.signal);
  gone.abort();
  await assert.rejects(opening, { code: 'ABORT_ERR' });
  (await GuestShell.open(session)).stream.destroy();
});

test('a shell whose session ends is gone', { skip }, async () => {
  await using agent = await Loopback.start();
  const session = await agent.session();
  const { stream, resize } = await GuestShell.open(session).then((shell) => ({ stream: shell.stream, resize: () => shell.resize({ cols: 1, rows: 1 }) }));
  const failed = once(stream, 'error');
  await session.close();
  await failed;
  await assert.rejects(resize(), { code: 'closed' });
});
