/** Packs a folder into the zip that CreateMicrovmImage takes. */
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readdir, realpath, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative, sep } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ZipFile } from 'yazl';
import { CommandFailure } from './command-line.ts';

/** Contents alone decide the archive's hash, so that the same folder is the same object. */
const FIXED_TIME = new Date('2020-01-01T00:00:00Z');

/** An archive in a temporary folder, which goes with it. */
export interface SourceArchive extends AsyncDisposable {
  readonly path: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly files: number;
}

/**
 * Zips all files of a folder. Symbolic links are followed where they stay inside it.
 * @throws CommandFailure where it has no Dockerfile, or holds a link that leads out or something that is no file
 */
export async function packSource(folder: string): Promise<SourceArchive> {
  const root = await realpath(folder).catch((cause: unknown) => {
    throw new CommandFailure(`There is no folder ${folder}.`, { cause });
  });
  if (!(await stat(join(root, 'Dockerfile')).catch(() => undefined))?.isFile()) {
    throw new CommandFailure(`${folder} has no Dockerfile.`);
  }
  const work = await mkdtemp(join(tmpdir(), 'lull-zip-'));
  try {
    const path = join(work, 'source.zip');
    const files = await filesOf(root);
    const zip = new ZipFile();
    for (const { name, real, mode } of files) zip.addFile(real, name, { mtime: FIXED_TIME, mode });
    zip.end();
    const hash = createHash('sha256');
    let sizeBytes = 0;
    const measure = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        hash.update(chunk);
        sizeBytes += chunk.length;
        done(null, chunk);
      },
    });
    zip.once('error', (error) => measure.destroy(error));
    await pipeline(zip.outputStream, measure, createWriteStream(path, { mode: 0o600 }));
    return {
      path,
      sizeBytes,
      sha256: hash.digest('hex'),
      files: files.length,
      [Symbol.asyncDispose]: () => rm(work, { recursive: true, force: true }),
    };
  } catch (error) {
    await rm(work, { recursive: true, force: true });
    throw error;
  }
}

interface SourceFile {
  readonly name: string;
  readonly real: string;
  readonly mode: number;
}

async function filesOf(root: string): Promise<readonly SourceFile[]> {
  const found: SourceFile[] = [];
  const visit = async (folder: string, above: readonly string[]): Promise<void> => {
    const here = await realpath(folder);
    if (above.includes(here)) throw new CommandFailure(`${folder} is a link to a folder that holds it.`);
    for (const name of (await readdir(folder)).sort()) {
      const path = join(folder, name);
      const real = await realpath(path).catch((cause: unknown) => {
        throw new CommandFailure(`${path} leads nowhere.`, { cause });
      });
      if (real !== root && !real.startsWith(root + sep)) throw new CommandFailure(`${path} leads out of ${root}.`);
      const about = await stat(real);
      if (about.isDirectory()) await visit(path, [...above, here]);
      else if (about.isFile()) found.push({ name: relative(root, path).split(sep).join('/'), real, mode: about.mode });
      else throw new CommandFailure(`${path} is neither a file nor a folder.`);
    }
  };
  await visit(root, []);
  return found;
}
