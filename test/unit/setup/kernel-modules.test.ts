/** The order in which the guest loads its modules. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { moduleOrder } from '../../../src/setup/kernel-modules.ts';

const kernel = await mkdtemp(join(tmpdir(), 'lull-test-'));
after(() => rm(kernel, { recursive: true, force: true }));
await mkdir(join(kernel, 'modules'));
await writeFile(join(kernel, 'modules.builtin'), 'kernel/crypto/crc32c_generic.ko\nkernel/fs/ext4/ext4.ko\n');
for (const [file, depends] of [
  ['virtio.ko', ''],
  ['virtio_ring.ko', 'virtio'],
  ['virtio-blk.ko', 'virtio_ring,virtio,crc32c_generic'],
  ['alone.ko', ''],
]) {
  await writeFile(join(kernel, 'modules', file!), `\x7fELF\0license=GPL\0depends=${depends}\0name=x\0`);
}

test('dependencies come first, once, and what is built in is left out', async () => {
  const order = await moduleOrder(kernel, ['alone', 'virtio_blk', 'virtio', 'ext4']);
  assert.deepEqual(order.map(({ name, file }) => `${name} ${file}`), ['alone alone.ko', 'virtio virtio.ko', 'virtio_ring virtio_ring.ko', 'virtio_blk virtio-blk.ko']);
});

test('a module that the kernel does not have is named', async () => {
  await assert.rejects(moduleOrder(kernel, ['erofs']), /no module erofs/);
});
