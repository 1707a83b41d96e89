/**
 * `@inline` in a function's docstring is to the compiler what its decorator of that name is: TypeScript, whose tools read the same
 * sources, has no decorators on functions.
 */
const MARKED = /(\/\*\*(?:(?!\*\/)[^])*@inline\b(?:(?!\*\/)[^])*\*\/\s*)(?=(?:export )?function )/g;

/** The source with decorators; lines stay where they are. */
export function decorateInline(source: string): string {
  return source.replace(MARKED, '$1@inline ');
}
