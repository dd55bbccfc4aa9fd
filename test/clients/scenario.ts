/**
 * The scenario that every client goes through, on one server with real microVMs: data, in order. `\${name}` is a variable: given are
 * `client`, `artifact` (path of a zip), `account` and `region`; a step's `save` makes others.
 */
import type { Step } from './scenario-run.ts';
import { IMAGE_BUILD, IMAGE_END, IMAGE_UPDATE } from './scenario-images.ts';
import { LIFE, MEMORY_QUOTA_MIB, RUN } from './scenario-microvms.ts';
import { OBJECTS } from './scenario-objects.ts';
import { REFUSALS } from './scenario-refusals.ts';

/** What the server is started with. */
export const SERVER_OPTIONS = ['--memory-quota', `${MEMORY_QUOTA_MIB}`];

export const SCENARIO: readonly Step[] = [...OBJECTS, ...REFUSALS, ...IMAGE_BUILD, ...RUN, ...IMAGE_UPDATE, ...LIFE, ...IMAGE_END];
