/** Zips by their bytes, so that they may lie. APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16. */
import { crc32, deflateRawSync } from 'node:zlib';

const S_IFREG = 0o100000;

/** One entry; every field that is absent is the honest one. */
export interface ZipEntry {
  readonly name: string | Buffer;
  readonly data?: string | Buffer;
  /** Unix mode with its type bits; 0644 of a regular file where absent. */
  readonly mode?: number;
  readonly stored?: boolean;
  readonly flags?: number;
  readonly crc?: number;
  readonly expandedBytes?: number;
  readonly method?: number;
  /** Index of an earlier entry whose local header this one names as its own. */
  readonly sharesWith?: number;
}

/** The archive of these entries. */
export function zipOf(entries: readonly ZipEntry[], lies: { entryCount?: number } = {}): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  const offsets: number[] = [];
  let offset = 0;
  for (const entry of entries) {
    const name = Buffer.from(entry.name);
    const data = Buffer.from(entry.data ?? '');
    const packed = entry.stored === true ? data : deflateRawSync(data);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE((entry.flags ?? 0) | 0x800, 2);
    common.writeUInt16LE(entry.method ?? (entry.stored === true ? 0 : 8), 4);
    common.writeUInt32LE(entry.crc ?? crc32(data), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(entry.expandedBytes ?? data.length, 18);
    common.writeUInt16LE(name.length, 22);
    const at = entry.sharesWith === undefined ? offset : (offsets[entry.sharesWith] as number);
    offsets.push(at);
    if (entry.sharesWith === undefined) {
      const local = Buffer.concat([Buffer.from('PK\x03\x04', 'latin1'), common, name, packed]);
      parts.push(local);
      offset += local.length;
    }
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(((entry.mode ?? S_IFREG | 0o644) << 16) >>> 0, 6);
    tail.writeUInt32LE(at, 10);
    directory.push(Buffer.concat([Buffer.from('PK\x01\x02\x14\x03', 'latin1'), common, tail, name]));
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(lies.entryCount ?? entries.length, 8);
  end.writeUInt16LE(lies.entryCount ?? entries.length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, central, end]);
}
