/** Pieces below this are copied together, so that a guest that sends single bytes costs bytes and not objects. */
const SMALL_BYTES = 4 * 1024;
/** Room that small pieces share. */
const SHARED_BYTES = 16 * 1024;

/** Bytes that wait for their reader, in order. */
export class PieceQueue {
  #pieces: Buffer[] = [];
  #sizeBytes = 0;
  /** The last piece's whole allocation, where it is ours and has room left. */
  #shared: { room: Buffer; used: number } | undefined;

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  push(bytes: Buffer): void {
    this.#sizeBytes += bytes.length;
    if (bytes.length >= SMALL_BYTES) {
      this.#shared = undefined;
      this.#pieces.push(bytes);
      return;
    }
    let shared = this.#shared;
    const isFitting = shared !== undefined && shared.used + bytes.length <= SHARED_BYTES;
    if (shared === undefined || !isFitting) {
      shared = { room: Buffer.allocUnsafe(SHARED_BYTES), used: 0 };
      this.#shared = shared;
    } else {
      this.#pieces.pop();
    }
    bytes.copy(shared.room, shared.used);
    shared.used += bytes.length;
    this.#pieces.push(shared.room.subarray(0, shared.used));
  }

  /** The oldest piece. */
  shift(): Buffer | undefined {
    const piece = this.#pieces.shift();
    if (piece === undefined) return undefined;
    this.#sizeBytes -= piece.length;
    if (this.#pieces.length === 0) this.#shared = undefined;
    return piece;
  }

  clear(): void {
    this.#pieces = [];
    this.#sizeBytes = 0;
    this.#shared = undefined;
  }
}
