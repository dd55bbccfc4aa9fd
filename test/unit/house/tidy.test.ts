/** What a reader of the repository should never stumble over, checked over every file that is committed. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { suite, test } from 'node:test';
import { WALLS } from '../../../oxlint.config.ts';
import manifest from '../../../package.json' with { type: 'json' };

const ROOT = join(import.meta.dirname, '../../..');
const SELF = 'test/unit/house/tidy.test.ts';
/** As in oxlint.config.ts, for the languages that it does not read. */
const FILE_LINES = 400;

interface Source {
  readonly path: string;
  readonly text: string;
}

/** Every committed text file as it stands; undefined where this is no git checkout (an unpacked archive). */
function committedFiles(): readonly Source[] | undefined {
  const listing = spawnSync('git', ['ls-files', '-z'], { cwd: ROOT, encoding: 'utf8' });
  if (listing.status !== 0) return undefined;
  const paths = listing.stdout.split('\0').filter((path) => path !== '' && path !== SELF);
  const present = paths.filter((path) => existsSync(join(ROOT, path)) && statSync(join(ROOT, path)).isFile());
  const sources = present.map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }));
  return sources.filter(({ text }) => !text.includes('\0'));
}

const files = committedFiles();
const skip = files === undefined ? 'not a git checkout' : false;
const filesOf = (...extensions: string[]) => (files ?? []).filter(({ path }) => extensions.some((end) => path.endsWith(end)));

/** `file:line: text` of every line that a pattern matches. */
function linesWith(sources: readonly Source[], pattern: RegExp): string[] {
  return sources.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, at) => (pattern.test(line) ? [`${path}:${at + 1}: ${line.trim().slice(0, 120)}`] : [])),
  );
}

/** What stands between the quotes of every import, with its file. */
function importsOf(sources: readonly Source[]): { path: string; specifier: string }[] {
  const pattern = /(?:\bfrom\s+|\bimport\s+|\bimport\()'([^'\n]+)'/g;
  return sources.flatMap(({ path, text }) => [...text.matchAll(pattern)].map((match) => ({ path, specifier: match[1] ?? '' })));
}

/** Names that anybody may write down: public registries, and this machine. */
const PUBLIC_HOSTS = /^(localhost|127\.|\[?::1|(.*\.)?(npmjs\.org|debian\.org|ubuntu\.com|pypi\.org|crates\.io|docker\.io)$)/;

/** Hosts that this machine's environment names as proxy, mirror or package registry. */
function privateHosts(): string[] {
  const urls = Object.entries(process.env).filter(([name]) => /(proxy|registry|index|mirror|index_url)$/i.test(name));
  const hosts = urls.flatMap(([, value = '']) => (URL.canParse(value) ? [new URL(value).hostname] : []));
  return [...new Set(hosts)].filter((host) => host !== '' && !PUBLIC_HOSTS.test(host));
}

suite('committed files', { skip }, () => {
  test('name no path of somebody’s machine', () => {
    assert.deepEqual(linesWith(files ?? [], /(^|[\s'"`(=:[])\/(work|root|home\/[a-z]+|Users\/[a-z]+)\//i), []);
  });

  test('name no registry, proxy or mirror of somebody’s machine', () => {
    assert.deepEqual(linesWith(filesOf('package-lock.json'), /"resolved"/), []);
    assert.deepEqual(linesWith(filesOf('.npmrc', '.cargo/config.toml'), /^\s*(@.*:)?(registry|proxy|https-proxy|index)\s*=/), []);
    for (const host of privateHosts()) assert.deepEqual(linesWith(files ?? [], new RegExp(RegExp.escape(host), 'i')), []);
  });

  test('leave no work for later', () => {
    assert.deepEqual(linesWith(files ?? [], /\b(TODO|FIXME|XXX|HACK)\b/), []);
  });

  test('switch no wall or limit off', () => {
    const rules = /(oxlint|eslint)-disable.*(max-|restricted|no-cycle|explicit-any|floating)|(oxlint|eslint)-disable(-next-line|-line)?\s*(\*\/)?$|@ts-(ignore|nocheck)/;
    assert.deepEqual(linesWith(filesOf('.ts'), rules), []);
  });

  test(`have at most ${FILE_LINES} lines in Rust and sh`, () => {
    const length = ({ text }: Source) =>
      (text.split(/^#\[cfg\(test\)\]\nmod /m)[0] ?? '').split('\n').filter((line) => !/^\s*(\/\/.*|#.*)?$/.test(line)).length;
    const scripts = (files ?? []).filter(({ path, text }) => path.endsWith('.rs') || text.startsWith('#!/bin/sh'));
    assert.deepEqual(scripts.filter((file) => length(file) > FILE_LINES).map(({ path }) => path), []);
  });

  test('are named in kebab-case after what they hold', () => {
    const names = filesOf('.ts').map(({ path }) => path);
    assert.deepEqual(names.filter((path) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9-]+)*\.ts$/.test(basename(path))), []);
    assert.deepEqual(names.filter((path) => /(^|[/-])(utils?|helpers?|manager|misc|common|index)\.ts$/.test(path)), []);
  });

  test('of src are in a folder that has walls', () => {
    const sources = (files ?? []).map(({ path }) => path).filter((path) => path.startsWith('src/'));
    assert.deepEqual(sources.filter((path) => !Object.hasOwn(WALLS, path.split('/')[1] ?? '')), []);
  });

  test('import their neighbours by the full file name', () => {
    const relative = importsOf(filesOf('.ts')).filter(({ specifier }) => /^\.\.?(\/|$)/.test(specifier));
    assert.deepEqual(relative.filter(({ specifier }) => !/\.(ts|json)$/.test(specifier)), []);
  });

  test('of src use only packages that the published package brings', () => {
    const bare = importsOf(filesOf('.ts')).filter(({ path, specifier }) => path.startsWith('src/') && !/^(\.|node:)/.test(specifier));
    const packageOf = (specifier: string) => specifier.split('/').slice(0, specifier.startsWith('@') ? 2 : 1).join('/');
    assert.deepEqual(bare.filter(({ specifier }) => !Object.hasOwn(manifest.dependencies, packageOf(specifier))), []);
  });

  test('that sh runs are sh', () => {
    const shell = spawnSync('dash', ['-c', ':']).status === 0 ? 'dash' : 'sh';
    for (const { path } of (files ?? []).filter(({ text }) => text.startsWith('#!/bin/sh'))) {
      assert.doesNotThrow(() => execFileSync(shell, ['-n', path], { cwd: ROOT, stdio: 'pipe' }), path);
    }
  });

  test('that SPECIFICATION.md names as proof are there', (t) => {
    const page = (files ?? []).find(({ path }) => path === 'SPECIFICATION.md');
    if (page === undefined) return t.skip('SPECIFICATION.md is not written yet');
    const named = [...page.text.matchAll(/\b(?:test|guest)\/[\w./-]+\.(?:test\.ts|rs)\b/g)].map(([path]) => path);
    assert.notDeepEqual(named, []);
    assert.deepEqual(named.filter((path) => !existsSync(join(ROOT, path))), []);
  });
});
