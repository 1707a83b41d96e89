/** Which principals a rule's pattern matches, as a set: enough to tell when one pattern matches all that another does. */

type Step = { readonly kind: 'one'; readonly char: string } | { readonly kind: 'run' | 'name' };

/** Stands for every character that neither pattern names. */
const OTHERS = ['\u0001', 'z', '/'];

function steps(pattern: string): Step[] {
  return [...pattern.matchAll(/\{tenant\}|\*|[^]/gu)].map(([text]) =>
    text === '*' ? { kind: 'run' } : text === '{tenant}' ? { kind: 'name' } : { kind: 'one', char: text },
  );
}

const isNameCharacter = (char: string): boolean => /^[a-z0-9-]$/.test(char);

/** Positions in the pattern, closed over runs that may be empty. A position in a name that has begun is `i + 0.5`. */
function closed(pattern: readonly Step[], at: Iterable<number>): number[] {
  const all = new Set<number>();
  for (let position of at) {
    if (!Number.isInteger(position)) {
      all.add(position);
      position = Math.floor(position) + 1;
    }
    all.add(position);
    while (pattern[position]?.kind === 'run') all.add(++position);
  }
  return [...all].sort((a, b) => a - b);
}

function after(pattern: readonly Step[], at: readonly number[], char: string): number[] {
  const next: number[] = [];
  for (const position of at) {
    const step = pattern[Math.floor(position)];
    if (step === undefined) continue;
    if (step.kind === 'one') {
      if (step.char === char) next.push(position + 1);
    } else if (step.kind === 'run') {
      if (char !== '/') next.push(position);
    } else if (isNameCharacter(char)) next.push(Math.floor(position) + 0.5);
  }
  return closed(pattern, next);
}

const accepts = (pattern: readonly Step[], at: readonly number[]): boolean => at.includes(pattern.length);

const literalStart = (pattern: string): string => /^[^*{]*/.exec(pattern)?.[0] ?? '';

/**
 * True when `wide` matches every principal that `narrow` does. A captured name is taken to be of any length, which is wrong beyond its
 * 63 characters only.
 */
export function covers(wide: string, narrow: string): boolean {
  const [a, b] = [literalStart(wide), literalStart(narrow)];
  if (wide === a || !b.startsWith(a)) return wide === narrow;
  const [outer, inner] = [steps(wide), steps(narrow)];
  const named = [...outer, ...inner].flatMap((step) => (step.kind === 'one' ? [step.char] : []));
  const alphabet = [...new Set([...named, ...OTHERS])];
  const start: [number[], number[]] = [closed(outer, [0]), closed(inner, [0])];
  const seen = new Set([start.join('|')]);
  for (const todo = [start]; todo.length > 0;) {
    const [outerAt, innerAt] = todo.pop() as [number[], number[]];
    if (accepts(inner, innerAt) && !accepts(outer, outerAt)) return false;
    for (const char of alphabet) {
      const innerNext = after(inner, innerAt, char);
      if (innerNext.length === 0) continue;
      const next: [number[], number[]] = [after(outer, outerAt, char), innerNext];
      const key = next.join('|');
      if (!seen.has(key)) {
        seen.add(key);
        todo.push(next);
      }
    }
  }
  return true;
}
