/** One task at a time for each key, in the order of arrival; keys do not wait for each other. */
export class KeyedQueue {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** Runs `task` after everything queued earlier for `key`. Its result, or its error, is the caller's. */
  run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const previous = this.#tails.get(key) ?? Promise.resolve();
    const result = previous.then(task, task);
    const tail: Promise<void> = result.then(
      () => undefined,
      () => undefined,
    );
    this.#tails.set(key, tail);
    void tail.then(() => this.#forget(key, tail));
    return result;
  }

  /** True while something is queued or runs for `key`. */
  isBusy(key: string): boolean {
    return this.#tails.has(key);
  }

  /** Resolves when nothing is queued for any key. */
  async idle(): Promise<void> {
    while (this.#tails.size > 0) await Promise.all(this.#tails.values());
  }

  #forget(key: string, tail: Promise<unknown>): void {
    if (this.#tails.get(key) === tail) this.#tails.delete(key);
  }
}
