/** Certificates that are renewed while the server runs: certbot, cert-manager, an operator's own script, or we ourselves. */
import { X509Certificate } from 'node:crypto';
import type { Certificate } from './certificate-files.ts';
import { Reread, type RereadKind, type RereadSubject } from './reread.ts';

const endOf = ({ cert }: Certificate) => new X509Certificate(cert).validToDate;

const CERTIFICATES: RereadKind<Certificate> = {
  isSame: (one, other) => one.cert.equals(other.cert) && one.key.equals(other.key),
  about: (certificate) => ({ expiresAt: endOf(certificate).toISOString() }),
  renewed: 'a new certificate is served',
  refused: 'the new certificate cannot be used, the one before stays',
};

/** One certificate and its key. What is not a chain with its key leaves the one before in force. */
export class CertificateWatch extends Reread<Certificate> {
  /** @throws LullError validation where the first one cannot be used: nothing is served with it */
  static async open(subject: RereadSubject<Certificate>): Promise<CertificateWatch> {
    return new CertificateWatch(subject, CERTIFICATES, await subject.read());
  }

  /** When the one in force ends. */
  get expiresAtMs(): number {
    return endOf(this.current).getTime();
  }
}
