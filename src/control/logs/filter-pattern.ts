/**
 * Filter patterns for unstructured lines (CloudWatch Logs User Guide, "Filter pattern syntax"): terms that must be there,
 * `"phrases"`, `-excluded` and `?optional` ones. Upper and lower case differ.
 */
import { invalidLogQuery } from '../../domain/log-stream.ts';

interface Term {
  readonly kind: 'required' | 'excluded' | 'optional';
  readonly text: string;
}

const TERM = /\s*([-?]?)(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))/y;

/**
 * @returns whether a line matches
 * @throws LullError validation where the pattern cannot be read, or is of a kind that is not offered
 */
export function filterPattern(pattern: string): (text: string) => boolean {
  const trimmed = pattern.trim();
  if (/^[{[]/.test(trimmed)) throw invalidLogQuery('Invalid filter pattern: patterns of JSON and of columns are not offered by Lull; use terms, "phrases", -excluded and ?optional ones.');
  if (/(^|\s)%.*%/.test(trimmed)) throw invalidLogQuery('Invalid filter pattern: regular expressions are not offered by Lull; use terms, "phrases", -excluded and ?optional ones.');
  const terms = termsOf(trimmed);
  const of = (kind: Term['kind']) => terms.filter((term) => term.kind === kind).map(({ text }) => text);
  const [required, excluded, optional] = [of('required'), of('excluded'), of('optional')];
  return (text) => {
    if (excluded.some((term) => text.includes(term))) return false;
    if (required.length > 0) return required.every((term) => text.includes(term));
    // As on AWS, terms with a question mark count only where there are none without.
    return optional.length === 0 || optional.some((term) => text.includes(term));
  };
}

function termsOf(pattern: string): readonly Term[] {
  const terms: Term[] = [];
  for (let at = 0; at < pattern.length; at = TERM.lastIndex) {
    TERM.lastIndex = at;
    const match = TERM.exec(pattern);
    if (match === null) throw invalidLogQuery('Invalid filter pattern');
    const text = match[2] === undefined ? (match[3] ?? '') : match[2].replaceAll(/\\(.)/g, '$1');
    const kind = match[1] === '-' ? 'excluded' : match[1] === '?' ? 'optional' : 'required';
    terms.push({ kind, text });
  }
  return terms;
}
