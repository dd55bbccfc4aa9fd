import { constants } from 'node:crypto';

/** What every TLS server of ours agrees to: RFC 9325, sections 3.1.1 and 4.2 (no version before 1.2; forward secrecy and AEAD alone). */
export const TLS_TERMS = {
  minVersion: 'TLSv1.2',
  // Of 1.2; those of 1.3 are all good.
  ciphers: ['ECDSA', 'RSA']
    .flatMap((kind) => ['AES128-GCM-SHA256', 'AES256-GCM-SHA384', 'CHACHA20-POLY1305'].map((cipher) => `ECDHE-${kind}-${cipher}`))
    .join(':'),
  // A client may not have us do handshakes again and again; 1.3 has none (RFC 9325, 3.5).
  secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
} as const;
