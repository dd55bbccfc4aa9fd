/**
 * The scenario that every client goes through, on one server with real microVMs: data, in order. `\${name}` is a variable: given are
 * `client`, `artifact` (path of a zip), `account` and `region`; a step's `save` makes others.
 */
import type { Step } from './scenario-run.ts';
import { CONNECTORS } from './scenario-connectors.ts';
import { DELETIONS } from './scenario-deletions.ts';
import { BASES, BROKEN_IMAGE, IMAGE_BEGIN, IMAGE_BUILT, IMAGE_END, IMAGE_UPDATE } from './scenario-images.ts';
import { LIFE, MEMORY_QUOTA_MIB, RUN } from './scenario-microvms.ts';
import { IDENTITY, LOGS, QUOTAS } from './scenario-neighbours.ts';
import { MORE_OBJECTS, OBJECTS } from './scenario-objects.ts';
import { REFUSALS } from './scenario-refusals.ts';
import { TAGS } from './scenario-tags.ts';

/** What the server is started with. */
export const SERVER_OPTIONS = ['--quota', `memory=${MEMORY_QUOTA_MIB}`, '--builds-at-once', '6'];

/** What is slow, the builds, goes on behind what is quick. */
export const SCENARIO: readonly Step[] = [
  ...OBJECTS,
  ...IDENTITY,
  ...QUOTAS,
  ...IMAGE_BEGIN,
  ...REFUSALS,
  ...BASES,
  ...IMAGE_BUILT,
  ...RUN,
  ...IMAGE_UPDATE,
  ...TAGS,
  ...LIFE,
  ...CONNECTORS,
  ...LOGS,
  ...BROKEN_IMAGE,
  ...IMAGE_END,
  ...DELETIONS,
  ...MORE_OBJECTS,
];
