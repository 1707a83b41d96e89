/** Says which rule makes a caller what it is, by asking the filter's own code. */
import type { Judge, Verdict } from './judge.ts';
import type { PluginConfig, RuleConfig } from './types.ts';

export interface Explanation extends Verdict {
  /** The index of the rule that decided; undefined where none matches. */
  readonly rule?: number;
}

/** Matches nobody, whom the filter then refuses with the words it has for callers without a rule. */
const NOBODY: RuleConfig = { principal: 'spiffe://nobody.invalid/', system: true };

/**
 * What becomes of the caller. Which rule it was follows from shorter lists of rules: the first that matches counts, so it is the last of
 * the shortest list under which the caller is not without a rule. The configuration must be one that the filter takes.
 */
export function explain(config: PluginConfig, principal: string, judge: Judge): Explanation {
  const under = (rules: readonly RuleConfig[]): Verdict => {
    const line = judge.configure(JSON.stringify({ ...config, rules }));
    if (line !== '') throw new Error(line);
    return judge.resolve(principal);
  };
  const verdict = under(config.rules);
  if (principal === '') return verdict;
  const without = JSON.stringify(under([NOBODY]));
  const decided = (count: number): boolean =>
    JSON.stringify(count === 0 ? under([NOBODY]) : under(config.rules.slice(0, count))) !== without;
  if (!decided(config.rules.length)) return verdict;
  let [none, some] = [0, config.rules.length];
  while (some - none > 1) {
    const middle = (none + some) >> 1;
    if (decided(middle)) some = middle;
    else none = middle;
  }
  return { ...verdict, rule: some - 1 };
}
