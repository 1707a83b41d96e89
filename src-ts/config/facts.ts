/** What is said on the command line of a workload, and what the filter makes of it. */
import type { Facts } from './judge.ts';

const FIELDS = ['workload', 'namespace', 'cluster', 'app'] as const;
const LABEL = 'labels.';

/** `workload=alpha-tidb`, `labels.tidb-mesh.io/tenant=alpha`: adds the fact. Throws with what a fact looks like. */
export function addFact(text: string, facts: Facts = {}): Facts {
  const [, name = '', value = ''] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  const field = FIELDS.find((one) => one === name);
  if (field !== undefined) return { ...facts, [field]: value };
  if (name.length > LABEL.length && name.startsWith(LABEL))
    return { ...facts, labels: { ...facts.labels, [name.slice(LABEL.length)]: value } };
  throw new Error(`is no fact: give ${FIELDS.join('=…, ')}=… or ${LABEL}NAME=…`);
}
