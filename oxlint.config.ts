/**
 * The rules of the house (CONTRIBUTING.md) as far as a machine can hold them. {@link WALLS} is the table of ARCHITECTURE.md:
 * who may import whom; `test/unit/house/walls.test.ts` proves each wall.
 */
import { defineConfig } from 'oxlint';
import manifest from './package.json' with { type: 'json' };

/** What a folder of `src` may import besides itself. */
export interface Wall {
  /** Other folders of `src`; `all` for the wiring. */
  readonly folders: readonly string[] | 'all';
  /** Packages of package.json; one that no wall names is not for `src` at all. */
  readonly packages: readonly string[];
  /** How much of Node: everything, or its types alone (a pure folder). Everything where left out. */
  readonly node?: 'types';
}

/** Every folder of `src`. A folder that is not here may not exist (`tidy.test.ts`). */
export const WALLS: Readonly<Record<string, Wall>> = {
  main: { folders: 'all', packages: ['commander', 'pino', 'smol-toml', 'zod'] },
  bench: { folders: 'all', packages: ['pino', 'zod'] },
  cli: { folders: ['client', 'contract', 'lib'], packages: ['commander', 'yazl', 'zod'] },
  client: { folders: ['contract', 'lib'], packages: ['zod'] },
  contract: { folders: ['lib'], packages: ['zod'] },
  metrics: { folders: ['control', 'proxy', 'domain', 'lib'], packages: ['prom-client'] },
  api: { folders: ['control', 'contract', 'domain', 'lib'], packages: ['fastify', 'zod'] },
  proxy: { folders: ['domain', 'lib'], packages: ['jose', 'zod'] },
  control: { folders: ['domain', 'lib'], packages: ['zod'] },
  store: { folders: ['domain', 'lib'], packages: ['kysely', 'zod'] },
  runtime: { folders: ['vmm', 'guest', 'host', 'domain', 'lib'], packages: ['zod'] },
  image: { folders: ['guest', 'host', 'domain', 'lib'], packages: ['yauzl', 'zod'] },
  vmm: { folders: ['host', 'domain', 'lib'], packages: ['zod'] },
  guest: { folders: ['host', 'domain', 'lib'], packages: ['zod'] },
  setup: { folders: ['host', 'domain', 'lib'], packages: ['zod'] },
  host: { folders: ['domain', 'lib'], packages: ['zod'] },
  domain: { folders: ['lib'], packages: [], node: 'types' },
  lib: { folders: [], packages: [] },
};

/** Folders that only these import, whatever the walls say. */
const ONLY_FOR: Readonly<Record<string, readonly string[]>> = { setup: ['main'], bench: ['main'], metrics: ['main'], main: [] };

/** Folders beside `src`, of which the sources know nothing. */
const OUTSIDE = ['test', 'build', 'examples', 'web', 'docs'];

/** Every package that a wall can close; one that package.json does not name is caught by `tidy.test.ts`. */
const PACKAGES = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies, ...manifest.devDependencies });

const FUNCTION_LINES = 70;
const FILE_LINES = 400;

const isOpen = (from: string, wall: Wall, to: string) =>
  from === to || ((wall.folders === 'all' || wall.folders.includes(to)) && (ONLY_FOR[to] ?? [from]).includes(from));

/** One folder's walls as patterns over what stands between the quotes of an import. */
function restrictions(folder: string, wall: Wall): { patterns: object[] } {
  const closed = Object.keys(WALLS).filter((other) => !isOpen(folder, wall, other));
  const foreign = PACKAGES.filter((name) => !wall.packages.includes(name));
  const patterns: object[] = [
    { regex: `^(\\.\\./)+(${closed.join('|')})/`, message: `src/${folder} may not import this folder: see the table in ARCHITECTURE.md.` },
    { regex: '^(\\.\\./)+src/', message: 'Inside src, paths do not go through src.' },
    { regex: `^(\\.\\./){2,}(${OUTSIDE.join('|')})/`, message: 'The sources do not import what is beside src.' },
    { regex: `^(${foreign.join('|')})(/|$)`, message: `Of packages, src/${folder} may import: ${wall.packages.join(', ') || 'none'}.` },
  ];
  if (wall.node === 'types') {
    patterns.push({ regex: '^node:', allowTypeImports: true, message: `src/${folder} is pure: of Node it knows types only.` });
  }
  if (folder === 'runtime') {
    patterns.push({ regex: '^(\\.\\./)+vmm/[^/]+/', message: 'src/runtime knows the interface in src/vmm, and no driver.' });
  }
  return { patterns };
}

/** Calls of `node:test` return promises that its runner awaits. */
const AWAITED_BY_RUNNER = [
  { from: 'package' as const, package: 'node:test', name: ['test', 'it', 'suite', 'describe'] },
];

export default defineConfig({
  plugins: ['eslint', 'typescript', 'unicorn', 'oxc', 'import', 'node', 'promise'],
  categories: { correctness: 'error' },
  env: { builtin: true, node: true },
  ignorePatterns: ['dist/**', 'guest/**', 'web/**'],
  rules: {
    'eslint/eqeqeq': 'error',
    'eslint/max-lines': ['error', { max: FILE_LINES, skipBlankLines: true, skipComments: true }],
    'eslint/max-lines-per-function': ['error', { max: FUNCTION_LINES, skipBlankLines: true, skipComments: true, IIFEs: true }],
    'eslint/max-params': ['error', { max: 3 }],
    'eslint/no-console': 'error',
    // What guests and builds print is cleaned of control characters.
    'eslint/no-control-regex': 'off',
    'eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
    'eslint/no-var': 'error',
    'eslint/prefer-const': 'error',
    'import/no-cycle': ['error', { ignoreTypes: false }],
    'import/no-default-export': 'error',
    'import/no-duplicates': 'error',
    'typescript/await-thenable': 'error',
    'typescript/no-explicit-any': 'error',
    'typescript/no-floating-promises': ['error', { allowForKnownSafeCalls: AWAITED_BY_RUNNER }],
    'typescript/no-misused-promises': 'error',
    'typescript/no-namespace': 'error',
    'typescript/no-unnecessary-type-assertion': 'error',
    'typescript/only-throw-error': 'error',
    'typescript/return-await': ['error', 'error-handling-correctness-only'],
    'typescript/switch-exhaustiveness-check': 'error',
    // An option and its value stay together in an argv: `...['-m', '512']`.
    'unicorn/no-useless-spread': 'off',
    'unicorn/prefer-node-protocol': 'error',
  },
  overrides: [
    ...Object.entries(WALLS).map(([folder, wall]) => ({
      files: [`src/${folder}/**`],
      rules: { 'eslint/no-restricted-imports': ['error', restrictions(folder, wall)] as ['error', object] },
    })),
    { files: ['src/{cli,main,setup,bench}/**', 'examples/**', 'build/**'], rules: { 'eslint/no-console': 'off' } },
    { files: ['test/**'], rules: { 'eslint/max-lines-per-function': 'off' } },
    { files: ['oxlint.config.ts'], rules: { 'import/no-default-export': 'off' } },
  ],
});
