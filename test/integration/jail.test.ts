/** The jail of `lull-host exec`, from inside: a shell that looks for what it should not find, as root and as an ordinary user. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { hostToolPath } from '../../src/setup/confinement.ts';
import { loadPlatform } from '../../src/setup/platform.ts';
import { machinePlatformFolder } from '../contract/driver-guest.ts';

const NOBODY = 65534;
/** What a shell stands on; a VMM is not given it. */
const PROGRAMS = ['/bin', '/lib', '/lib64', '/usr'];

const platform = await loadPlatform(machinePlatformFolder()).catch((error: Error) => error);

describe('the jail of a hypervisor', { skip: platform instanceof Error ? platform.message : false }, () => {
  let folder: string;
  let tool: string;
  before(() => {
    folder = mkdtempSync('/var/tmp/lj-');
    chmodSync(folder, 0o755);
    tool = join(folder, 'lull-host');
    // The platform's folder may be its owner's alone.
    copyFileSync(hostToolPath(platform as Exclude<typeof platform, Error>), tool);
    chmodSync(tool, 0o755);
    for (const name of ['given', 'read', 'secret']) {
      writeFileSync(join(folder, name), name);
      chmodSync(join(folder, name), 0o666);
    }
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const isRoot = process.getuid!() === 0;
  const inside = (script: string, user?: number): string => {
    const read = [...PROGRAMS, '/proc', join(folder, 'read')].flatMap((path) => ['--read', path]);
    const words = ['exec', '--jail', ...read, '--write', '/dev/null', '--write', join(folder, 'given'), '--', '/bin/sh', '-c', script];
    const as = user === undefined ? {} : { uid: user, gid: user };
    return execFileSync(tool, words, { encoding: 'utf8', env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }, ...as });
  };
  const users: readonly [string, number | undefined][] = isRoot ? [['root', undefined], ['another user', NOBODY]] : [['this user', undefined]];

  for (const [name, user] of users) {
    describe(`entered by ${name}`, () => {
      it('shows what was given at its own path, and nothing else', () => {
        assert.deepEqual(inside('cd /; echo *', user).trim().split(' '), ['bin', 'dev', 'lib', 'lib64', 'proc', 'usr', 'var']);
        assert.deepEqual(inside(`cd ${folder}; echo *`, user).trim().split(' '), ['given', 'read']);
        assert.equal(inside(`cat ${folder}/read`, user), 'read');
        assert.match(inside(`cat ${folder}/secret 2>&1 || true`, user), /No such file/);
        assert.equal(inside('echo /dev/*', user).trim(), '/dev/null');
      });

      it('lets be written what was given for it, and nothing else, nor its root', () => {
        assert.equal(inside(`echo more >> ${folder}/given && echo done`, user), 'done\n');
        for (const path of [`${folder}/read`, `${folder}/new`, '/new', '/usr/new']) {
          assert.match(inside(`(echo x >> ${path}) 2>&1 && echo written || true`, user), /Read-only file system|Permission denied/, path);
        }
      });

      it('has no network but a loopback that is down, and none of the host\'s', () => {
        const devices = inside('cat /proc/net/dev', user).trim().split('\n').slice(2);
        assert.deepEqual(devices.map((line) => line.split(':')[0]!.trim()), ['lo']);
        // A table with a route has a heading and the route; without one it is empty.
        assert.equal(inside('wc -l < /proc/net/route', user).trim(), '0');
      });

      it('cannot mount, leave, or gain a capability', () => {
        assert.match(inside('grep -E "NoNewPrivs" /proc/self/status', user), /NoNewPrivs:\s*1/);
        for (const attack of ['mount -t tmpfs none /usr', 'umount /usr', 'unshare -m true', 'chroot /usr /bin/true', 'mount -o remount,rw /usr']) {
          assert.equal(inside(`${attack} >/dev/null 2>&1 && echo did || echo refused`, user).trim(), 'refused', attack);
        }
        assert.equal(inside('ulimit -c; ulimit -Hc', user), '0\n0\n');
      });
    });
  }

  it('says what it could not be given, and starts nothing', () => {
    const fail = () => execFileSync(tool, ['exec', '--jail', '--read', join(folder, 'none'), '--', '/bin/true'], { encoding: 'utf8', stdio: 'pipe' });
    assert.throws(fail, { status: 1, stderr: /no jail: .*\/none: No such file/ });
  });
});
