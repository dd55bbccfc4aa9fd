/** Tags of the scenario's image. */
import { recorded, type Step } from './scenario-run.ts';

const microvms = { service: 'lambda-microvms' } as const;
const Resource = '${imageArn}';
const MISSING = 'arn:aws:lambda:${region}:${account}:microvm-image:missing-${client}';
const INVALID = { type: 'InvalidParameterValueException', status: 400, message: { $matches: "'resource' failed to satisfy constraint" } };

export const TAGS: readonly Step[] = [
  { id: 'its tags', ...microvms, operation: 'ListTags', input: { Resource }, expect: { Tags: { team: 'red', stage: 'test' } } },
  { id: 'tag it', ...microvms, operation: 'TagResource', input: { Resource, Tags: { team: 'blue', 'cost centre': '42' } } },
  { id: 'untag it', ...microvms, operation: 'UntagResource', input: { Resource, TagKeys: ['stage', 'never there'] } },
  { id: 'its new tags', ...microvms, operation: 'ListTags', input: { Resource }, expect: { Tags: { team: 'blue', 'cost centre': '42', stage: { $absent: true } } } },
  ...Object.entries({ ListTags: {}, TagResource: { Tags: { a: 'b' } }, UntagResource: { TagKeys: ['a'] } }).flatMap(([operation, input]): Step[] => [
    { id: `${operation} of nothing`, ...microvms, operation, input: { Resource: MISSING, ...input }, error: recorded('image not found', { arn: MISSING }) },
    { id: `${operation} of no ARN`, ...microvms, operation, input: { Resource: 'no:arn', ...input }, error: INVALID },
  ]),
];
