import assert from 'node:assert/strict';
import type { Duplex } from 'node:stream';
import { test } from 'node:test';
import { AgentSession, type SessionEnd } from '../../../src/guest/agent-session.ts';
import { AGENT_PREAMBLE, FRAME, HEADER_BYTES, jsonFrame, type FrameName } from '../../../src/guest/frame.ts';
import { AnswerSeeker } from '../../../src/guest/handshake.ts';
import { GuestError } from '../../../src/guest/guest-error.ts';
import { GuestShell } from '../../../src/guest/guest-shell.ts';
import { FakeGuest, welcomeOf } from './fake-guest.ts';
import { DEFAULTS } from './loopback.ts';

function frame(type: number, id: number, payload: Buffer | number): Buffer {
  const body = typeof payload === 'number' ? Buffer.alloc(0) : payload;
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(type, 0);
  header.writeUInt32LE(id, 4);
  header.writeUInt32LE(typeof payload === 'number' ? payload : body.length, 8);
  return Buffer.concat([header, body]);
}

async function greeted(): Promise<{ guest: FakeGuest; session: AgentSession }> {
  const guest = new FakeGuest();
  const connecting = AgentSession.connect(guest.hostEnd, DEFAULTS);
  guest.say(welcomeOf(await guest.nonce()));
  return { guest, session: await connecting };
}

async function endOf(bytes: readonly Buffer[]): Promise<SessionEnd> {
  const { guest, session } = await greeted();
  guest.say(...bytes);
  return session.closed;
}

const named = (name: FrameName, id: number, payload: Buffer | number = 0): Buffer => frame(FRAME[name], id, payload);

const BROKEN: Record<string, Buffer[]> = {
  'an unknown type': [frame(77, 0, 0)],
  'reserved bytes': [frame(FRAME.event | 0x100, 0, 0)],
  'the wrong direction': [named('call', 1, Buffer.from('{}'))],
  'a length beyond the limit': [named('data', 1, 65_537)],
  'a length of 4 GiB': [named('result', 1, 0xffff_ffff)],
  'data for nothing': [named('data', 1, Buffer.from('x'))],
  'opened for nothing': [named('opened', 1)],
  'a result for nothing': [named('result', 1, Buffer.from('{"ok":{}}'))],
  'an open with an id of the host\'s': [jsonFrame('open', 5, { to: 'metadata' })],
  'an open with the first of its ids': [jsonFrame('open', 0x8000_0000, { to: 'metadata' })],
  'an open whose id was there': [jsonFrame('open', 0x8000_0001, { to: 'x' }), jsonFrame('open', 0x8000_0001, { to: 'x' })],
  'an open that is no JSON': [named('open', 0x8000_0001, Buffer.from('{'))],
  'an open to nothing': [jsonFrame('open', 0x8000_0001, {})],
  'data for a stream that it never opened': [named('data', 0x8000_0001, Buffer.from('x'))],
  'credit for a stream that it never opened': [named('credit', 0x8000_0001, Buffer.alloc(4))],
  'opened for a stream of its own': [jsonFrame('open', 0x8000_0001, { to: 'x' }), named('opened', 0x8000_0001)],
  'empty data': [named('data', 1, 0)],
  'output of a third kind': [named('output', 0, Buffer.from([3, 65]))],
  'empty output': [named('output', 0, 0)],
  'output for a stream': [named('output', 5, Buffer.from([1, 65]))],
  'an event that is no JSON': [named('event', 0, Buffer.from('{'))],
  'an event of another shape': [jsonFrame('event', 0, { event: 'exit', exitCode: '0', signal: null })],
  'an event with a huge number': [jsonFrame('event', 0, { event: 'exit', exitCode: 1e300, signal: null })],
  'prototype pollution': [named('event', 0, Buffer.from('{"__proto__":{"event":"exit"}}'))],
};

for (const [name, bytes] of Object.entries(BROKEN)) {
  test(`the session ends over ${name}`, async () => {
    const end = await endOf(bytes);
    assert.equal(end.reason, 'failed');
    assert.ok(end.error instanceof GuestError && end.error.code === 'protocol', String(end.error));
    const bytewise = await endOf(bytes.flatMap((chunk) => [...chunk].map((byte) => Buffer.from([byte]))));
    assert.equal(bytewise.error?.code, 'protocol');
  });
}

test('output beyond the credit ends the session', async () => {
  const guest = new FakeGuest();
  const connecting = AgentSession.connect(guest.hostEnd, { ...DEFAULTS, onOutput: () => new Promise(() => undefined) });
  guest.say(welcomeOf(await guest.nonce()));
  const session = await connecting;
  const full = named('output', 0, Buffer.alloc(65_536, 1));
  guest.say(full, full, full, full, named('output', 0, Buffer.alloc(6, 1)));
  assert.equal((await session.closed).error?.message, "the guest's agent broke a rule: OUTPUT beyond the credit");
});

