/** A wait that did not end in time: says which step it was. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError';
  readonly step: string;

  constructor(step: string, limitMs: number) {
    super(`${step} did not end within ${limitMs} ms`);
    this.step = step;
  }
}

/**
 * Waits for `work`, at most `limitMs`.
 * @param step names the wait in the error
 * @throws DeadlineError after `limitMs`; the work itself goes on unwatched, its late error is swallowed
 */
export async function within<T>(step: string, limitMs: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new DeadlineError(step, limitMs)), limitMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
    work.catch(() => undefined);
  }
}
