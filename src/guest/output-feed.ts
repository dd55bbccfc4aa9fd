import { CREDIT_STEP } from './frame.ts';
import { PieceQueue } from './piece-queue.ts';

export type OutputName = 'stdout' | 'stderr';

/** Takes the application's output; what it returns is waited for before more comes, and before the guest may send more. */
export type OutputConsumer = (name: OutputName, bytes: Buffer) => void | Promise<void>;

/** The application's output on its way to one consumer: never more than the credit given. */
export class OutputFeed {
  readonly #consumer: OutputConsumer;
  readonly #giveBack: (count: number) => void;
  readonly #failed: (error: unknown) => void;
  /** Stretches of one name each, in order. */
  readonly #stretches: { readonly name: OutputName; readonly pieces: PieceQueue }[] = [];
  #window: number;
  #unreturned = 0;
  #isRunning = false;

  /**
   * @param options.credit - bytes that the guest may send before anything was consumed
   * @param options.giveBack - called with the number of bytes that may be sent in addition
   * @param options.failed - called when the consumer throws; nothing is consumed after that
   */
  constructor(consumer: OutputConsumer, options: { credit: number; giveBack: (count: number) => void; failed: (error: unknown) => void }) {
    this.#consumer = consumer;
    this.#window = options.credit;
    this.#giveBack = options.giveBack;
    this.#failed = options.failed;
  }

  /** Takes bytes. @returns false where they are beyond the credit */
  push(name: OutputName, bytes: Buffer): boolean {
    if (bytes.length > this.#window) return false;
    this.#window -= bytes.length;
    let last = this.#stretches.at(-1);
    if (last?.name !== name) {
      last = { name, pieces: new PieceQueue() };
      this.#stretches.push(last);
    }
    last.pieces.push(bytes);
    if (!this.#isRunning) void this.#run();
    return true;
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    try {
      for (let stretch = this.#stretches[0]; stretch !== undefined; stretch = this.#stretches[0]) {
        const piece = stretch.pieces.shift();
        if (piece === undefined) {
          this.#stretches.shift();
          continue;
        }
        await this.#consumer(stretch.name, piece);
        this.#consumed(piece.length);
      }
      this.#isRunning = false;
    } catch (error) {
      this.#failed(error);
    }
  }

  #consumed(count: number): void {
    this.#unreturned += count;
    const isIdle = this.#stretches.every((stretch) => stretch.pieces.sizeBytes === 0);
    if (this.#unreturned < CREDIT_STEP && !isIdle) return;
    this.#window += this.#unreturned;
    this.#giveBack(this.#unreturned);
    this.#unreturned = 0;
  }
}
