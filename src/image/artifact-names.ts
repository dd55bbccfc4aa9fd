/** Which names and kinds of entries an artifact may hold, and where its links may lead. Pure: no disk. */
import type { Entry } from 'yauzl';

/** What one path of the artifact becomes; folders that are only implied by other paths have no entry. */
export interface ArtifactNode {
  readonly type: 'file' | 'folder' | 'symlink';
  readonly executable: boolean;
  readonly entry: Entry | undefined;
}

/** Linux: NAME_MAX, and PATH_MAX less room for the folder that it is unpacked into. */
const MAX_NAME_BYTES = 255;
const MAX_PATH_BYTES = 3072;
const MAX_DEPTH = 100;
/** Linux follows at most forty links in one path. */
const MAX_LINKS_FOLLOWED = 40;

/** `versionMadeBy >> 8`: the system whose file modes are in the upper half of the external attributes. */
const MADE_BY_UNIX = 3;
const MADE_BY_MACOS = 19;
const S_IFMT = 0o170000;
const FILE_TYPES: Readonly<Record<number, ArtifactNode['type']>> = { 0o100000: 'file', 0o040000: 'folder', 0o120000: 'symlink' };

const printable = (name: string): string => JSON.stringify(name.slice(0, 200));

/**
 * The tree that the entries make.
 * @returns by path without trailing slash, in the archive's order; or what is wrong, as the end of a sentence
 */
export function checkedTree(entries: readonly Entry[]): ReadonlyMap<string, ArtifactNode> | string {
  const tree = new Map<string, ArtifactNode>();
  for (const entry of entries) {
    const wrong = nameFault(entry.fileName);
    if (wrong !== undefined) return `the name ${printable(entry.fileName)} ${wrong}`;
    const path = entry.fileName.replace(/\/$/, '');
    const node = nodeOf(entry);
    if (typeof node === 'string') return `${printable(entry.fileName)} is ${node}`;
    const before = tree.get(path);
    if (before !== undefined && (before.entry !== undefined || before.type !== node.type)) return `${printable(entry.fileName)} is there twice`;
    const parent = addParents(tree, path);
    if (parent !== undefined) return `${printable(entry.fileName)} lies under ${printable(parent)}, which is no folder`;
    tree.set(path, node);
  }
  return tree;
}

/** Why a name is refused, as the end of a sentence, or undefined. */
export function nameFault(name: string): string | undefined {
  if (name.includes('\0')) return 'holds a NUL';
  if (name.includes('\\')) return 'holds a backslash';
  if (name.startsWith('/')) return 'is absolute';
  if (/^[a-z]:/i.test(name)) return 'names a drive';
  if (Buffer.byteLength(name) > MAX_PATH_BYTES) return 'is too long';
  const parts = name.replace(/\/$/, '').split('/');
  if (parts.length > MAX_DEPTH) return 'is too deep';
  for (const part of parts) {
    if (part === '' || part === '.' || part === '..') return `holds ${part === '' ? 'an empty part' : `"${part}"`}`;
    if (Buffer.byteLength(part) > MAX_NAME_BYTES) return 'is too long';
  }
  return undefined;
}

function nodeOf(entry: Entry): ArtifactNode | string {
  const isFolderName = entry.fileName.endsWith('/');
  const madeBy = entry.versionMadeBy >>> 8;
  const mode = madeBy === MADE_BY_UNIX || madeBy === MADE_BY_MACOS ? entry.externalFileAttributes >>> 16 : 0;
  const format = mode & S_IFMT;
  const type = format === 0 ? (isFolderName ? 'folder' : 'file') : FILE_TYPES[format];
  if (type === undefined) return 'a device, a pipe or a socket';
  if (isFolderName !== (type === 'folder')) return isFolderName ? 'named as a folder and is none' : 'a folder and not named as one';
  if (type === 'folder' && entry.uncompressedSize > 0) return 'a folder with contents';
  return { type, executable: type === 'file' && (mode & 0o111) !== 0, entry };
}

/** Adds the folders above `path`. @returns one that is something else */
function addParents(tree: Map<string, ArtifactNode>, path: string): string | undefined {
  for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1)) {
    const parent = path.slice(0, slash);
    const known = tree.get(parent);
    if (known === undefined) tree.set(parent, { type: 'folder', executable: false, entry: undefined });
    else if (known.type !== 'folder') return parent;
  }
  return undefined;
}

/**
 * True where following the link at `path` leaves the artifact, by itself or through other links.
 * @param targets what every link of the artifact says, by its path
 */
export function linkEscapes(path: string, targets: ReadonlyMap<string, string>): boolean {
  let followed = 0;
  let at: string[] = [];
  const todo = path.split('/');
  while (todo.length > 0) {
    const part = todo.shift() as string;
    if (part === '' || part === '.') continue;
    if (part === '..') {
      if (at.length === 0) return true;
      at = at.slice(0, -1);
      continue;
    }
    const target = targets.get([...at, part].join('/'));
    if (target === undefined) {
      at = [...at, part];
      continue;
    }
    followed += 1;
    if (followed > MAX_LINKS_FOLLOWED || target === '' || target.startsWith('/') || target.includes('\0')) return true;
    todo.unshift(...target.split('/'));
    if (todo.length > MAX_PATH_BYTES) return true;
  }
  return false;
}
