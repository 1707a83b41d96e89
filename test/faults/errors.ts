/** Errors after which TiDB's documentation has a client try its transaction again, by number and text (docs.pingcap.com, "Error Codes"). */
const RETRYABLE: readonly (readonly [kind: RegExp, meaning: string])[] = [
  [/^(9007|8005|8002) /, 'another transaction wrote the same row'],
  [/^8022 /, 'the commit failed and was rolled back'],
  [/^(8027|8028|8113) /, 'the schema changed meanwhile, or its lease ran out'],
  [/^(1213|1205|3572) /, 'a deadlock, or a lock that was not to be had'],
  [/^9001 /, "PD's answer did not come in time"],
  [
    /^(9002|9003|9004|9005|9010) /,
    'the store did not answer in time, was busy, or a region was not to be had',
  ],
  [/^8501 /, 'nobody knows whether it has committed'],
  [/^(1053|1317|3024) /, 'TiDB shuts down, or the statement was interrupted'],
  [/^1105 .*tidb-mesh\[TENANT_SUSPENDED\]/, 'the tenant was suspended'],
  [
    /^1105 rpc error: code = Unimplemented desc = \w+: runtime erro/,
    'the embedded store panicked; no TiKV does',
  ],
  [
    /^1105 .*(rpc error: code = (Unavailable|Canceled|DeadlineExceeded|Unknown|Internal|ResourceExhausted)|tikv aborts txn|undetermined|context (canceled|deadline)|Unavailable|failed too many times|pessimistic lock)/i,
    'what the client of TiKV and PD told last, as it is',
  ],
  [
    /(PROTOCOL_CONNECTION_LOST|ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT)|Connection lost|closed state|This socket has been ended/,
    'the connection to TiDB was lost',
  ],
];

/** @param kind number or code, and how the text begins */
export function isRetryable(kind: string): boolean {
  return RETRYABLE.some(([pattern]) => pattern.test(kind));
}
