/** Reads the facts about a workload that a command line gives, as the filter uses them. */
import type { Facts } from './judge.ts';

const FIELDS = ['workload', 'namespace', 'cluster', 'app'] as const;
const LABEL = 'labels.';

/** Adds a fact like `workload=alpha-tidb` or `labels.tidb-mesh.io/tenant=alpha`. Throws an error that shows what a fact looks like. */
export function addFact(text: string, facts: Facts = {}): Facts {
  const [, name = '', value = ''] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  const field = FIELDS.find((one) => one === name);
  if (field !== undefined) return { ...facts, [field]: value };
  if (name.length > LABEL.length && name.startsWith(LABEL))
    return { ...facts, labels: { ...facts.labels, [name.slice(LABEL.length)]: value } };
  throw new Error(`It is no fact: give ${FIELDS.join('=…, ')}=… or ${LABEL}NAME=…`);
}
