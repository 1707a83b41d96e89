/** Warns about what is valid but probably not meant. */
import type { PluginConfig, RuleConfig } from './types.ts';

export interface Warning {
  /** A path like `rules[1]`. */
  readonly path: string;
  readonly text: string;
}

/** The namespace in the pattern of a SPIFFE principal. */
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

function chosenInAnyNamespace(rules: readonly RuleConfig[]): Warning[] {
  return rules.flatMap(({ principal }, i) =>
    principal?.split('/ns/')[1]?.includes('{tenant}') === true &&
    namespaceOf(principal)?.includes('*') === true
      ? [
          {
            path: `rules[${i}].principal`,
            text: 'leaves the namespace open: whoever may make a service account in any namespace can be any tenant; name the namespace',
          },
        ]
      : [],
  );
}

function withoutPrincipal({ requirePrincipal }: PluginConfig): Warning[] {
  if (requirePrincipal !== false) return [];
  const text =
    "is false, so callers are believed what they say of themselves: right on the tenants' side only, never before PD or TiKV";
  return [{ path: 'requirePrincipal', text }];
}

function withoutRule({ tenants, rules }: PluginConfig): Warning[] {
  if (rules === undefined || rules.some((rule) => JSON.stringify(rule).includes('{tenant}'))) return [];
  const named = new Set(rules.map(({ tenant }) => tenant));
  return tenants.flatMap(({ name }, i) =>
    named.has(name) ? [] : [{ path: `tenants[${i}]`, text: `no rule makes a caller tenant "${name}"` }],
  );
}

function isDryRun({ tenants, dryRun }: PluginConfig): Warning[] {
  if (dryRun !== true) return [];
  const text =
    tenants.length === 1
      ? 'is true, so nothing is refused to tenant 0 by name, and what the filter does not know passes unread: take it out before another tenant comes'
      : 'is true, so what policy refuses tenant 0 is counted and logged only';
  return [{ path: 'dryRun', text }];
}

/** The warnings for a valid configuration. */
export function warningsOf(config: PluginConfig): Warning[] {
  const rules = config.rules ?? [];
  return [
    ...wideSystem(rules),
    ...chosenInAnyNamespace(rules),
    ...withoutPrincipal(config),
    ...withoutRule(config),
    ...isDryRun(config),
  ];
}
