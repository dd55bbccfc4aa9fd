/** How the disk of a folder stands, in bytes. */
export interface DiskFigures {
  readonly sizeBytes: number;
  readonly availableBytes: number;
  /** Promised to what is under way, of what is available. */
  readonly reservedBytes: number;
}
