/** Whose certificates a client takes, and what it says of others. */
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';

// Each is made once for many requests: reading a hundred roots takes longer than an answer.

/**
 * What connections to the API trust: the system's roots, Node's own with those of NODE_EXTRA_CA_CERTS, and one more PEM.
 * Naming any root at all would otherwise put all these aside.
 */
export const apiTrust = (pem: string | undefined): SecureContext =>
  createSecureContext({ ca: [...new Set([...getCACertificates('default'), ...getCACertificates('system'), ...(pem === undefined ? [] : [pem])])] });

/** What connections to endpoints trust: the bundle of the data folder, which has the system's roots in it, and NODE_EXTRA_CA_CERTS. */
export const endpointTrust = (bundle: string | undefined): SecureContext =>
  createSecureContext({ ca: [...getCACertificates('extra'), ...(bundle === undefined ? getCACertificates('default') : [bundle])] });

/** OpenSSL's names (as Node gives them) for a chain that leads to no root that is trusted. */
const UNTRUSTED: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

const UNFIT: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'has a certificate that has expired. Renew it, and start the server again.',
  CERT_NOT_YET_VALID: 'has a certificate that is not valid yet. Look at the clocks of both machines.',
  ERR_TLS_CERT_ALTNAME_INVALID: 'has a certificate for other names. Give the server one of those with --api-host.',
};

/** What is wrong with the certificate of who answered, and the mend; undefined where the failure is another. */
export function certificateFault(code: string | undefined): string | undefined {
  if (code === undefined) return undefined;
  if (UNTRUSTED.has(code)) return `has a certificate that is not trusted here (${code}). Name the PEM file of its CA in NODE_EXTRA_CA_CERTS.`;
  return UNFIT[code];
}
