/** The scenario's image goes: its versions one by one, a failed one and an active one, and the last with the image. */
import type { JsonObject } from './client.ts';
import { recorded, type Step } from './scenario-run.ts';

const microvms = { service: 'lambda-microvms' } as const;
const imageIdentifier = '${imageArn}';

/** Deletes a version, and waits for its image. @param latest the image's latest versions then */
const deleteVersion = (imageVersion: string, latest: JsonObject): readonly Step[] => [
  {
    id: `delete version ${imageVersion}`,
    ...microvms,
    operation: 'DeleteMicrovmImageVersion',
    input: { imageIdentifier, imageVersion },
    expect: { imageIdentifier, imageVersion, state: 'DELETING' },
  },
  { id: `the image without version ${imageVersion}`, ...microvms, operation: 'GetMicrovmImage', input: { imageIdentifier }, expect: { state: 'UPDATED', ...latest }, repeat: true },
  {
    id: `version ${imageVersion} has gone`,
    ...microvms,
    operation: 'GetMicrovmImageVersion',
    input: { imageIdentifier, imageVersion },
    error: recorded('version not found', { arn: '${imageArn}', version: imageVersion }),
  },
];

export const DELETIONS: readonly Step[] = [
  ...deleteVersion('3.0', { latestActiveImageVersion: '2.0', latestFailedImageVersion: { $absent: true } }),
  ...deleteVersion('2.0', { latestActiveImageVersion: '1.0', latestFailedImageVersion: { $absent: true } }),
  {
    id: 'delete the last version',
    ...microvms,
    operation: 'DeleteMicrovmImageVersion',
    input: { imageIdentifier, imageVersion: '1.0' },
    error: { type: 'ValidationException', status: 400, message: { $matches: 'last version' } },
  },
  { id: 'delete the image', ...microvms, operation: 'DeleteMicrovmImage', input: { imageIdentifier }, expect: { imageIdentifier: '${imageArn}', state: 'DELETING' } },
  {
    id: 'the image has gone',
    ...microvms,
    operation: 'GetMicrovmImage',
    input: { imageIdentifier },
    error: recorded('image not found', { arn: '${imageArn}' }),
    repeat: true,
  },
];
