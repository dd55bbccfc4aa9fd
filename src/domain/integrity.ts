/** Whether what is kept is still what was written: every byte of it, read on demand. */

/** One file against what its manifest says of it. */
export interface FileFinding {
  /** Its name in the folder of its snapshot, generation or microVM. */
  readonly file: string;
  readonly sizeBytes: number;
  /** What is wrong with it; null where it is whole. */
  readonly fault: string | null;
}

/** A generation of a suspended microVM. */
export interface Sleeper {
  readonly microvmId: string;
  readonly snapshotId: string;
  readonly generation: number;
}

/** Reads files whole, one after the other, away from everything that serves. Disposing ends the reading under way. */
export interface Inspection extends AsyncDisposable {
  /** The files of an image version's snapshot. */
  snapshot(snapshotId: string): AsyncIterable<FileFinding>;
  /** The files of a sleeper alone, its disk among them: that of an unchanged size and time is taken for unchanged. */
  generation(sleeper: Sleeper): AsyncIterable<FileFinding>;
}

/** What is asked to be verified; everything at rest where both are empty. */
export interface VerifyRequest {
  readonly images: readonly { readonly imageIdentifier: string; readonly imageVersion: string | null }[];
  readonly microvms: readonly string[];
}

/** A finding, and of what: `probe:1.0` or the id of a microVM. */
export interface VerifiedFile extends FileFinding {
  readonly subject: string;
}
