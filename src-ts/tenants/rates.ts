/** The rates of a tenant in a mesh file or pluginConfig, see docs/limits.md. */
import type { TenantLimitsConfig } from '../config/types.ts';
import { changeTenant } from './edit.ts';

/** What the filter limits, the least and the most, and its unit in short. */
export const RATES = {
  requestsPerSecond: { least: 1, most: 1_000_000, unit: 'requests/s' },
  bytesPerSecond: { least: 1024, most: 4_000_000_000, unit: 'bytes/s' },
  pdRequestsPerSecond: { least: 1, most: 1_000_000, unit: 'PD requests/s' },
} as const;
export type RateName = keyof typeof RATES;
export type Rates = { readonly [name in RateName]?: number | undefined };

const NAMES = Object.keys(RATES) as RateName[];

/** The rates that are given. */
export function ratesIn(values: Rates): [name: RateName, rate: number][] {
  return NAMES.flatMap((name) => (values[name] === undefined ? [] : [[name, values[name]]]));
}

/**
 * Sets a tenant's rates; those that are not given stay.
 * @param file names the text in errors
 * @throws CommandError
 */
export function changeRates(text: string, file: string, tenant: string, rates: Rates): string {
  return ratesIn(rates).reduce(
    (changed, [name, rate]) => changeTenant(changed, file, tenant, ['limits', name], rate),
    text,
  );
}

/** Limits of the configuration in a few words: `500 requests/s`; '' where it has none. */
export function limitsText(limits: TenantLimitsConfig = {}): string {
  const rates = ratesIn(limits).map(([name, rate]) => `${rate} ${RATES[name].unit}`);
  return [...rates, ...(limits.maxStreams === undefined ? [] : [`${limits.maxStreams} streams`])].join(', ');
}
