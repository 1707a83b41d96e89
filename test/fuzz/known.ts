/** What the fuzzer finds again and again and somebody has judged. The aim is an empty list. */
export interface Known {
  readonly pattern: RegExp;
  readonly reason: string;
}

export const KNOWN: readonly Known[] = [
  {
    pattern: /^decodeEncoded(Start|End) of [0-9a-f]+ gives broken, the model/,
    reason:
      'a border that is no encoded key and begins like the tenant ends the stream, though it may lie before it',
  },
];

export function knownReason(what: string): string | undefined {
  return KNOWN.find(({ pattern }) => pattern.test(what))?.reason;
}
