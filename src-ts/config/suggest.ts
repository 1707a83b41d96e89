/** Guesses which known name was meant. */

/** Number of insertions, deletions, replacements and swaps of neighbours that turn one text into the other. */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  const cell = (i: number, j: number): number => rows[i]?.[j] ?? Infinity;
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let least = Math.min(cell(i - 1, j) + 1, cell(i, j - 1) + 1, cell(i - 1, j - 1) + (same ? 0 : 1));
      if (a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, cell(i - 2, j - 2) + 1);
      row.push(least);
    }
  }
  return cell(a.length, b.length);
}

/** The nearest known name, when it is near enough for a typing error. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const allowed = Math.max(1, Math.floor(name.length / 3));
  const [best] = known
    .map((one) => ({ one, far: distance(name.toLowerCase(), one.toLowerCase()) }))
    .sort((a, b) => a.far - b.far);
  return best !== undefined && best.far <= allowed ? best.one : undefined;
}

/**
 * Suggests a correction for the filter's line about an unknown name; undefined when there is none. `tenants` are the names in the
 * configuration, `rules` those of the operations that a policy can refuse.
 */
export function suggestion(
  line: string,
  tenants: readonly string[],
  rules: () => readonly string[],
): string | undefined {
  const field = /^(?:.*\.)?([^.:]+): unknown field; known here: (.+)$/.exec(line);
  if (field) {
    const meant = nearest(field[1] ?? '', (field[2] ?? '').split(', '));
    return meant && `did you mean "${meant}"?`;
  }
  const rule = /: "(.*)" is no method or endpoint$/.exec(line);
  if (rule) {
    const names = rules();
    const families = new Set(names.map((name) => name.replace(/[^/]*$/, '*')));
    const meant = nearest(rule[1] ?? '', [...names, ...families]);
    return meant ? `did you mean "${meant}"?` : 'docs/surface.md has the names';
  }
  const tenant = /: "([^"]*)" is not in tenants$/.exec(line);
  if (!tenant) return undefined;
  const meant = nearest(tenant[1] ?? '', tenants);
  return meant
    ? `did you mean "${meant}"?`
    : `add {"name": "${tenant[1] ?? ''}", "number": <a free number>} to tenants`;
}
