/**
 * Reads the XML documents that S3 clients send: elements and text. There are four small ones, and a general parser brings what a
 * request must never have (document types, entities, instructions), so what is not needed is refused here.
 */

/** An element as data: its text, or its children by name, in order. */
export type XmlValue = string | { readonly [name: string]: readonly XmlValue[] };

/** A document of S3 has three levels. */
const MAX_DEPTH = 8;
/** The longest list in one: the parts of an upload. */
const MAX_SIBLINGS = 10_000;

const DECLARATION = /^\ufeff?\s*(?:<\?xml\s[^<>?]*\?>)?\s*/;
/** An opening, closing or empty tag; attributes (S3's are namespaces) are passed over. */
const TAG = /<(\/?)([A-Za-z_][\w.-]*)((?:\s+[\w:.-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>/y;
const TEXT = /[^<]*/y;
const REFERENCE = /&(amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9a-fA-F]{1,6});/y;
const NAMED: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** What is not well-formed, or has what these documents never have. */
export class XmlRefusal extends Error {
  override readonly name = 'XmlRefusal';
}

interface OpenElement {
  readonly name: string;
  text: string;
  readonly children: Map<string, XmlValue[]>;
}

/**
 * Reads a whole document.
 * @param names those that it may have: a document of others could be of a great many, and each costs more than an element does
 * @throws XmlRefusal
 */
export function readXml(document: string, names: ReadonlySet<string>): { readonly root: string; readonly value: XmlValue } {
  let at = DECLARATION.exec(document)?.[0].length ?? 0;
  const match = (pattern: RegExp) => {
    pattern.lastIndex = at;
    const found = pattern.exec(document);
    at += found?.[0].length ?? 0;
    return found;
  };
  const top: OpenElement = { name: '', text: '', children: new Map() };
  const open = [top];
  for (;;) {
    const inner = open.at(-1) ?? top;
    inner.text += unescapeXml(match(TEXT)?.[0] ?? '');
    if (at >= document.length) break;
    const tag = match(TAG);
    if (tag === null) throw new XmlRefusal('not a tag');
    const [, closing, name = '', attributes, empty] = tag;
    if (closing === '') {
      if (open.length > MAX_DEPTH) throw new XmlRefusal('too deep');
      if (!names.has(name)) throw new XmlRefusal('an unknown element');
      open.push({ name, text: '', children: new Map() });
    }
    if (closing === '/' && (inner === top || inner.name !== name || attributes !== '' || empty !== '')) throw new XmlRefusal('a tag that closes nothing');
    if (closing === '/' || empty === '/') close(open);
  }
  const [[root, values] = ['', []], ...more] = top.children;
  if (open.length > 1 || more.length > 0 || values.length !== 1 || top.text.trim() !== '') throw new XmlRefusal('not one root element');
  return { root, value: values[0] ?? '' };
}

/** Hands the innermost element to the one around it. */
function close(open: OpenElement[]): void {
  const done = open.pop();
  const outer = open.at(-1);
  if (done === undefined || outer === undefined) throw new XmlRefusal('a tag that closes nothing');
  if (done.children.size > 0 && done.text.trim() !== '') throw new XmlRefusal('text between elements');
  const value = done.children.size === 0 ? done.text : Object.fromEntries(done.children);
  const siblings = outer.children.get(done.name);
  if (siblings === undefined) outer.children.set(done.name, [value]);
  else if (siblings.push(value) > MAX_SIBLINGS) throw new XmlRefusal('too many elements');
}

function unescapeXml(text: string): string {
  let plain = '';
  let at = 0;
  for (let next = text.indexOf('&'); next >= 0; next = text.indexOf('&', at)) {
    REFERENCE.lastIndex = next;
    const [whole, name] = REFERENCE.exec(text) ?? [];
    if (whole === undefined || name === undefined) throw new XmlRefusal('an unknown entity');
    plain += text.slice(at, next) + (NAMED[name] ?? character(name));
    at = next + whole.length;
  }
  return plain + text.slice(at);
}

/** `#65` or `#x41`. */
function character(reference: string): string {
  const codePoint = Number(reference.replace('#x', '0x').replace('#', ''));
  if (codePoint === 0 || codePoint > 0x10ffff || (codePoint >= 0xd800 && codePoint <= 0xdfff)) throw new XmlRefusal('not a character');
  return String.fromCodePoint(codePoint);
}
