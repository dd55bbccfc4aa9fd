/** What may be asked of the quotas: those that are enforced here, and what they are where nobody changes them. */
import { QUOTA_NAMES, QUOTAS, quotasOf, type QuotaRow, type Quotas } from '../domain/quotas.ts';
import { LullError } from '../domain/errors.ts';

/** A quota and its figure. */
export type AppliedQuota = Pick<QuotaRow, 'code' | 'title' | 'unit' | 'adjustable'> & {
  readonly value: number;
  /** The figure is for each second. */
  readonly isRate: boolean;
};

/** Quotas to be looked through, or up by their code. */
export interface QuotaList {
  all(): readonly AppliedQuota[];
  /** @throws LullError not-found where none of them has that code */
  one(code: string): AppliedQuota;
}

export interface QuotaUseCases {
  /** What is enforced now; a rate that nobody limits is not among them. */
  readonly applied: QuotaList;
  /** What would be enforced without any setting of an operator. */
  readonly defaults: QuotaList;
}

/** @param options.hostMemoryMib the default of the memory quota */
export function createQuotaUseCases({ quotas, hostMemoryMib }: { quotas: Quotas; hostMemoryMib: number }): QuotaUseCases {
  return { applied: listOf(quotas), defaults: listOf(quotasOf({ limits: 'none', given: {} }, hostMemoryMib)) };
}

function listOf(quotas: Quotas): QuotaList {
  const all = QUOTA_NAMES.flatMap((name): AppliedQuota[] => {
    const { code, title, unit, adjustable, rate }: QuotaRow = QUOTAS[name];
    const value = quotas[name];
    return value === null ? [] : [{ code, title, unit, adjustable, value, isRate: rate !== undefined }];
  });
  return {
    all: () => all,
    one: (code) => {
      const quota = all.find((candidate) => candidate.code === code);
      if (quota === undefined) throw new LullError('not-found', `There is no quota ${code} in force.`);
      return quota;
    },
  };
}
