/** The unprivileged account under which root's builds run. */
import { chown, mkdir, readFile } from 'node:fs/promises';
import { runCommand } from './command.ts';

/** Its name, as SECURITY and `doctor` show it. */
export const BUILD_USER = 'lull-build';
/** Its home: the container storage of builds lives there. */
export const BUILD_HOME = '/var/lib/lull-build';

/** Ids in one user's range: what a whole Debian tree needs, nobody (65534) included. */
export const RANGE_SIZE = 65_536;
/** Where adduser starts handing out ranges (login.defs SUB_UID_MIN). */
const FIRST_ID = 100_000;
const LIMIT_MS = 30_000;

/** A user's numeric ids and home. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

/** Reads an account from passwd; undefined where there is none. */
export async function account(name: string): Promise<Account | undefined> {
  const line = (await readFile('/etc/passwd', 'utf8')).split('\n').find((entry) => entry.startsWith(`${name}:`));
  if (line === undefined) return undefined;
  const fields = line.split(':');
  return { name, uid: Number(fields[2]), gid: Number(fields[3]), home: fields[5]! };
}

/** A range of ids in /etc/subuid or /etc/subgid. */
export interface IdRange {
  readonly owner: string;
  readonly first: number;
  readonly count: number;
}

/** Parses subuid(5). */
export function parseIdRanges(text: string): readonly IdRange[] {
  return text
    .split('\n')
    .map((line) => /^([^:#]+):(\d+):(\d+)$/.exec(line.trim()))
    .filter((match) => match !== null)
    .map((match) => ({ owner: match[1]!, first: Number(match[2]), count: Number(match[3]) }));
}

/** The first id of a free range: after every range given. */
export function freeRangeStart(ranges: readonly IdRange[]): number {
  return Math.max(FIRST_ID, ...ranges.map((range) => range.first + range.count));
}

/** Ranges of a user in subuid and subgid, by name or number. */
export async function idRanges(name: string, uid: number): Promise<{ uids: number; gids: number }> {
  const sum = async (file: string) =>
    (await ranges(file))
      .filter((range) => range.owner === name || range.owner === String(uid))
      .reduce((total, range) => total + range.count, 0);
  return { uids: await sum('/etc/subuid'), gids: await sum('/etc/subgid') };
}

const ranges = async (file: string) => parseIdRanges(await readFile(file, 'utf8').catch(() => ''));

const nextFreeRange = async () => {
  const start = freeRangeStart([...(await ranges('/etc/subuid')), ...(await ranges('/etc/subgid'))]);
  return `${start}-${start + RANGE_SIZE - 1}`;
};

/** What root runs to give a user the ids that builds need. */
export async function subordinateIdsMend(username: string): Promise<string> {
  const range = await nextFreeRange();
  return `usermod --add-subuids ${range} --add-subgids ${range} ${username}`;
}

/**
 * Makes the account with a range of subordinate ids that no other account has. Root only; does nothing where all is there.
 * @returns the account, and what was changed
 */
export async function ensureBuildUser(): Promise<{ account: Account; changed: boolean }> {
  let changed = false;
  if ((await account(BUILD_USER)) === undefined) {
    const argv = ['useradd', '--system', '--user-group', '--shell', '/usr/sbin/nologin', '--home-dir', BUILD_HOME, BUILD_USER] as const;
    await runCommand([...argv], { purpose: `adding the user ${BUILD_USER}`, timeoutMs: LIMIT_MS });
    changed = true;
  }
  const found = (await account(BUILD_USER))!;
  const held = await idRanges(BUILD_USER, found.uid);
  if (held.uids < RANGE_SIZE || held.gids < RANGE_SIZE) {
    const range = await nextFreeRange();
    const argv: [string, ...string[]] = ['usermod'];
    if (held.uids < RANGE_SIZE) argv.push('--add-subuids', range);
    if (held.gids < RANGE_SIZE) argv.push('--add-subgids', range);
    await runCommand([...argv, BUILD_USER], { purpose: `giving ${BUILD_USER} subordinate ids`, timeoutMs: LIMIT_MS });
    changed = true;
  }
  await mkdir(BUILD_HOME, { recursive: true, mode: 0o700 });
  await chown(BUILD_HOME, found.uid, found.gid);
  return { account: found, changed };
}
