/** A wait that did not end in time: says which step it was. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError';
  readonly step: string;

  constructor(step: string, limitMs: number) {
    super(`${step} did not end within ${limitMs} ms`);
    this.step = step;
  }
}

/** What Node's timers hold (timers, "setTimeout"): a longer one would end at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Waits for `work`, at most `limitMs`.
 * @param step names the wait in the error
 * @throws RangeError where no timer is that long
 * @throws DeadlineError after `limitMs`; the work itself goes on unwatched, its late error is swallowed
 */
export async function within<T>(step: string, limitMs: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  try {
    if (!(limitMs <= MAX_TIMER_MS)) throw new RangeError(`${step} cannot have a limit of ${limitMs} ms: ${MAX_TIMER_MS} ms is the longest.`);
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new DeadlineError(step, limitMs)), limitMs);
    });
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
    work.catch(() => undefined);
  }
}
