/** Calls of TiDBs of many tenants: their requests, and answers that hold the keys of the tenant which asks. */
import { encode } from '../test/harness/support/messages.ts';
import { spaceOf } from '../test/harness/model/key-spaces.ts';
import { frame } from '../test/harness/model/wire.ts';
import { typicalMessages } from './messages.ts';
import { callHeaders } from './module.ts';
import { regionAnswer, regionCalls } from './region-calls.ts';
import { batchAnswer, batchRequest, keyedAnswer, keyedRequest } from './traffic.ts';

const SIGN_BIT = 0x8000;

/** A message whose keys can be given to any tenant, in place: encoding ten million of them would take longer than what is measured. */
export class Answer {
  readonly bytes: Buffer;
  private readonly tags: number[] = [];

  constructor(make: (tag: number) => Uint8Array) {
    this.bytes = Buffer.from(frame(make(1)));
    const other = frame(make(2));
    // Table ids begin with two bytes of which the tenant's number is the lower fifteen bits.
    for (const [i, byte] of this.bytes.entries()) if (other[i] !== byte) this.tags.push(i - 1);
  }

  for(tenant: number): Buffer {
    for (const at of this.tags) this.bytes.writeUInt16BE(SIGN_BIT + tenant, at);
    return this.bytes;
  }
}

export interface MixedCall {
  readonly headers: Uint8Array;
  readonly request: Uint8Array;
  readonly answer: Answer;
}

export function mixedCalls(): MixedCall[] {
  const typical = typicalMessages(spaceOf({ number: 1 }));
  const request = (name: string): Uint8Array =>
    frame(typical.find((message) => message.name === name)!.bytes);
  const call = (path: string, bytes: Uint8Array, answer: (tag: number) => Uint8Array): MixedCall => ({
    headers: callHeaders(path),
    request: bytes,
    answer: new Answer(answer),
  });
  const region = regionCalls()[0]!;
  const value = Buffer.alloc(190, 7);
  const rows = Buffer.alloc(20_000, 9);
  const batch = call('/tikvpb.Tikv/BatchCommands', frame(batchRequest()), batchAnswer);
  return [
    // Most of a TiDB's traffic.
    batch,
    batch,
    batch,
    call('/tikvpb.Tikv/KvBatchGet', frame(keyedRequest()), keyedAnswer),
    call('/tikvpb.Tikv/KvGet', request('point get'), () => encode('kvrpcpb.GetResponse', { value })),
    call('/tikvpb.Tikv/KvPrewrite', request('prewrite, 1 mutation'), () =>
      encode('kvrpcpb.PrewriteResponse', {}),
    ),
    call('/tikvpb.Tikv/Coprocessor', request('coprocessor request'), () =>
      encode('coprocessor.Response', { data: rows }),
    ),
    call(region.path, region.request, regionAnswer),
    call('/etcdserverpb.KV/Txn', request('etcd txn'), () =>
      encode('etcdserverpb.TxnResponse', { header: { revision: 9n }, succeeded: true }),
    ),
  ];
}
