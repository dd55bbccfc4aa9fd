/** Loaded before a server (`node --import`): its worker threads take no checksums of files, so that it can be seen what those cost. */
import { parentPort } from 'node:worker_threads';

/** SHA-256 in hex, of anything. */
const NONE = '0'.repeat(64);

if (parentPort !== null) {
  const port = parentPort;
  const listen = port.on.bind(port) as (event: string, listener: (message: { job?: string }) => void) => typeof port;
  // The thread never hears of the job.
  port.on = ((event: string, listener: (message: { job?: string }) => void) =>
    listen(event, (message) => (message.job === 'hash' ? port.postMessage({ result: NONE }) : listener(message)))) as typeof port.on;
}
