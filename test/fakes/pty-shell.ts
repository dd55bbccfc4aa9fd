/** A shell of this machine on a real terminal, in place of one in a microVM. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Duplex, type Writable } from 'node:stream';
import type { ShellSession } from '../../src/domain/ports.ts';

const PROGRAM = join(import.meta.dirname, 'pty-shell.py');

export class PtyShell implements ShellSession {
  readonly stream: Duplex;
  /** Every size that was asked for, in order. */
  readonly sizes: { readonly cols: number; readonly rows: number }[] = [];
  /** Resolves when the terminal is gone. */
  readonly gone: Promise<unknown>;
  readonly #child: ChildProcess;

  constructor() {
    this.#child = spawn('python3', [PROGRAM], { stdio: ['pipe', 'pipe', 'inherit', 'pipe'] });
    this.gone = once(this.#child, 'exit');
    this.#sizes.on('error', () => undefined);
    this.stream = Duplex.from({ readable: this.#child.stdout!, writable: this.#child.stdin! });
    this.stream.once('close', () => this.#child.kill());
  }

  get #sizes(): Writable {
    return this.#child.stdio[3] as Writable;
  }

  resize(size: { readonly cols: number; readonly rows: number }): Promise<void> {
    this.sizes.push(size);
    return new Promise((resolve, reject) => {
      this.#sizes.write(`${size.cols} ${size.rows}\n`, (error) => (error ? reject(error) : resolve()));
    });
  }
}
