/**
 * The seam through which everything passes that leaves a mark outside this process: files, folders, commits, processes. In a
 * server nobody listens; the tests of crashes trace it, make a step fail, or end a process between two of them
 * (docs/reliability.md). The wall `EFFECTS_APART` in oxlint.config.ts keeps what could leave a mark otherwise out of the house.
 */

/** One step that leaves a mark. */
export interface Effect {
  /** What is done, in a word or two: `rename`, `fsync`, `commit`. */
  readonly kind: string;
  /** To what: a path, a statement, the name of a machine. */
  readonly subject: string;
  /** Where it is given another name: that one. */
  readonly to?: string;
}

/** Who hears of effects. Called in the thread of the server. */
export interface Effects {
  /** What it throws is thrown in place of the effect. */
  before(effect: Effect): void;
  /** Not called of an effect that failed. */
  after(effect: Effect): void;
}

/** Nobody listens. */
export const DIRECT: Effects = { before: () => undefined, after: () => undefined };

/** Does `act`, which is the effect. */
export async function effect<T>(effects: Effects, what: Effect, act: () => Promise<T>): Promise<T> {
  effects.before(what);
  const result = await act();
  effects.after(what);
  return result;
}
