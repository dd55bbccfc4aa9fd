/** Inputs and answers of the tag operations: contract reference, section 1.3, "Tags". */
import { z } from 'zod';
import { boundedList, patterned } from './constraints.ts';
import { tagKey, tagMap } from './microvms.ts';

/** Section 1.3: one path segment that holds a whole ARN. */
const resource = patterned(
  'arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:\\d{12}:' +
    '(function:[a-zA-Z0-9-_]+(:(\\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|' +
    'event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|' +
    '(capacity-provider|network-connector|microvm-image):[a-zA-Z0-9-_]+)',
)
  .min(1)
  .max(10_000);

export const resourceLabel = z.object({ Resource: resource });
export const tagResourceInput = z.object({ Resource: resource, Tags: tagMap });
export const untagResourceInput = z.object({ Resource: resource, tagKeys: boundedList(tagKey, { min: 1 }) });

export const listTagsAnswer = z.object({ Tags: z.record(z.string(), z.string()) });
