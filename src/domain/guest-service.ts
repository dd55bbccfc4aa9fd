/**
 * What a guest reaches of its host, with a network or without: the metadata service at 169.254.169.254 and an object store for
 * its execution role (contract reference, section 8.2). Never the control plane.
 */
export const GUEST_SERVICES = ['metadata', 's3'] as const;
export type GuestService = (typeof GUEST_SERVICES)[number];

/** Where the agent listens for the guest's object store (docs/agent-protocol.md, "Streams to the host"). */
export const GUEST_S3_ENDPOINT = 'http://169.254.170.2';
