/** Measures named steps of one piece of work, on the monotonic clock. */
export class StepTimer {
  readonly #steps: { step: string; ms: number }[] = [];

  /** Runs `work` and keeps how long it took, also where it fails. */
  async time<T>(step: string, work: () => Promise<T> | T): Promise<T> {
    const start = performance.now();
    try {
      return await work();
    } finally {
      this.#steps.push({ step, ms: Math.round((performance.now() - start) * 100) / 100 });
    }
  }

  /** The steps so far, in the order in which they ended. */
  get steps(): readonly { readonly step: string; readonly ms: number }[] {
    return [...this.#steps];
  }
}
