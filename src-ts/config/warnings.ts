/** What the filter takes but its user may not have meant. */
import { covers } from './patterns.ts';
import type { PluginConfig, RuleConfig } from './types.ts';

export interface Warning {
  /** Like `rules[1]`. */
  readonly path: string;
  readonly text: string;
}

/** Rules with other sources than the principal narrow it, so such a rule hides none behind it. */
const isPlain = (rule: RuleConfig): boolean =>
  Object.keys(rule).every((name) => ['principal', 'tenant', 'system'].includes(name));

function neverReached(rules: readonly RuleConfig[]): Warning[] {
  return rules.flatMap((rule, i) => {
    if (rule.principal === undefined) return [];
    const principal = rule.principal;
    const hiding = rules
      .slice(0, i)
      .findIndex((one) => one.principal !== undefined && isPlain(one) && covers(one.principal, principal));
    if (hiding < 0) return [];
    return [{ path: `rules[${i}]`, text: `is never reached: rules[${hiding}] matches all that it does` }];
  });
}

/** The namespace of a SPIFFE principal's pattern. */
const namespaceOf = (principal: string): string | undefined => /\/ns\/([^/]*)(\/|$)/.exec(principal)?.[1];

function wideSystem(rules: readonly RuleConfig[]): Warning[] {
  return rules.flatMap(({ principal, system }, i) =>
    system === true && principal !== undefined && (namespaceOf(principal) ?? '*').includes('*')
      ? [
          {
            path: `rules[${i}].principal`,
            text: 'leaves the namespace open, and what it matches passes unread: name the namespace',
          },
        ]
      : [],
  );
}

function withoutRule({ tenants, rules }: PluginConfig): Warning[] {
  if (rules.some((rule) => JSON.stringify(rule).includes('{tenant}'))) return [];
  const named = new Set(rules.map(({ tenant }) => tenant));
  return tenants.flatMap(({ name }, i) =>
    named.has(name) ? [] : [{ path: `tenants[${i}]`, text: `no rule makes a caller tenant "${name}"` }],
  );
}

/** The warnings for a configuration that the filter takes. */
export function warningsOf(config: PluginConfig): Warning[] {
  const rules = config.rules ?? [];
  return [...neverReached(rules), ...wideSystem(rules), ...withoutRule({ ...config, rules })];
}
