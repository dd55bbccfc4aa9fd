/** The options of `lull up`: command line, then environment, then defaults; the configuration file between them is in `config.test.ts`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLullError } from '../../../src/domain/errors.ts';
import { parseServerOptions } from '../../../src/main/options.ts';
import type { OptionValues } from '../../../src/main/settings.ts';

const parse = (values: OptionValues, env: Record<string, string> = {}, uid = 1000) => parseServerOptions({ config: 'none', ...values }, { env: { HOME: '/h', ...env }, uid });

test('defaults are those of the system for root and of the user otherwise', () => {
  const root = parse({}, {}, 0);
  assert.deepEqual([root.dataFolder, root.runtimeFolder, root.platformFolder], ['/var/lib/lull', '/run/lull', '/var/cache/lull']);
  const user = parse({}, { XDG_RUNTIME_DIR: '/run/user/1000' });
  assert.deepEqual(
    [user.dataFolder, user.runtimeFolder, user.platformFolder],
    ['/h/.local/share/lull', '/run/user/1000/lull', '/h/.cache/lull'],
  );
  assert.deepEqual(user.listen, { host: '127.0.0.1', port: 8470 });
  assert.deepEqual(user.endpointListen, [{ host: '127.0.0.1', port: 8443 }, { host: '::1', port: 8443 }]);
  assert.equal(user.endpointListenIsDefault, true);
});

test('the command line wins over the environment, an empty variable is none', () => {
  assert.equal(parse({ data: '/a' }, { LULL_DATA: '/b' }).dataFolder, '/a');
  assert.equal(parse({}, { LULL_DATA: '/b', LULL_ACCEL: '' }).dataFolder, '/b');
  const several = parse({ endpointListen: ['[::1]:1', '127.0.0.1:2'] });
  assert.deepEqual(several.endpointListen, [{ host: '::1', port: 1 }, { host: '127.0.0.1', port: 2 }]);
  assert.deepEqual(parse({}, { LULL_BUILD_ENV: 'https_proxy=http://proxy:3128,A=b=c' }).buildEnvironment, { https_proxy: 'http://proxy:3128', A: 'b=c' });
});

test('networks of both families are taken', () => {
  assert.deepEqual(parse({ buildNetwork: ['10.0.0.0/8', 'fd00::/8'] }).buildNetworks, ['10.0.0.0/8', 'fd00::/8']);
});

const WRONG: readonly [OptionValues, Record<string, string>, RegExp][] = [
  [{ accel: 'xen' }, {}, /^--accel: must be one of auto, kvm, tcg$/],
  [{}, { LULL_DRIVER: 'bochs' }, /^LULL_DRIVER: must be one of/],
  [{ listen: '8470' }, {}, /^--listen: must be HOST:PORT/],
  [{ listen: '127.0.0.1:70000' }, {}, /^--listen: must be HOST:PORT/],
  [{ listen: '0.0.0.0:8470' }, {}, /--insecure-listen/],
  [{ apiCert: 'cert.pem' }, {}, /--api-cert and --api-key belong together/],
  [{ quota: ['memory=-5'] }, {}, /^--quota: memory must be a whole number from 1 up$/],
  [{ quota: ['memory'] }, {}, /^--quota: memory must be a whole number from 1 up$/],
  [{ quota: ['moons=5'] }, {}, /^--quota: unknown name moons$/],
  [{}, { LULL_REGION: 'here' }, /^LULL_REGION: must be a region such as us-east-1$/],
  [{ account: '12' }, {}, /^--account: must be an account id of 12 digits$/],
  [{ architecture: 'ARM_64' }, {}, /^--architecture: must be one of host, strict$/],
  [{ hookTimeoutScale: '0' }, {}, /^--hook-timeout-scale: must be a whole number from 1 up$/],
  [{}, { LULL_HOOK_TIMEOUT_SCALE: '101' }, /^LULL_HOOK_TIMEOUT_SCALE: must be a whole number from 1 to 100$/],
  [{}, { LULL_ON_SUSPEND_HOOK_FAILURE: 'ignore' }, /^LULL_ON_SUSPEND_HOOK_FAILURE: must be one of terminate, keepRunning$/],
  [{ buildsAtOnce: 'many' }, {}, /^--builds-at-once: must be a whole number from 1 up$/],
  [{ buildEnv: ['novalue'] }, {}, /must be NAME=VALUE/],
  [{ domain: 'Not a name' }, {}, /must be a host name/],
  [{ buildNetwork: ['10.0'] }, {}, /^--build-network: must be a network such as 10\.1\.0\.0\/16, not 10\.0$/],
  [{ buildNetwork: ['10.0.0.0/8', '10.0.0.0/33'] }, {}, /not 10\.0\.0\.0\/33$/],
  [{}, { LULL_BUILD_NETWORK: 'fd00::' }, /^LULL_BUILD_NETWORK: must be a network/],
  [{ data: '/proc/lull' }, {}, /^--data: \/proc\/lull is no place for files$/],
];

for (const [values, env, message] of WRONG) {
  test(`refused in one line: ${JSON.stringify({ ...values, ...env })}`, () => {
    assert.throws(
      () => parse(values, env),
      (error) => isLullError(error, 'validation') && message.test(error.message) && !error.message.includes('\n'),
    );
  });
}

test('an address that is not loopback is fine with a certificate, or when it is asked for', () => {
  assert.equal(parse({ listen: '0.0.0.0:8470', insecureListen: true }).listen.host, '0.0.0.0');
  assert.deepEqual(parse({ listen: '[::]:443', apiCert: '/c', apiKey: '/k' }).apiCertificate, {
    cert: { path: '/c', option: '--api-cert' },
    key: { path: '/k', option: '--api-key' },
  });
});
