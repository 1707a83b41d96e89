/**
 * Patterns over principals: `*` is any run of characters without '/', `{tenant}` captures a tenant's name, all else is itself.
 * A pattern without either is an exact match.
 */
export const CAPTURE: string = '{tenant}';

/** Where the last match captured the tenant's name; equal when it captured none. */
export let captureStart: i32 = 0;
export let captureEnd: i32 = 0;

/** The reason why a pattern is not usable, or ''. */
export function patternError(pattern: string): string {
  const first = pattern.indexOf(CAPTURE);
  const rest =
    first < 0 ? pattern : pattern.substring(0, first) + '/' + pattern.substring(first + CAPTURE.length);
  if (rest.indexOf(CAPTURE) >= 0) return 'captures {tenant} twice';
  if (rest.indexOf('{') >= 0 || rest.indexOf('}') >= 0) return 'has a brace that does not belong to {tenant}';
  if (pattern.indexOf('**') >= 0) return "has '**'; one '*' stands for any run of characters without '/'";
  if (pattern.indexOf('*' + CAPTURE) >= 0 || pattern.indexOf(CAPTURE + '*') >= 0)
    return "has '*' beside {tenant}: where the name begins or ends would be ambiguous";
  return '';
}

function isNameCharacter(c: i32): bool {
  return (c >= 0x61 && c <= 0x7a) || (c >= 0x30 && c <= 0x39) || c == 0x2d;
}

/** True for `[a-z0-9-]{1,63}`. */
export function isTenantName(name: string): bool {
  if (name.length == 0 || name.length > 63) return false;
  for (let i = 0; i < name.length; i++) if (!isNameCharacter(name.charCodeAt(i))) return false;
  return true;
}

/** Matches the whole text; leaves what it captured in `captureStart` and `captureEnd`. */
export function matches(pattern: string, text: string): bool {
  captureStart = 0;
  captureEnd = 0;
  return matchFrom(pattern, 0, text, 0);
}

function matchFrom(pattern: string, p: i32, text: string, t: i32): bool {
  for (; p < pattern.length; p++, t++) {
    const c = pattern.charCodeAt(p);
    if (c == 0x2a) {
      for (let end = t; end <= text.length; end++) {
        if (matchFrom(pattern, p + 1, text, end)) return true;
        if (end == text.length || text.charCodeAt(end) == 0x2f) return false;
      }
      return false;
    }
    if (c == 0x7b) {
      for (let end = t; end < text.length && end - t < 63 && isNameCharacter(text.charCodeAt(end)); end++) {
        if (matchFrom(pattern, p + CAPTURE.length, text, end + 1)) {
          captureStart = t;
          captureEnd = end + 1;
          return true;
        }
      }
      return false;
    }
    if (t >= text.length || text.charCodeAt(t) != c) return false;
  }
  return t == text.length;
}
