/** The pages for people, held to what is there: the tests that promises name, commands with their options, links and paths. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { test } from 'node:test';
import type { Terminal } from '../../../src/cli/command-line.ts';
import { runCommandLine } from '../../../src/cli/program.ts';
import { createMachine } from '../../../src/main/machine.ts';

const ROOT = join(import.meta.dirname, '../../..');
const PAGES = globSync(['*.md', 'docs/**/*.md'], { cwd: ROOT }).map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }));
const pageOf = (name: string) => PAGES.find(({ path }) => path === name)?.text ?? assert.fail(`${name} is missing`);

const QUOTED = String.raw`"(?:\\.|[^"\\])+"`;
/** ``Held by `FILE`: "NAME", "NAME".`` */
const PROOF = new RegExp(String.raw`Held by \`([^\`]+)\`: (${QUOTED}(?:, ${QUOTED})*)`, 'g');

/** The promises of a page: number and text, on one line each. */
function promisesOf(page: string): { number: number; text: string }[] {
  const parts = page.split(/^(?=\d+\. )/m).slice(1);
  return parts.map((part) => {
    const text = part.replace(/^## [^]*/m, '').replaceAll(/\s+/g, ' ').trim();
    return { number: Number.parseInt(text, 10), text };
  });
}

/** A name without the backslashes that its quotes ask for. */
const plain = (name: string) => name.replaceAll(/\\(.)/g, '$1');

const proofsOf = (text: string) =>
  [...text.matchAll(PROOF)].flatMap(([, file = '', names = '']) => [...names.matchAll(/"((?:\\.|[^"\\])+)"/g)].map(([, name = '']) => ({ file, name: plain(name) })));

/** Names of the tests in a source: TypeScript's as they are written, Rust's functions. */
function testsIn(file: string): ReadonlySet<string> {
  const source = readFileSync(join(ROOT, file), 'utf8');
  const found = file.endsWith('.rs')
    ? source.matchAll(/#\[test\]\s+fn\s+(\w+)/g)
    : source.matchAll(/\b(?:test|suite|describe|it)\(\s*(?:'((?:\\.|[^'\\])*)'|`((?:\\.|[^`\\])*)`|"((?:\\.|[^"\\])*)")/g);
  return new Set([...found].map((match) => plain(match[1] ?? match[2] ?? match[3] ?? '')));
}

test('every promise names tests that are there', () => {
  const promises = promisesOf(pageOf('SPECIFICATION.md'));
  assert.deepEqual(promises.map(({ number }) => number), promises.map((_, at) => at + 1));
  // One that is not in the form would go unseen.
  const unread = promises.filter(({ text }) => text.split('Held by').length - 1 !== [...text.matchAll(PROOF)].length || proofsOf(text).length === 0);
  assert.deepEqual(unread, []);
  const proofs = promises.flatMap(({ text }) => proofsOf(text));
  const missing = proofs.filter(({ file, name }) => !existsSync(join(ROOT, file)) || !testsIn(file).has(name));
  assert.deepEqual(missing, []);
});

/** The lines of sh that a page shows. */
const shownLines = (page: string) =>
  [...page.matchAll(/^```sh\n([^]*?)^```/gm)].flatMap(([, block = '']) => block.split('\n')).map((line) => line.trim());

/** `lull WORD…` in lines and in inline code, without what follows it in the shell. */
function shownCommands(page: string): string[] {
  const inline = [...page.matchAll(/`((?:\.\/)?lull [^`]+)`/g)].map(([, code = '']) => code);
  return [...shownLines(page), ...inline].flatMap((line) => [...line.matchAll(/(?:^|[\s(])(?:\.\/)?lull ([a-z-][^|&;)"<>]*)/g)].map(([, words = '']) => words.trim()));
}

/** What `lull COMMAND --help` prints, and that of the command below it where one is named; undefined where there is no such command. */
async function helpOf(command: string, below = ''): Promise<string | undefined> {
  let printed = '';
  const surroundings = { env: {}, uid: 1000 };
  const terminal: Terminal = { ...surroundings, dataFolder: () => '/nowhere', out: (text) => void (printed += text.toString()), say: () => undefined, signal: new AbortController().signal };
  const status = await runCommandLine([...command.split(' '), '--help'], { terminal, machine: createMachine(surroundings) });
  if (status !== 0 || !printed.includes(`Usage: lull ${command}`)) return undefined;
  const hasBelow = below !== '' && new RegExp(`^  ${below} `, 'm').test(printed.split('\nCommands:')[1] ?? '');
  return hasBelow ? await helpOf(`${command} ${below}`) : printed;
}

test('every command that is shown is one, with its options', async () => {
  const wrong: string[] = [];
  const shown = PAGES.flatMap(({ path, text }) => shownCommands(text).map((words) => ({ path, words })));
  assert.ok(shown.some(({ path }) => path === 'README.md'));
  for (const { path, words } of shown) {
    const [command = '', ...rest] = words.split(/\s+/);
    const help = command.startsWith('--') ? `${command}` : await helpOf(command, /^[a-z-]+$/.test(rest[0] ?? '') ? rest[0] : '');
    const options = rest.filter((word) => word.startsWith('-')).map((word) => word.split('=')[0]!);
    const unknown = options.filter((option) => help?.match(new RegExp(`(^|[\\s,])${option}\\b`, 'm')) === null);
    if (help === undefined || unknown.length > 0) wrong.push(`${path}: lull ${words}`);
  }
  assert.deepEqual(wrong, []);
});

/** Paths of the repository in inline code: what begins with one of its folders, without what stands for a part of a name. */
const PATH = /^(?:src|test|guest|docs|examples|setup|\.ci)(?:\/[\w.-]+)*\/?$/;

test('every link and path leads somewhere', () => {
  const broken = PAGES.flatMap(({ path, text }) => {
    const prose = text.replaceAll(/^```[^]*?^```/gm, '');
    const links = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target).filter((target) => !/^[a-z]+:/.test(target));
    const linked = links.map((target) => join(dirname(path), target.split('#')[0] || basename(path)));
    const named = [...prose.matchAll(/`([^`\s]+)`/g)].map(([, code = '']) => code).filter((code) => PATH.test(code));
    return [...linked, ...named].filter((target) => !existsSync(join(ROOT, target))).map((target) => `${path}: ${target}`);
  });
  assert.deepEqual(broken, []);
});
