/** What is measured: a server in a process of its own, on a core of its own. */

/** What the process serves: the data plane, or the least that anybody could write in its place. */
export type MeasuredKind = 'proxy' | 'bare';

/** The one argument of the process. */
export interface MeasuredStart {
  readonly kind: MeasuredKind;
  readonly upstreamPort: number;
  readonly certPath: string;
  readonly keyPath: string;
}

/** What the process says: once it is ready, and each time its memory has been tidied. */
export type MeasuredMessage = { readonly port: number; readonly headers: Readonly<Record<string, string>> } | 'tidy';

/** Parent of the endpoints' names. */
export const DOMAIN = 'microvm.localhost';
