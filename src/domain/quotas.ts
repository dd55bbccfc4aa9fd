/**
 * The quotas: contract reference, section 7.2. One table of what is limited, by which code clients know it, and who may
 * change it. A code that begins with `L-` is AWS's; the others are ours, for which section 7.2 has none, and stay as they are.
 */

/** What Service Quotas files all of them under. */
export const QUOTA_SERVICE_CODE = 'lambda';

/** One row of the table. */
export interface QuotaRow {
  readonly code: string;
  readonly title: string;
  readonly unit: 'Count' | 'Megabytes' | 'Seconds';
  /** `host`: from the host's memory. Null: not limited unless an operator says so. */
  readonly default: number | 'host' | null;
  /** Whether `--quota NAME=VALUE` may change it. */
  readonly adjustable: boolean;
  /** The operation whose calls per second it limits, and AWS's own figure, which `--limits aws` puts in force. */
  readonly rate?: { readonly operation: string; readonly aws: number };
}

const fixed = { adjustable: false, unit: 'Count' } as const;
const adjustable = { adjustable: true, unit: 'Count' } as const;
const rate = (operation: string, aws: number) =>
  ({
    ...adjustable,
    code: `LULL-RATE-${operation.toUpperCase()}`,
    title: `Rate of ${operation} requests`,
    default: null,
    rate: { operation, aws },
  }) as const;

export const QUOTAS = {
  memory: {
    ...adjustable,
    code: 'L-CD1C0CC4',
    title: 'Allocated memory of all MicroVMs that have not ended, in MiB',
    unit: 'Megabytes',
    default: 'host',
  },
  images: { ...adjustable, code: 'LULL-IMAGES', title: 'MicroVM images per account', default: 100 },
  versions: { ...adjustable, code: 'LULL-IMAGE-VERSIONS', title: 'Versions per MicroVM image', default: 50 },
  // AWS: 5 or 10 by region, and none waits. Here most of them wait, for a row each.
  builds: { ...adjustable, code: 'LULL-IMAGE-BUILDS', title: 'Concurrent MicroVM image builds, waiting ones included', default: 22 },
  'run-rate': rate('RunMicrovm', 5),
  'resume-rate': rate('ResumeMicrovm', 5),
  'suspend-rate': rate('SuspendMicrovm', 2),
  'terminate-rate': rate('TerminateMicrovm', 10),
  'get-rate': rate('GetMicrovm', 100),
  'auth-token-rate': rate('CreateMicrovmAuthToken', 50),
  'shell-auth-token-rate': rate('CreateMicrovmShellAuthToken', 5),
  // The contract's own figures: its schemas enforce them.
  'maximum-duration': { ...fixed, code: 'L-B430C318', title: 'Maximum duration of a MicroVM', unit: 'Seconds', default: 28_800 },
  'environment-variables': { ...fixed, code: 'LULL-ENVIRONMENT-VARIABLES', title: 'Environment variables per MicroVM image', default: 50 },
  'run-hook-payload': { ...fixed, code: 'LULL-RUN-HOOK-PAYLOAD', title: 'Characters of a run hook payload', default: 4096 },
  connectors: { ...fixed, code: 'LULL-CONNECTORS', title: 'Network connectors per list of RunMicrovm', default: 10 },
} as const satisfies Record<string, QuotaRow>;

export type QuotaName = keyof typeof QUOTAS;
type AdjustableIn<N extends QuotaName> = N extends QuotaName ? ((typeof QUOTAS)[N]['adjustable'] extends true ? N : never) : never;
/** A quota that an operator may set. */
export type AdjustableQuota = AdjustableIn<QuotaName>;

export const QUOTA_NAMES = Object.keys(QUOTAS) as readonly QuotaName[];
export const ADJUSTABLE_QUOTAS = QUOTA_NAMES.filter((name): name is AdjustableQuota => QUOTAS[name].adjustable);

/** What is in force: null where there is no limit. */
export type Quotas = { readonly [N in QuotaName]: (typeof QUOTAS)[N]['default'] extends null ? number | null : number };

/** What the operator says: whether AWS's figures for rates hold, and single quotas, which win. */
export interface QuotaChoice {
  readonly limits: 'none' | 'aws';
  readonly given: { readonly [N in AdjustableQuota]?: number | undefined };
}

/** @param hostMemoryMib what microVMs may be promised of the host's memory */
export function quotasOf({ limits, given }: QuotaChoice, hostMemoryMib: number): Quotas {
  const valueOf = (name: QuotaName): number | null => {
    const row: QuotaRow = QUOTAS[name];
    const own = given[name as AdjustableQuota];
    if (own !== undefined) return own;
    if (row.rate !== undefined && limits === 'aws') return row.rate.aws;
    return row.default === 'host' ? hostMemoryMib : row.default;
  };
  return Object.fromEntries(QUOTA_NAMES.map((name) => [name, valueOf(name)])) as Quotas;
}

/** Calls per second by operation, with the code of the quota; what is not in it is not limited. */
export type Rates = ReadonlyMap<string, { readonly perSecond: number; readonly quotaCode: string }>;

/** The rates among the quotas in force. */
export function ratesOf(quotas: Quotas): Rates {
  const rates = QUOTA_NAMES.flatMap((name) => {
    const row: QuotaRow = QUOTAS[name];
    const perSecond = quotas[name];
    return row.rate === undefined || perSecond === null ? [] : [[row.rate.operation, { perSecond, quotaCode: row.code }] as const];
  });
  return new Map(rates);
}
