import { availableParallelism, cpus } from 'node:os';

/** The machine's processors, for the head of a result. */
export const processors = () => `${availableParallelism()} cores (${cpus()[0]?.model.trim() ?? 'unknown CPU'})`;
