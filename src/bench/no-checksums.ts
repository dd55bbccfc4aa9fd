/** Loaded before a server (`node --import`): its worker threads take no checksums of memory, so that it can be seen what those cost. */
import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { isMainThread } from 'node:worker_threads';

/** SHA-256 in hex, of anything. */
const NONE = '0'.repeat(64);

if (!isMainThread) {
  const none = { update: () => none, digest: () => NONE };
  crypto.createHash = (() => none) as unknown as typeof crypto.createHash;
  syncBuiltinESMExports();
}
