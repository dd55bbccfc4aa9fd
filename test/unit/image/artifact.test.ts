import assert from 'node:assert/strict';
import { existsSync, lstatSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { BuildFailure, type BuildFailureCode } from '../../../src/domain/image.ts';
import { DEFAULT_ARTIFACT_LIMITS, unpackArtifact, type ArtifactLimits } from '../../../src/image/artifact.ts';
import { linkEscapes, nameFault } from '../../../src/image/artifact-names.ts';
import { zipOf, type ZipEntry } from './zip-bytes.ts';

const MIB = 1024 ** 2;
const DOCKERFILE: ZipEntry = { name: 'Dockerfile', data: 'FROM lull/base\n' };
const LINK = 0o120777;

describe('artifact', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'lull-artifact-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  async function unpack(zip: Buffer, limits: Partial<ArtifactLimits> = {}): Promise<{ entries: number; expandedBytes: number }> {
    writeFileSync(join(folder, 'zip'), zip);
    return unpackArtifact({ zipPath: join(folder, 'zip'), into: join(folder, 'out'), limits: { ...DEFAULT_ARTIFACT_LIMITS, ...limits }, signal: AbortSignal.timeout(20_000) });
  }

  async function refused(zip: Buffer, detail: RegExp, options: { limits?: Partial<ArtifactLimits>; code?: BuildFailureCode } = {}): Promise<void> {
    await assert.rejects(unpack(zip, options.limits), (error: unknown) => {
      assert.ok(error instanceof BuildFailure, String(error));
      assert.equal(error.code, options.code ?? 'ARCHIVE_INVALID', error.message);
      assert.match(error.message, detail);
      return true;
    });
    assert.deepEqual(readdirSync(folder).filter((name) => name !== 'zip' && name !== 'out'), []);
  }

  it('unpacks files, folders, links and modes', async () => {
    const result = await unpack(
      zipOf([
        DOCKERFILE,
        { name: 'src/', mode: 0o040700 },
        { name: 'src/run.sh', data: '#!/bin/sh\n', mode: 0o104777, stored: true },
        { name: 'deep/er/file', data: 'x'.repeat(100_000), mode: 0o100600 },
        { name: 'src/link', data: '../deep/er', mode: LINK },
      ]),
    );
    assert.deepEqual(result, { entries: 5, expandedBytes: 15 + 10 + 100_000 });
    const mode = (path: string): number => lstatSync(join(folder, 'out', path)).mode & 0o7777;
    assert.equal(mode('Dockerfile'), 0o644);
    assert.equal(mode('src'), 0o755);
    assert.equal(mode('src/run.sh'), 0o755);
    assert.equal(mode('deep'), 0o755);
    assert.equal(mode('deep/er/file'), 0o644);
    assert.equal(readlinkSync(join(folder, 'out/src/link')), '../deep/er');
    assert.equal(readFileSync(join(folder, 'out/src/link/file'), 'utf8').length, 100_000);
  });

  it('needs a Dockerfile that is a file at the root', async () => {
    for (const entry of [{ name: 'app/Dockerfile', data: 'x' }, { name: 'Dockerfile/', mode: 0o040755 }, { name: 'dockerfile' }, { name: 'Dockerfile', data: 'other', mode: LINK }]) {
      await refused(zipOf([entry]), /has no Dockerfile at its root/, { code: 'ARCHIVE_DOCKERFILE_NOT_FOUND' });
    }
    await refused(zipOf([]), /Dockerfile/, { code: 'ARCHIVE_DOCKERFILE_NOT_FOUND' });
  });

  it('refuses names that lead elsewhere', async () => {
    const names = ['../x', 'a/../../x', '/etc/x', 'a\\..\\x', 'C:/x', 'c:x', 'a//x', './x', 'a/./x', 'a\0b', `${'n'.repeat(256)}`, `${'d/'.repeat(150)}x`];
    for (const name of names) await refused(zipOf([DOCKERFILE, { name, data: 'x' }]), /not usable/);
    assert.equal(existsSync(join(folder, 'out')), false, 'nothing was made');
  });

  it('refuses links that leave, also through other links', async () => {
    for (const target of ['/etc/passwd', '..', '../x', 'a/../../x', '', 'a\0b', 'x'.repeat(5000)]) {
      await refused(zipOf([DOCKERFILE, { name: 'link', data: target, mode: LINK }]), /link/);
      rmSync(join(folder, 'out'), { recursive: true, force: true });
    }
    await refused(zipOf([DOCKERFILE, { name: 'd/e/', mode: 0o040755 }, { name: 'a', data: 'd/e', mode: LINK }, { name: 'b', data: 'a/../../..', mode: LINK }]), /points outside/);
    rmSync(join(folder, 'out'), { recursive: true });
    await refused(zipOf([DOCKERFILE, { name: 'loop', data: 'loop', mode: LINK }]), /points outside/);
  });

  it('writes nothing through a link', async () => {
    await refused(zipOf([DOCKERFILE, { name: 'a', data: '.', mode: LINK }, { name: 'a/x', data: 'x' }]), /under "a", which is no folder/);
    await refused(zipOf([DOCKERFILE, { name: 'a/x', data: 'x' }, { name: 'a', data: '.', mode: LINK }]), /twice/);
  });

  it('refuses devices, pipes, sockets and liars about their kind', async () => {
    for (const type of [0o060000, 0o020000, 0o010000, 0o140000]) await refused(zipOf([DOCKERFILE, { name: 'x', mode: type | 0o644 }]), /a device, a pipe or a socket/);
    await refused(zipOf([DOCKERFILE, { name: 'x', mode: 0o040755 }]), /not named as one/);
    await refused(zipOf([DOCKERFILE, { name: 'x/', mode: 0o100644 }]), /is none/);
    await refused(zipOf([DOCKERFILE, { name: 'x/', mode: 0o040755, data: 'data' }]), /with contents/);
  });

  it('refuses the same name twice, and entries that share bytes', async () => {
    await refused(zipOf([DOCKERFILE, DOCKERFILE]), /twice/);
    await refused(zipOf([DOCKERFILE, { name: 'x' }, { name: 'x/y' }]), /no folder/);
    const shared = { data: 'x'.repeat(1000) };
    await refused(zipOf([DOCKERFILE, { name: 'a', ...shared }, { name: 'b', ...shared, sharesWith: 1 }]), /overlaps/);
  });

  it('refuses encrypted entries and methods that it does not know', async () => {
    await refused(zipOf([DOCKERFILE, { name: 'x', data: 'x', flags: 1 }]), /encrypted/);
    await refused(zipOf([DOCKERFILE, { name: 'x', data: 'x', method: 12 }]), /method 12/);
  });

  it('has limits', async () => {
    const zeros = Buffer.alloc(20 * MIB);
    await refused(zipOf([DOCKERFILE, { name: 'x', data: zeros }]), /more than 500 times/);
    await refused(zipOf([DOCKERFILE, { name: 'x', data: zeros }]), /expands to more than/, { limits: { expandedBytes: MIB } });
    await refused(zipOf([DOCKERFILE, { name: 'x' }, { name: 'y' }]), /3 entries, the limit is 2/, { limits: { entries: 2 } });
    await refused(zipOf([DOCKERFILE]), /the limit is 10/, { limits: { compressedBytes: 10 } });
  });

  it('stops an entry that expands to more than it says', async () => {
    await refused(zipOf([DOCKERFILE, { name: 'x', data: Buffer.alloc(MIB), expandedBytes: 10 }]), /"x": .*bytes/);
    assert.ok(!existsSync(join(folder, 'out/x')) || lstatSync(join(folder, 'out/x')).size <= 64 * 1024);
  });

  it('refuses damage', async () => {
    const good = zipOf([DOCKERFILE, { name: 'x', data: 'some text, some text', crc: 1 }]);
    await refused(good, /checksum/);
    const whole = zipOf([{ name: 'Dockerfile', data: 'FROM lull/base\n'.repeat(100), stored: true }, { name: 'y', data: 'text' }]);
    for (const zip of [Buffer.alloc(0), Buffer.from('not a zip'), Buffer.alloc(100_000, 0x50), whole.subarray(0, -1), whole.subarray(0, 60), whole.subarray(40), zipOf([DOCKERFILE], { entryCount: 9 })]) {
      rmSync(join(folder, 'out'), { recursive: true, force: true });
      await refused(zip, /not usable/);
    }
  });

  it('answers every single flipped byte with an archive or a refusal', async () => {
    const whole = zipOf([DOCKERFILE, { name: 'a/b', data: 'text text text' }, { name: 'l', data: 'a', mode: LINK }]);
    for (let at = 0; at < whole.length; at++) {
      const zip = Buffer.from(whole);
      zip[at] = (zip[at] as number) ^ 0xff;
      rmSync(join(folder, 'out'), { recursive: true, force: true });
      await unpack(zip).catch((error: unknown) => assert.ok(error instanceof BuildFailure, `byte ${at}: ${String(error)}`));
      assert.deepEqual(readdirSync(folder).filter((name) => name !== 'zip' && name !== 'out'), []);
    }
  });

  it('ends with its signal', async () => {
    writeFileSync(join(folder, 'zip'), zipOf([DOCKERFILE]));
    const reason = new Error('stopped');
    await assert.rejects(unpackArtifact({ zipPath: join(folder, 'zip'), into: join(folder, 'out'), signal: AbortSignal.abort(reason) }), (error) => error === reason);
  });
});

describe('artifact names', () => {
  it('accepts what projects use', () => {
    for (const name of ['Dockerfile', 'a b/c', '.dockerignore', '..a', 'a..', 'ünï/cödé', 'node_modules/@scope/x/', 'ab:c', '-rf']) assert.equal(nameFault(name), undefined, name);
  });

  it('follows links as the kernel does', () => {
    const targets = new Map([
      ['a', 'd/e'],
      ['d/e/up', '../..'],
      ['x', 'a/up/d'],
      ['y', 'a/up/../z'],
    ]);
    assert.equal(linkEscapes('x', targets), false);
    assert.equal(linkEscapes('y', targets), true);
  });
});
