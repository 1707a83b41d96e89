/**
 * Turns `@inline` in a function's docstring into the compiler's decorator of that name. TypeScript's tools read the same sources, and
 * TypeScript has no decorators on functions.
 */
const MARKED = /(\/\*\*(?:(?!\*\/)[^])*@inline\b(?:(?!\*\/)[^])*\*\/\s*)(?=(?:export )?function )/g;

/** Returns the source with decorators. Line numbers stay the same. */
export function decorateInline(source: string): string {
  return source.replace(MARKED, '$1@inline ');
}
