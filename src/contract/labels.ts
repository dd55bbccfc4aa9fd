/** Path templates of the tables of operations and extensions: `{label}` stands for one percent-encoded segment. */

const LABEL = /\{(\w+)\}/g;

/** The template as the router writes it. */
export const routerPath = (template: string) => template.replace(LABEL, ':$1');

/** True where a path, as received, is one that the template stands for. */
export function matchesTemplate(template: string, path: string): boolean {
  const want = template.split('/');
  const have = path.split('/');
  return want.length === have.length && want.every((segment, at) => (segment.startsWith('{') ? have[at] !== '' : segment === have[at]));
}

/** Fills the labels of a template (for clients). @throws Error where a label has no value */
export function fillTemplate(template: string, labels: Readonly<Record<string, string | undefined>>): string {
  return template.replace(LABEL, (_, name: string) => {
    const value = labels[name];
    if (value === undefined || value === '') throw new Error(`${template} needs a value for ${name}`);
    return encodeURIComponent(value);
  });
}
