/** The walls between the folders of `src`: each is proved by an import that breaks it, and each door by one that does not. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, glob, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { z } from 'zod';
import { EFFECTS_APART, WALLS } from '../../../oxlint.config.ts';
import manifest from '../../../package.json' with { type: 'json' };

const ROOT = join(import.meta.dirname, '../../..');
const OXLINT = join(ROOT, 'node_modules/oxlint/bin/oxlint');
const OXLINT_LIMIT_MS = 60_000;

/** One import, the file it stands in, and whether the walls let it pass. */
interface Case {
  readonly file: string;
  readonly code: string;
  readonly passes: boolean;
}

const FOLDERS = Object.keys(WALLS);
const PACKAGES = Object.keys({ ...manifest.dependencies, ...manifest.devDependencies });
/** Front doors and tools: no wall may open them to the others. */
const ONLY_FOR: Readonly<Record<string, readonly string[]>> = { setup: ['main'], network: ['main'], bench: ['main'], metrics: ['main', 'bench'] };

const slug = (text: string) => text.replaceAll(/[^a-z0-9]+/g, '-');

function mayImport(from: string, to: string): boolean {
  if (from === to) return true;
  if (to === 'main') return false;
  const only = ONLY_FOR[to];
  if (only !== undefined) return only.includes(from);
  const folders = WALLS[from]?.folders ?? [];
  return folders === 'all' || folders.includes(to);
}

const folderCases = FOLDERS.flatMap((from) =>
  FOLDERS.filter((to) => to !== from).flatMap((to): Case[] => {
    const passes = mayImport(from, to);
    return [
      { file: `src/${from}/to-${to}.ts`, code: `import { thing } from '../${to}/thing.ts';\nthing();\n`, passes },
      { file: `src/${from}/type-of-${to}.ts`, code: `import type { Thing } from '../${to}/thing.ts';\nexport type T = Thing;\n`, passes },
      { file: `src/${from}/inner/to-${to}.ts`, code: `export { thing } from '../../${to}/thing.ts';\n`, passes },
      { file: `src/${from}/later-${to}.ts`, code: `export const thing = import('../${to}/thing.ts');\n`, passes },
    ];
  }),
);

const packageCases = FOLDERS.flatMap((from) =>
  PACKAGES.map((name): Case => ({
    file: `src/${from}/package-${slug(name)}.ts`,
    code: `import { thing } from '${name}';\nthing();\n`,
    passes: (WALLS[from]?.packages ?? []).includes(name),
  })),
);

const specialCases: Case[] = [
  ...FOLDERS.flatMap((from): Case[] => [
    { file: `src/${from}/own.ts`, code: `import { thing } from './inner/thing.ts';\nthing();\n`, passes: true },
    { file: `src/${from}/round.ts`, code: `import { thing } from '../../src/lib/thing.ts';\nthing();\n`, passes: false },
    { file: `src/${from}/to-test.ts`, code: `import { thing } from '../../test/fakes/thing.ts';\nthing();\n`, passes: false },
    { file: `src/${from}/node-type.ts`, code: `import type { Duplex } from 'node:stream';\nexport type T = Duplex;\n`, passes: true },
    { file: `src/${from}/node.ts`, code: `import { readFile } from 'node:fs/promises';\nexport const x = readFile;\n`, passes: from !== 'domain' },
  ]),
  ...FOLDERS.flatMap((from): Case[] => {
    const passes = Object.hasOwn(EFFECTS_APART, `src/${from}/**`);
    return [
      { file: `src/${from}/writes.ts`, code: `import { writeFile } from 'node:fs/promises';\nexport const x = writeFile;\n`, passes },
      { file: `src/${from}/makes.ts`, code: `import { mkdirSync } from 'node:fs';\nexport const x = mkdirSync;\n`, passes },
      { file: `src/${from}/writes-by-name.ts`, code: `import * as fs from 'node:fs';\nexport const x = fs.rmSync;\n`, passes },
      { file: `src/${from}/starts.ts`, code: `import { spawn } from 'node:child_process';\nexport const x = spawn;\n`, passes },
    ];
  }),
  { file: 'src/runtime/driver.ts', code: `import { thing } from '../vmm/qemu/thing.ts';\nthing();\n`, passes: false },
  { file: 'src/main/driver.ts', code: `import { thing } from '../vmm/qemu/thing.ts';\nthing();\n`, passes: true },
  { file: 'src/api/fastify-part.ts', code: `import { thing } from 'fastify/plugin';\nthing();\n`, passes: true },
  { file: 'src/store/fastify-part.ts', code: `import { thing } from 'fastify/plugin';\nthing();\n`, passes: false },
  { file: 'test/unit/anything.ts', code: `import { thing } from '../../src/store/thing.ts';\nthing();\n`, passes: true },
];

