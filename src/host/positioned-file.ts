/** Files read and written at given places, without a pause: for worker threads. */
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';

/** A file that is closed at the end of the block. One that is made (`wx`) is its owner's only. */
export function openedFile(path: string, flags: 'r' | 'r+' | 'wx'): { readonly fd: number } & Disposable {
  const fd = openSync(path, flags, 0o600);
  return { fd, [Symbol.dispose]: () => closeSync(fd) };
}

export const sizeOfOpen = (file: number): number => fstatSync(file).size;

/** Reads what there is, up to the length of `into`. @returns how much that was; 0 at the end of the file */
export const readSome = (file: number, into: Buffer, position: number): number => readSync(file, into, 0, into.length, position);

/** Fills `into` from a position of a file. @throws Error where the file ends before */
export function readAt(file: number, into: Buffer, position: number): void {
  for (let done = 0; done < into.length; ) {
    const got = readSync(file, into, done, into.length - done, position + done);
    if (got === 0) throw new Error(`unexpected end of file at ${position + done}`);
    done += got;
  }
}

export function writeAt(file: number, from: Buffer, position: number): void {
  for (let done = 0; done < from.length; ) done += writeSync(file, from, done, from.length - done, position + done);
}
