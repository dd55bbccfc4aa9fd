/** Writes the `newc` archives that the kernel unpacks as its first file system (Documentation/driver-api/early-userspace/buffer-format.rst). */

/** An entry of the archive; folders come before what is in them. */
export type CpioEntry =
  | { readonly type: 'folder'; readonly name: string; readonly mode: number }
  | { readonly type: 'file'; readonly name: string; readonly mode: number; readonly content: Buffer }
  | { readonly type: 'device'; readonly name: string; readonly mode: number; readonly major: number; readonly minor: number };

const MAGIC = '070701';
const ALIGNMENT = 4;
const TYPE_BITS = { folder: 0o040000, file: 0o100000, device: 0o020000 } as const;
const TRAILER = 'TRAILER!!!';

/** The archive as bytes. Owner root, times zero: the same entries always give the same bytes. */
export function cpioArchive(entries: readonly CpioEntry[]): Buffer {
  const parts: Buffer[] = [];
  entries.forEach((entry, index) => {
    const content = entry.type === 'file' ? entry.content : Buffer.alloc(0);
    const device = entry.type === 'device' ? entry : { major: 0, minor: 0 };
    parts.push(header({ inode: index + 1, mode: TYPE_BITS[entry.type] | entry.mode, size: content.length, device, name: entry.name }));
    parts.push(content, padding(content.length));
  });
  parts.push(header({ inode: 0, mode: 0, size: 0, device: { major: 0, minor: 0 }, name: TRAILER }));
  return Buffer.concat(parts);
}

function header(entry: { inode: number; mode: number; size: number; device: { major: number; minor: number }; name: string }): Buffer {
  const name = Buffer.from(`${entry.name}\0`);
  const links = 1;
  const fields = [entry.inode, entry.mode, 0, 0, links, 0, entry.size, 0, 0, entry.device.major, entry.device.minor, name.length, 0];
  const text = MAGIC + fields.map((field) => field.toString(16).toUpperCase().padStart(8, '0')).join('');
  return Buffer.concat([Buffer.from(text), name, padding(text.length + name.length)]);
}

function padding(length: number): Buffer {
  return Buffer.alloc((ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT);
}
