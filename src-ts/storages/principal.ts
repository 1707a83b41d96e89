/** Compares the patterns of rules with principals, as the filter does (assembly/tenant/pattern.ts). */

const PLACEHOLDER = /\*|\{tenant\}/;

/** What `{tenant}` captures of a part between slashes, '' where there is none; undefined where the pattern does not match. */
function capturedOfPart(pattern: string, text: string): string | undefined {
  const escaped = pattern.replace(/[.+?^$()|[\]\\]/g, '\\$&').replaceAll('*', '.*');
  const found = new RegExp(`^${escaped.replace('{tenant}', '(.+)')}$`).exec(text);
  return found ? (found[1] ?? '') : undefined;
}

/** What `{tenant}` captures of a principal, '' where there is none; undefined where the pattern does not match. */
export function captured(pattern: string, principal: string): string | undefined {
  const [parts, texts] = [pattern.split('/'), principal.split('/')];
  if (parts.length !== texts.length) return undefined;
  const found = parts.map((part, i) => capturedOfPart(part, texts[i] ?? ''));
  return found.includes(undefined) ? undefined : found.join('');
}

/**
 * True when some principal may match both patterns, and `pattern` makes it one of these tenants or none.
 * @param tenants the tenants that `{tenant}` in `pattern` can capture
 */
export function mayMatchBoth(pattern: string, other: string, tenants: ReadonlySet<string>): boolean {
  const [parts, others] = [pattern.split('/'), other.split('/')];
  if (parts.length !== others.length) return false;
  return parts.every((part, i) => {
    const there = others[i] ?? '';
    if (PLACEHOLDER.test(there)) return PLACEHOLDER.test(part) || capturedOfPart(there, part) !== undefined;
    const name = capturedOfPart(part, there);
    return name !== undefined && (!part.includes('{tenant}') || tenants.has(name));
  });
}
