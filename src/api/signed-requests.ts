/** Lets only signed requests into a surface whose bodies are read whole. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { unparseable } from '../contract/exceptions.ts';
import { sha256Hex } from '../lib/sigv4.ts';
import type { Authenticator, KnownSigner } from './authentication.ts';
import { bodyOf } from './request-body.ts';

/** What a surface asks of a signature. */
export interface SignatureRule {
  /** The signing name. */
  readonly service: string;
  /** Requests that need none. */
  readonly isOpen?: (request: FastifyRequest) => boolean;
}

/**
 * First whom the claim names, then, with the body there, the signature.
 * @returns who signed a request, for its handler
 */
export function requireSignature(app: FastifyInstance, authenticator: Authenticator, rule: SignatureRule): (request: FastifyRequest) => KnownSigner {
  const signers = new WeakMap<FastifyRequest, KnownSigner>();
  const isOpen = rule.isOpen ?? (() => false);
  const signerOf = (request: FastifyRequest): KnownSigner => {
    const signer = signers.get(request);
    if (signer === undefined) throw new Error('a request reached its handler unidentified');
    return signer;
  };
  app.addHook('onRequest', async (request) => {
    if (isOpen(request)) return;
    signers.set(request, await authenticator.identify(request.raw, rule.service));
  });
  app.addHook('preValidation', async (request) => {
    if (isOpen(request)) return;
    // Always the hash of what arrived: a false x-amz-content-sha256 is signed, so the signature cannot match it.
    authenticator.verify(request.raw, signerOf(request), sha256Hex(bodyOf(request)));
    const declared = request.headers['x-amz-content-sha256'];
    if (declared !== undefined && declared !== sha256Hex(bodyOf(request))) throw unparseable();
  });
  return signerOf;
}
