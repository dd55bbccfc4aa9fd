/** The little XML that S3 needs, written by hand: text is escaped once, here. */
import type { Realm } from '../../domain/ids.ts';

const S3_NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/';

const NAMED: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/**
 * Escapes text for an element or an attribute. Control characters become numeric references, as S3 writes them; parsers
 * of XML 1.0 refuse most of them, which is what `encoding-type=url` is for.
 */
export function escapeXml(text: string): string {
  return text.replace(/[&<>"\u0000-\u001f\u007f-\u009f\ufffe\uffff]/g, (char) => NAMED[char] ?? `&#x${char.charCodeAt(0).toString(16)};`);
}

/** `<name>text</name>`. */
export const element = (name: string, text: string | number | boolean) => `<${name}>${escapeXml(String(text))}</${name}>`;

/** `<name>…</name>` around XML. */
export const wrap = (name: string, inner: string) => `<${name}>${inner}</${name}>`;

/** A whole document; S3's errors have no namespace. */
export function xmlDocument(root: string, inner: string, options: { namespace?: null } = {}): string {
  const attribute = options.namespace === null ? '' : ` xmlns="${S3_NAMESPACE}"`;
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${root}${attribute}>${inner}</${root}>`;
}

/** ISO 8601 with milliseconds, as S3 writes moments in XML. */
export const isoTime = (atMs: number) => new Date(atMs).toISOString();

/** The account, as the one who owns or began something. */
export const ownerElement = (name: 'Owner' | 'Initiator', { account }: Pick<Realm, 'account'>) =>
  wrap(name, element('ID', account) + element('DisplayName', account));
