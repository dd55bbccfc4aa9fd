/** The initramfs archive, byte for byte where the format asks for it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cpioArchive } from '../../../src/setup/cpio.ts';

const HEADER_BYTES = 110;
const aligned = (length: number) => Math.ceil(length / 4) * 4;

/** Reads an archive as the kernel does (init/initramfs.c). */
function read(archive: Buffer) {
  const entries: { name: string; mode: number; content: string; device: [number, number] }[] = [];
  for (let at = 0; ; ) {
    assert.equal(archive.toString('latin1', at, at + 6), '070701');
    const field = (index: number) => Number.parseInt(archive.toString('latin1', at + 6 + index * 8, at + 14 + index * 8), 16);
    const nameEnd = at + HEADER_BYTES + field(11);
    const name = archive.toString('utf8', at + HEADER_BYTES, nameEnd - 1);
    const start = aligned(nameEnd);
    if (name === 'TRAILER!!!') {
      assert.equal(start, archive.length);
      return entries;
    }
    entries.push({ name, mode: field(1), content: archive.toString('utf8', start, start + field(6)), device: [field(9), field(10)] });
    at = aligned(start + field(6));
  }
}

test('folders, files and devices come out as they went in', () => {
  const archive = cpioArchive([
    { type: 'folder', name: 'dev', mode: 0o755 },
    { type: 'device', name: 'dev/console', mode: 0o600, major: 5, minor: 1 },
    { type: 'file', name: 'init', mode: 0o755, content: Buffer.from('#!') },
    { type: 'file', name: 'lull/order', mode: 0o644, content: Buffer.from('abcde') },
  ]);
  assert.deepEqual(read(archive), [
    { name: 'dev', mode: 0o040755, content: '', device: [0, 0] },
    { name: 'dev/console', mode: 0o020600, content: '', device: [5, 1] },
    { name: 'init', mode: 0o100755, content: '#!', device: [0, 0] },
    { name: 'lull/order', mode: 0o100644, content: 'abcde', device: [0, 0] },
  ]);
});