const CASES = [...folderCases, ...packageCases, ...specialCases];

const Report = z.object({ diagnostics: z.array(z.object({ code: z.string().optional(), filename: z.string() })) });

/** Runs the linter with the house's own configuration over a tree. @returns files that break a wall */
async function filesThatBreakWalls(root: string): Promise<Set<string>> {
  const output = await new Promise<string>((resolve, reject) => {
    const options = { cwd: root, timeout: OXLINT_LIMIT_MS, maxBuffer: 64 * 1024 ** 2 };
    execFile(process.execPath, [OXLINT, '--format', 'json', 'src', 'test'], options, (error, stdout, stderr) => {
      // Status 1 says that there are findings, which is what this is for.
      if (error !== null && error.code !== 1) reject(new Error(`oxlint failed: ${stdout}${stderr}`, { cause: error }));
      else resolve(stdout);
    });
  });
  const { diagnostics } = Report.parse(JSON.parse(output));
  return new Set(diagnostics.filter(({ code }) => code?.includes('no-restricted-imports')).map(({ filename }) => filename));
}

suite('the walls of the house', () => {
  let root: string;
  let broken: Set<string>;

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'lull-walls-'));
    for (const name of ['oxlint.config.ts', 'package.json']) await copyFile(join(ROOT, name), join(root, name));
    await symlink(join(ROOT, 'node_modules'), join(root, 'node_modules'));
    for (const { file, code } of CASES) {
      await mkdir(dirname(join(root, file)), { recursive: true });
      await writeFile(join(root, file), code);
    }
    broken = await filesThatBreakWalls(root);
  });

  after(() => rm(root, { recursive: true }));

  test('every case has a file of its own', () => {
    assert.equal(new Set(CASES.map(({ file }) => file)).size, CASES.length);
  });

  test('a forbidden import fails', () => {
    const missed = CASES.filter(({ file, passes }) => !passes && !broken.has(file));
    assert.deepEqual(missed, []);
  });

  test('every place where files are written directly is there', async () => {
    for (const place of Object.keys(EFFECTS_APART)) {
      const found = await Array.fromAsync(glob(place, { cwd: ROOT }));
      assert.notDeepEqual(found, [], place);
    }
  });

  test('an allowed import passes', () => {
    const refused = CASES.filter(({ file, passes }) => passes && broken.has(file));
    assert.deepEqual(refused, []);
  });
});

/** The rows ``| `src/NAME` | what | who |`` of a page, as the folders that `who` names. */
function wallsOfPage(page: string): Map<string, readonly string[] | 'all'> {
  const rows = page.matchAll(/^\|\s*`src\/([a-z-]+)`\s*\|.*\|([^|]*)\|\s*$/gm);
  return new Map(
    [...rows].map(([, folder = '', who = '']) => {
      const words = (who.split(';')[0] ?? '').replaceAll(/\([^)]*\)|`/g, '').split(',');
      const names = words.map((word) => word.trim()).filter((word) => word !== '' && !word.startsWith('node:'));
      return [folder, names.includes('all') ? 'all' : names.toSorted()];
    }),
  );
}

test('ARCHITECTURE.md shows the walls that stand', async (t) => {
  const page = await readFile(join(ROOT, 'ARCHITECTURE.md'), 'utf8').catch(() => undefined);
  if (page === undefined) return t.skip('ARCHITECTURE.md is not written yet');
  const standing = new Map(
    Object.entries(WALLS).map(([folder, { folders }]) => [folder, folders === 'all' ? 'all' : folders.toSorted()]),
  );
  assert.deepEqual(wallsOfPage(page), standing);
});
