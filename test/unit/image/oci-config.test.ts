import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseOciConfig } from '../../../src/image/oci-config.ts';

const parse = (config: unknown) => parseOciConfig(JSON.stringify({ OCIv1: { config } }));

describe('OCI config', () => {
  it('has a value for everything that an image leaves out', () => {
    const nothing = { entrypoint: [], cmd: [], env: [], workingDir: '/', user: '', exposedTcpPorts: [] };
    assert.deepEqual(parse(undefined), nothing);
    assert.deepEqual(parse({ Entrypoint: null, Cmd: null, Env: null, WorkingDir: '', ExposedPorts: null }), nothing);
  });

  it('reads TCP ports and ranges, and no others', () => {
    const ports = { '8080/tcp': {}, '80': {}, '53/udp': {}, '9000-9002/tcp': {}, '70000/tcp': {}, '0': {}, 'x/tcp': {}, '8080': {} };
    assert.deepEqual(parse({ ExposedPorts: ports }).exposedTcpPorts, [80, 8080, 9000, 9001, 9002]);
    assert.equal(parse({ ExposedPorts: { '1-65535/tcp': {} } }).exposedTcpPorts.length, 1000);
  });

  it('drops variables without a name and makes the folder absolute', () => {
    const config = parse({ Env: ['A=b', '=x', 'noequals', 'C='], WorkingDir: 'app' });
    assert.deepEqual(config.env, ['A=b', 'C=']);
    assert.equal(config.workingDir, '/app');
  });

  it('refuses what is beyond its bounds', () => {
    for (const config of [{ Cmd: ['x'.repeat(40_000)] }, { Env: Array.from({ length: 2000 }, () => 'A=b') }, { Cmd: ['a\0b'] }, { Cmd: 'sh' }, { User: 'u'.repeat(300) }]) assert.throws(() => parse(config));
    assert.throws(() => parseOciConfig('{}'));
    assert.throws(() => parseOciConfig('not JSON'));
  });
});
