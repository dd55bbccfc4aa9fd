/** Who counts as one client where connections are counted. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { suite, test } from 'node:test';
import { ConnectionCount } from '../../../src/proxy/connection-count.ts';

/** A connection from an address that this machine does not have. */
const from = (remoteAddress: string) => Object.assign(new EventEmitter(), { remoteAddress }) as unknown as Socket;

suite('connections by address', () => {
  for (const [name, [one, other]] of Object.entries({
    // RFC 4291, 2.5.4: the last 64 bits are the interface's.
    'two interfaces of one network': ['2001:db8:0:1::1', '2001:db8:0:1:ffff:ffff:ffff:ffff'],
    'a network that ends in zeros, written long and short': ['2001:db8::1', '2001:db8:0:0:8::'],
    'zeros in both halves': ['2001:db8::1:0:0:1', '2001:db8:0:0:1::2'],
    'loopback and what is beside it': ['::1', '::2'],
    // RFC 4291, 2.5.5.2.
    'one address': ['192.0.2.1', '192.0.2.1'],
  } satisfies Record<string, [string, string]>)) {
    test(`${name}: one share`, () => {
      const count = new ConnectionCount({ connections: 10, connectionsPerAddress: 1 });
      const first = from(one);
      assert.equal(count.admit(first), true);
      assert.equal(count.admit(from(other)), false);
      first.emit('close');
      assert.equal(count.admit(from(other)), true);
    });
  }

  for (const [name, [one, other]] of Object.entries({
    'two networks': ['2001:db8:0:1::1', '2001:db8:0:2::1'],
    'two networks of which one has zeros': ['2001:db8::1', '2001:db8:0:1::1'],
    'zeros at the beginning, and none': ['::1:0:0:0:1', '0:0:0:2::1'],
    'two addresses of IPv4': ['192.0.2.1', '192.0.2.2'],
  } satisfies Record<string, [string, string]>)) {
    test(`${name}: two shares`, () => {
      const count = new ConnectionCount({ connections: 10, connectionsPerAddress: 1 });
      assert.equal(count.admit(from(one)), true);
      assert.equal(count.admit(from(other)), true);
    });
  }

  test('all addresses together have a limit too, and a place is free once it is left', () => {
    const count = new ConnectionCount({ connections: 2, connectionsPerAddress: 2 });
    const first = from('192.0.2.1');
    assert.deepEqual([count.admit(first), count.admit(from('192.0.2.2')), count.admit(from('192.0.2.3'))], [true, true, false]);
    first.emit('close');
    assert.equal(count.admit(from('192.0.2.3')), true);
  });
});
