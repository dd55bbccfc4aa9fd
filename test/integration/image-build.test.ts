/** Real container builds: what a Dockerfile becomes. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { BuildFailure } from '../../src/domain/image.ts';
import type { ContainerBuilder } from '../../src/image/container-build.ts';
import type { OciConfig } from '../../src/image/oci-config.ts';
import { Files } from '../../src/lib/files.ts';
import { makeScratchDisk } from '../../src/image/root-disk.ts';
import { buildOnce, cannotBuild, testBuilder, workFolder } from './image-build-fixture.ts';

const COUNTER = `
FROM lull/base AS compile
COPY counter.sh /src/
RUN echo compiled > /src/out
FROM lull/base
COPY --from=compile /src/out /app/out
COPY --chown=app:app counter.sh /app/
RUN chmod 755 /app/counter.sh && id && ! [ -e /src ]
ENV GREETING="hello there" FROM_BASE=changed
WORKDIR /app
USER app
EXPOSE 8080/tcp 9000-9001 53/udp
ENTRYPOINT ["/app/counter.sh"]
CMD ["--port", "8080"]
`;

describe('container build', { skip: await cannotBuild() }, () => {
  let work: { path: string } & Disposable;
  let builder: ContainerBuilder;
  before(async () => {
    work = workFolder();
    builder = await testBuilder(work.path);
  });
  after(async () => {
    await builder?.[Symbol.asyncDispose]();
    work?.[Symbol.dispose]();
  });

  it('keeps everything that a Dockerfile says', async () => {
    const built = await buildOnce({ folder: work.path, builder, dockerfile: COUNTER, files: { 'counter.sh': '#!/bin/sh\necho 1\n' } });
    assert.equal(built.error, undefined, built.lines.join('\n'));
    assert.deepEqual(built.config, {
      entrypoint: ['/app/counter.sh'],
      cmd: ['--port', '8080'],
      env: ['PATH=/usr/bin', 'GREETING=hello there', 'FROM_BASE=changed'],
      workingDir: '/app',
      user: 'app',
      exposedTcpPorts: [8080, 9000, 9001],
    } satisfies OciConfig);
    const script = dump(built.rootDisk, '/app/counter.sh');
    assert.match(script, /Uid: 1000 +Gid: 1000/);
    assert.match(script, /Access: 0755/);
    assert.match(dump(built.rootDisk, '/app/out'), /Uid: 0 +Gid: 0/);
    assert.doesNotMatch(dump(built.rootDisk, '/src'), /Access/);
    const file = statSync(built.rootDisk);
    assert.equal(file.mode & 0o777, 0o444);
    assert.equal(file.uid, process.getuid?.());
  });

  it('uses its layers again', async () => {
    const dockerfile = 'FROM lull/base\nRUN echo once > /once\n';
    await buildOnce({ folder: work.path, builder, dockerfile });
    const again = await buildOnce({ folder: work.path, builder, dockerfile });
    assert.ok(again.lines.some((line) => line.includes('Using cache')), again.lines.join('\n'));
  });

  it('makes the same root disk of the same layers, and forgets layers of a version on demand', async () => {
    const twice = { folder: work.path, builder, dockerfile: 'FROM lull/base\nCOPY file /file\n', files: { file: 'content' } };
    const [one, two] = [await buildOnce(twice), await buildOnce(twice)];
    assert.deepEqual(readFileSync(one.rootDisk), readFileSync(two.rootDisk));
    const cached = await builder.cached();
    assert.ok(cached.length >= 2 && cached.every(({ sizeBytes }) => sizeBytes > 0), JSON.stringify(cached));
    for (const { tag } of cached) await builder.forget(tag);
    assert.deepEqual(await builder.cached(), []);
    assert.deepEqual((await buildOnce(twice)).error, undefined);
  });

  it('builds the same where only vfs works', async () => {
    await using other = await testBuilder(work.path, { storageDriver: 'vfs' });
    const built = await buildOnce({ folder: work.path, builder: other, dockerfile: COUNTER, files: { 'counter.sh': '#!/bin/sh\necho 1\n' } });
    assert.equal(built.error, undefined, built.lines.join('\n'));
    assert.match(dump(built.rootDisk, '/app/counter.sh'), /Uid: 1000 +Gid: 1000/);
  });

  it('keeps file capabilities', async () => {
    const built = await buildOnce({ folder: work.path, builder, dockerfile: 'FROM lull/base\nRUN setcap cap_net_bind_service=ep /usr/bin/cat\n' });
    assert.equal(built.error, undefined, built.lines.join('\n'));
    assert.match(dump(built.rootDisk, '/usr/bin/cat'), /Xattr size: [1-9]/);
  });

  it('says so when a configured name stands for another base', async () => {
    const built = await buildOnce({ folder: work.path, builder, dockerfile: 'FROM public.ecr.aws/lambda/microvms:al2023-minimal\nRUN id\n' });
    assert.equal(built.error, undefined, built.lines.join('\n'));
    assert.ok(built.lines.some((line) => line.includes('lull/base is used in its place')), built.lines.join('\n'));
  });

  it('shows settings to RUN and leaves none in the image', async () => {
    await using other = await testBuilder(work.path, {
      settings: { proxy: { http_proxy: 'http://proxy.example:3128' }, files: [{ source: '/etc/debian_version', target: '/etc/settings.conf' }], buildArgs: { FLAVOUR: 'vanilla' } },
    });
    const dockerfile = 'FROM lull/base\nARG FLAVOUR\nRUN echo "flavour=$FLAVOUR proxy=$http_proxy" && cat /etc/settings.conf && ! echo x > /etc/settings.conf\n';
    const built = await buildOnce({ folder: work.path, builder: other, dockerfile });
    assert.equal(built.error, undefined, built.lines.join('\n'));
    assert.ok(built.lines.includes('flavour=vanilla proxy=http://proxy.example:3128'), built.lines.join('\n'));
    assert.ok(!JSON.stringify(built.config).includes('proxy'));
    // The mount point stays, as with every builder; what was shown there does not.
    assert.match(dump(built.rootDisk, '/etc/settings.conf'), /Size: 0 /);
  });

  it('fails with the words of AWS and the reason in the log', async () => {
    const built = await buildOnce({ folder: work.path, builder, dockerfile: 'FROM lull/base\nRUN echo "no such thing" >&2; exit 3\n' });
    assert.ok(built.error instanceof BuildFailure);
    assert.equal(built.error.code, 'CONTAINER_BUILD_FAILED');
    assert.equal(built.error.message, 'The container image build failed.');
    assert.ok(built.lines.includes('no such thing'));
    for (const dockerfile of ['', 'NONSENSE here\n', 'FROM lull/base\nCOPY missing /\n', 'FROM no.such.registry.invalid/x\n']) {
      const bad = await buildOnce({ folder: work.path, builder, dockerfile });
      assert.ok(bad.error instanceof BuildFailure, dockerfile);
      assert.equal(bad.error.code, 'CONTAINER_BUILD_FAILED');
    }
  });

  it('makes an empty scratch disk that takes next to nothing', async () => {
    const path = join(work.path, 'scratch.ext4');
    const allocated = await makeScratchDisk(new Files(), path, 8 * 1024 ** 3);
    assert.equal(statSync(path).size, 8 * 1024 ** 3);
    assert.ok(allocated < 1024 ** 2, `${allocated} bytes`);
    execFileSync('/usr/sbin/e2fsck', ['-fn', path], { stdio: 'ignore' });
  });
});

function dump(disk: string, path: string): string {
  return execFileSync('dump.erofs', [`--path=${path}`, disk], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
}
