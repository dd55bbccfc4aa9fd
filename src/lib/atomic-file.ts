import { Files } from './files.ts';

/** {@link Files.writeAtomic}, for files that are no part of a microVM's or an image's life. */
export const writeFileAtomic = (path: string, contents: string | Buffer, mode?: number): Promise<void> => new Files().writeAtomic(path, contents, mode);
