/** What the fuzzer finds again and again and somebody has judged. The aim is an empty list. */
export interface Known {
  readonly pattern: RegExp;
  readonly reason: string;
}

export const KNOWN: readonly Known[] = [
  {
    pattern:
      /is no encoded key|(en|de)codeEncoded\w+ of [0-9a-f]+ gives [0-9a-f]+, the model (broken|outside)$/,
    reason: 'the tag of an encoded key is patched in its first group; the groups behind it are not looked at',
  },
  {
    pattern: /BatchCommandsRequest\.Request\.\w+ \(\w+\) came out twice$/,
    reason: 'two commands in one sub-request of a batch are not refused; stores take the last one',
  },
  {
    pattern: /^decodeEncoded(Start|End) of [0-9a-f]+ gives broken, the model/,
    reason:
      'a border that is no encoded key and begins like the tenant ends the stream, though it may lie before it',
  },
];

export function knownReason(what: string): string | undefined {
  return KNOWN.find(({ pattern }) => pattern.test(what))?.reason;
}
