/** Files as everything of a microVM's or an image's life writes them: each step that leaves a mark is an {@link Effect}. */
import { mkdirSync } from 'node:fs';
import { chmod, link, mkdir, open, rename, rm, writeFile, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DIRECT, effect, type Effects } from './effects.ts';

const OWNER_ONLY_FILE = 0o600;
const OWNER_ONLY_FOLDER = 0o700;

export class Files {
  readonly effects: Effects;

  constructor(effects: Effects = DIRECT) {
    this.effects = effects;
  }

  /** Makes a folder, and those above it, that only its owner sees; nothing where it is there. */
  async makeFolder(path: string): Promise<void> {
    await this.#do('make folder', path, () => mkdir(path, { recursive: true, mode: OWNER_ONLY_FOLDER }));
  }

  /** {@link makeFolder} without a pause. */
  makeFolderNow(path: string): void {
    this.effects.before({ kind: 'make folder', subject: path });
    mkdirSync(path, { recursive: true, mode: OWNER_ONLY_FOLDER });
    this.effects.after({ kind: 'make folder', subject: path });
  }

  /** Makes a folder that is not there yet. @throws the system's error where it is */
  makeNewFolder(path: string): Promise<void> {
    return this.#do('make folder', path, () => mkdir(path, { mode: OWNER_ONLY_FOLDER }));
  }

  /**
   * Makes a file that is not there yet and lets `fill` write it. Where that fails the file is gone again.
   * @throws the system's error where it is there, and what `fill` throws
   */
  create<T>(path: string, fill: (file: FileHandle) => Promise<T>): Promise<T> {
    return this.#do('write', path, async () => {
      await using file = await open(path, 'wx+', OWNER_ONLY_FILE);
      try {
        return await fill(file);
      } catch (error) {
        await rm(path, { force: true });
        throw error;
      }
    });
  }

  /**
   * Writes a file so that a crash at any moment leaves the old or the new contents, never a part: a temporary file beside it,
   * fsync, rename, fsync of the folder.
   * @param mode permissions of the new file
   */
  async writeAtomic(path: string, contents: string | Buffer, mode = OWNER_ONLY_FILE): Promise<void> {
    const temporary = `${path}.tmp`;
    await this.#write(temporary, contents, mode);
    await this.sync(temporary);
    await this.rename(temporary, path);
    await this.sync(dirname(path));
  }

  /** Like {@link writeAtomic}, but safe only against the end of this process, not against the loss of power: much quicker. */
  async replace(path: string, contents: string | Buffer): Promise<void> {
    const temporary = `${path}.tmp`;
    await this.#write(temporary, contents, OWNER_ONLY_FILE);
    await this.rename(temporary, path);
  }

  rename(from: string, to: string): Promise<void> {
    return effect(this.effects, { kind: 'rename', subject: from, to }, () => rename(from, to));
  }

  /** Gives a file a second name. */
  link(from: string, to: string): Promise<void> {
    return effect(this.effects, { kind: 'link', subject: from, to }, () => link(from, to));
  }

  chmod(path: string, mode: number): Promise<void> {
    return this.#do('chmod', path, () => chmod(path, mode));
  }

  /** Removes a file; nothing where it is not there. */
  remove(path: string): Promise<void> {
    return this.#do('remove', path, () => rm(path, { force: true }));
  }

  /** Removes a folder with all that is in it; nothing where it is not there. A crash leaves some of it. */
  removeTree(path: string): Promise<void> {
    return this.#do('remove tree', path, () => rm(path, { recursive: true, force: true }));
  }

  /** Makes durable: a file's bytes, or a folder's entries (names made, changed, removed). */
  sync(path: string): Promise<void> {
    return this.#do('fsync', path, async () => {
      await using file = await open(path, 'r');
      await file.sync();
    });
  }

  async #write(path: string, contents: string | Buffer, mode: number): Promise<void> {
    await this.#do('write', path, async () => {
      await writeFile(path, contents, { mode });
      // The umask, or a file of that name that a crash left, would have its say.
      await chmod(path, mode);
    });
  }

  async #do<T>(kind: string, subject: string, act: () => Promise<T>): Promise<T> {
    return effect(this.effects, { kind, subject }, act);
  }
}