test('data beyond the credit, after an end, and credit beyond all bounds end the session', async () => {
  const over = Array.from({ length: 5 }, () => named('data', 1, Buffer.alloc(65_536)));
  const credit = Buffer.alloc(4, 0xff);
  const cases = [over, [named('end', 1), named('data', 1, Buffer.from('x'))], [named('end', 1), named('end', 1)], [named('credit', 1, credit)], [named('reset', 1, Buffer.from('x'))]];
  for (const bytes of cases) {
    const { guest, session } = await greeted();
    const opening = session.openTcp(80);
    guest.say(named('opened', 1));
    const stream = await opening;
    stream.on('error', () => undefined);
    guest.say(...bytes);
    const end = await session.closed;
    assert.equal(end.error?.code, 'protocol');
    assert.ok(stream.destroyed);
  }
});

/** A session that offers a service whose streams nobody reads. */
async function offering(streams: Duplex[]): Promise<{ guest: FakeGuest; session: AgentSession }> {
  const guest = new FakeGuest();
  const connecting = AgentSession.connect(guest.hostEnd, { ...DEFAULTS, services: new Map(['metadata', 's3'].map((name) => [name, (stream) => void streams.push(stream)])) });
  guest.say(welcomeOf(await guest.nonce()));
  return { guest, session: await connecting };
}

const AGENT_IDS = 0x8000_0000;

test('a guest has so many streams to the host and no more, and none of another name', async () => {
  const streams: Duplex[] = [];
  const { guest, session } = await offering(streams);
  const opens = (from: number, count: number, to = 's3') => Array.from({ length: count }, (_, index) => jsonFrame('open', AGENT_IDS + from + index, { to }));
  guest.say(...opens(1, 63), ...opens(64, 1, '__proto__'), ...opens(65, 1));
  assert.equal(streams.length, 64);
  guest.say(jsonFrame('reset', AGENT_IDS + 7, {}), ...opens(66, 1));
  assert.equal(streams.length, 65);
  assert.ok(streams[6]!.destroyed);
  guest.say(...opens(67, 1, 'metadata'));
  assert.equal(streams.length, 66, 'what one service is full of takes no place of another\'s');
  guest.say(...opens(68, 1));
  assert.equal((await session.closed).error?.message, "the guest's agent broke a rule: more streams to the host than it may have");
  assert.ok(streams.every((stream) => stream.destroyed));
});

