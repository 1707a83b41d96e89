/** What the fuzzer finds again and again and somebody has judged. The aim is an empty list. */
export interface Known {
  readonly pattern: RegExp;
  readonly reason: string;
}

export const KNOWN: readonly Known[] = [];

export function knownReason(what: string): string | undefined {
  return KNOWN.find(({ pattern }) => pattern.test(what))?.reason;
}
