/** Commits of what has happened already. */
import { isLullError } from '../domain/errors.ts';

const COMMIT_TRIES = 5;
const COMMIT_RETRY_MS = 200;

/**
 * Tries for a while, since a store that cannot write now (a full disk) must not cost what was done.
 * @param commit refused as a conflict it is not tried again
 * @param onRetry hears of every failure but the last, which is the caller's
 */
export async function commitOutcome<T>(commit: () => Promise<T>, onRetry: (error: unknown) => void): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await commit();
    } catch (error) {
      if (isLullError(error, 'conflict') || tries === COMMIT_TRIES) throw error;
      onRetry(error);
      await new Promise((resolve) => setTimeout(resolve, COMMIT_RETRY_MS));
    }
  }
}