test('a guest that opens and resets without reading the answers is not answered further', async () => {
  const streams: Duplex[] = [];
  const { guest, session } = await offering(streams);
  guest.stopReading();
  let isOver = false;
  void session.closed.then(() => (isOver = true));
  for (let id = AGENT_IDS + 1; !isOver; id += 1) {
    guest.say(jsonFrame('open', id, { to: 'metadata' }));
    if (streams.length === id - AGENT_IDS) guest.say(jsonFrame('reset', id, {}));
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal((await session.closed).error?.code, 'protocol');
  const waiting = guest.hostEnd.writableLength;
  assert.ok(waiting < 128 * 1024, `${waiting} bytes wait for a guest that does not read`);
});

test('answers of another shape end the session and reject the call', async () => {
  for (const payload of ['{}', '{"ok":1}', '{"ok":{"pid":0}}', '{"ok":{"pid":"1"}}', '{"ok":{"pid":1e400}}', '[]', '{"error":1}', `{"ok":${'['.repeat(100_000)}`]) {
    const { guest, session } = await greeted();
    const calling = session.call('start', { argv: ['x'] });
    guest.say(named('result', 1, Buffer.from(payload)));
    await assert.rejects(calling, (error) => error instanceof GuestError && error.code === 'protocol');
    assert.equal((await session.closed).reason, 'failed');
  }
});

test('what the guest says of a failure is one line', async () => {
  const { guest, session } = await greeted();
  const calling = session.call('freeze', {});
  guest.say(jsonFrame('result', 1, { error: { code: 'EIO', message: 'a\nb\u001b[31m' } }));
  await assert.rejects(calling, (error) => error instanceof GuestError && error.message === 'the guest could not freeze: a b [31m');
  await session.close();
});

test('frames for what is over are ignored', async () => {
  const { guest, session } = await greeted();
  const opening = session.openTcp(80);
  guest.say(jsonFrame('refused', 1, { code: 'ECONNREFUSED', message: 'no' }));
  await assert.rejects(opening, (error) => error instanceof GuestError && error.code === 'ECONNREFUSED');
  guest.say(named('opened', 1), named('data', 1, Buffer.from('x')), named('end', 1), named('credit', 1, Buffer.alloc(4)), jsonFrame('reset', 1, {}));
  const calling = session.call('freeze', {});
  guest.say(jsonFrame('result', 2, { ok: {} }));
  await calling;
  await session.close();
});

test('a quarter of a million frames of one byte cost bytes, not objects', async () => {
  const { guest, session } = await greeted();
  const opening = session.openTcp(80);
  guest.say(named('opened', 1));
  const stream = await opening;
  const many = Buffer.alloc(262_144 * (HEADER_BYTES + 1), named('data', 1, Buffer.from('x')));
  const before = process.memoryUsage().heapUsed;
  for (let at = 0; at < many.length; at += 65_536) guest.say(Buffer.from(many.subarray(at, at + 65_536)));
  const calling = session.call('freeze', {});
  guest.say(jsonFrame('result', 2, { ok: {} }));
  await calling;
  assert.ok(process.memoryUsage().heapUsed - before < 32 * 1024 * 1024);
  let received = 0;
  stream.on('data', (chunk: Buffer) => (received += chunk.length));
  while (received < 262_144) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(received, 262_144);
  stream.on('error', () => undefined);
  await session.close();
});

test('the welcome is found behind false ones', async () => {
  const guest = new FakeGuest();
  const connecting = AgentSession.connect(guest.hostEnd, DEFAULTS);
  const nonce = await guest.nonce();
  const swallowing = Buffer.concat([AGENT_PREAMBLE, frame(FRAME.welcome, 0, 4096)]);
  guest.say(Buffer.from('noise'), welcomeOf('f'.repeat(32)), AGENT_PREAMBLE, swallowing);
  guest.say(Buffer.concat([AGENT_PREAMBLE, frame(FRAME.fault, 0, Buffer.from('{"code":"secret","message":"old"}'))]));
  for (const byte of welcomeOf(nonce)) guest.say(Buffer.from([byte]));
  const session = await connecting;
  assert.equal(session.welcome.nonce, nonce);
  await session.close();
});

test('a handshake that does not come has a limit, in time and in bytes', async () => {
  const silent = new FakeGuest();
  await assert.rejects(AgentSession.connect(silent.hostEnd, { ...DEFAULTS, timeoutMs: 20 }), (error) => error instanceof GuestError && error.code === 'ETIMEDOUT');
  assert.ok(silent.hostEnd.destroyed);
  const seeker = new AnswerSeeker('0'.repeat(32));
  const preambles = Buffer.alloc(65_536, Buffer.concat([AGENT_PREAMBLE, frame(FRAME.welcome, 0, 4096)]));
  assert.throws(() => {
    for (let i = 0; i < 1000; i += 1) seeker.push(preambles);
  }, GuestError);
  const gone = new FakeGuest();
  const connecting = AgentSession.connect(gone.hostEnd, DEFAULTS);
  gone.hostEnd.push(null);
  await assert.rejects(connecting, (error) => error instanceof GuestError && error.code === 'hung-up');
});

test('random bytes never do more than end the session', async () => {
  let state = 12_345;
  const random = (): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state >>> 8;
  };
  for (let round = 0; round < 300; round += 1) {
    const { guest, session } = await greeted();
    const opening = session.openTcp(1).catch(() => undefined);
    for (let i = 0; i < 20; i += 1) {
      const payload = Buffer.from(Array.from({ length: random() % 30 }, random));
      guest.say(random() % 4 === 0 ? payload : frame(random() % 16, random() % 3, payload));
    }
    guest.say(frame(99, 0, 0));
    assert.equal((await session.closed).reason, 'failed');
    (await opening)?.on('error', () => undefined);
  }
});

test('an agent from before there were shells is not asked for one, which would end the session', async () => {
  const { guest, session } = await greeted();
  const received = guest.received.length;
  await assert.rejects(GuestShell.open(session), { code: 'unsupported', message: /build a new version/u });
  assert.equal(guest.received.length, received);
  await session.close();
});

test('an agent that does not tell its versions is led by the one that it chose; one that chose what was not offered is refused', async () => {
  const older = await greeted();
  assert.deepEqual([older.session.welcome.protocol, older.session.welcome.protocols], [1, undefined]);
  await older.session.close();
  const guest = new FakeGuest();
  const connecting = AgentSession.connect(guest.hostEnd, DEFAULTS);
  guest.say(welcomeOf(await guest.nonce(), { protocol: 2 }));
  await assert.rejects(connecting, { code: 'protocol', message: "the guest's agent speaks version 2 of the protocol, this Lull 1 to 1" });
});
