/** The application of `lull bench proxy`: bytes that lie ready, on a bare TCP port of this machine. */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';

/** What it answers. */
export const PATHS = { small: '/', down: '/down', up: '/up', socket: '/socket' } as const;

/** A body like that of a call to an API. */
const SMALL = Buffer.from(`HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 128\r\n\r\n${'x'.repeat(127)}\n`);
const SWITCHED = Buffer.from('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n');
const EMPTY = Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
const PIECE = Buffer.alloc(256 * 1024);
const HEAD_END = '\r\n\r\n';

export interface CannedUpstream extends AsyncDisposable {
  readonly port: number;
}

/** Serves on 127.0.0.1: a small answer, `bulkBytes` down, any number of bytes up, or a change of the protocol. */
export async function startCannedUpstream(bulkBytes: number): Promise<CannedUpstream> {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
    serve(socket, bulkBytes);
  });
  server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 });
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function serve(socket: Socket, bulkBytes: number): void {
  let head = '';
  /** Of a body that comes up. */
  let left = 0;
  const arrived = (bytes: number) => {
    left -= bytes;
    if (left === 0) socket.write(EMPTY);
  };
  socket.on('data', (chunk: Buffer) => {
    if (left > 0) return arrived(chunk.length);
    head += chunk.toString('latin1');
    const end = head.indexOf(HEAD_END);
    if (end < 0) return;
    const path = head.slice(head.indexOf(' ') + 1, head.indexOf(' HTTP/'));
    const early = head.length - end - HEAD_END.length;
    const length = path === PATHS.up ? Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1]) : 0;
    head = '';
    if (path === PATHS.small) return void socket.write(SMALL);
    if (path === PATHS.socket) return void socket.write(SWITCHED);
    if (path === PATHS.down) return pour(socket, bulkBytes);
    left = length;
    arrived(early);
  });
}

function pour(socket: Socket, bytes: number): void {
  let left = bytes;
  const fill = () => {
    while (left > 0) {
      const piece = left < PIECE.length ? PIECE.subarray(0, left) : PIECE;
      left -= piece.length;
      if (!socket.write(piece)) return;
    }
    socket.off('drain', fill);
  };
  socket.on('drain', fill);
  socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${bytes}\r\n\r\n`);
  fill();
}
