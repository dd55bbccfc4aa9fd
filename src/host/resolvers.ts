import { readFile } from 'node:fs/promises';

/** The name servers of a file such as `/etc/resolv.conf` (resolv.conf(5)), IPv4 and IPv6; none where it is not there. */
export async function resolversIn(path: string): Promise<readonly string[]> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return [...text.matchAll(/^nameserver\s+([0-9a-fA-F.:]+)\s*$/gm)].map(([, address]) => address!);
}
