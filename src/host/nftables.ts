/** Tables of nftables, each of which is Lull's alone: nft(8). */
import { run } from './process.ts';

const LIMIT_MS = 10_000;

/** Whether there is an nftables that this user may change. Asked before a rule, so that a rule that is refused does not pass for its absence. */
export const nftablesWork = (): Promise<boolean> =>
  run(['nft', 'list', 'tables'], { timeoutMs: LIMIT_MS }).then(
    () => true,
    () => false,
  );

/** Names of the tables that hold rules for IPv4 and IPv6. @throws CommandError where nftables cannot be used */
export async function tablesOfInet(): Promise<readonly string[]> {
  const said = await run(['nft', 'list', 'tables', 'inet'], { timeoutMs: LIMIT_MS });
  return [...said.matchAll(/^table inet (\S+)$/gm)].map(([, name]) => name!);
}

/** Puts a table in place of the one of that name, in one step. @param chains its text @throws CommandError with what nft refuses */
export async function replaceTable(name: string, chains: string): Promise<void> {
  await apply(`${removal(name)}table inet ${name} {\n${chains}}\n`);
}

/** Afterwards there is none of that name, whether or not there was one. @throws CommandError where nftables cannot be used */
export async function removeTable(name: string): Promise<void> {
  await apply(removal(name));
}

/** Made first, so that it is there to be deleted. */
const removal = (name: string) => `table inet ${name}\ndelete table inet ${name}\n`;

async function apply(text: string): Promise<void> {
  await run(['nft', '-f', '-'], { input: text, timeoutMs: LIMIT_MS });
}
