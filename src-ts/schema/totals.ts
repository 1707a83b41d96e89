/** Counts the methods of each decision, and the fields of each role. */
import { Kind, type Judgement } from './judgement.ts';

/** Names and how often each occurs, the most frequent first. */
export type Counts = readonly (readonly [string, number])[];

export interface Totals {
  readonly decisions: Counts;
  readonly roles: Counts;
  /** Fields with a role. */
  readonly withRole: number;
  /** Fields without a role that hold a message, which is walked. */
  readonly walked: number;
  /** Fields without a role that hold a number. */
  readonly plain: number;
  /** Full names of fields that could carry a key and have no role. judge() rejects such fields. */
  readonly unclassified: readonly string[];
}

const UNSPECIFIED = 'ROLE_UNSPECIFIED';

export function totalsOf(judgement: Judgement): Totals {
  const fields = judgement.messages.flatMap((message) =>
    message.fields.map((field) => ({ ...field, fullName: `${message.name}.${field.name}` })),
  );
  const withRole = fields.filter((field) => field.role !== UNSPECIFIED);
  const without = fields.filter((field) => field.role === UNSPECIFIED);
  const walked = without.filter((field) => field.kind === Kind.MESSAGE);
  const unclassified = without.filter((field) => field.kind === Kind.BYTES);
  return {
    decisions: count(judgement.methods.map((method) => method.decision)),
    roles: count(withRole.map((field) => field.role)),
    withRole: withRole.length,
    walked: walked.length,
    plain: without.length - walked.length - unclassified.length,
    unclassified: unclassified.map((field) => field.fullName),
  };
}

function count(names: Iterable<string>): Counts {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}
