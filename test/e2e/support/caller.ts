import { readFileSync } from 'node:fs';
import * as grpc from '@grpc/grpc-js';
import { principalOf, type CertFiles } from '../../harness/stack/certs.ts';
import { callGrpc, callHttp, type GrpcAnswer } from '../../harness/stack/caller.ts';
import type { Stack } from '../../harness/stack/stack.ts';
import { decode, encode, type Fields } from '../../harness/support/messages.ts';
import { fromMemcomparable, memcomparable } from '../../harness/support/keys.ts';

export type Answer = Omit<GrpcAnswer, 'body'> & {
  /** Of an answer that is OK. */
  fields: Fields | undefined;
  /** The answer's bytes; empty where there is none. */
  bytes: Buffer;
};

export interface Region {
  id: bigint;
  /** The region, its epoch and its leader, as requests to the store carry them. */
  context: Fields;
  /** As the tenant sees them, decoded. */
  start: Buffer;
  end: Buffer;
}

export type Metadata = Record<string, string>;

/** Speaks to PD and the store as a tenant's own programs do: with its certificate, through Envoy. */
export class Caller {
  private clusterId: bigint | undefined;

  private constructor(
    readonly tenant: string,
    private readonly stack: Stack,
    private readonly certs: CertFiles,
  ) {}

  static async of(stack: Stack, tenant: string): Promise<Caller> {
    return new Caller(tenant, stack, await stack.certs.client(principalOf(tenant, 'prober')));
  }

  /** A unary method of the store, for example `KvGet`. */
  store(method: string, types: [string, string], fields: Fields, metadata: Metadata = {}): Promise<Answer> {
    return this.call(this.stack.store.meshAddress, `/tikvpb.Tikv/${method}`, types, fields, metadata);
  }

  /** A method of PD. `answer` names the method whose answer it has, where that is another one. */
  pd(method: string, fields: Fields, metadata: Metadata = {}, answer = method): Promise<Answer> {
    const types: [string, string] = [`pdpb.${method}Request`, `pdpb.${answer}Response`];
    return this.call(this.stack.pd.meshAddress, `/pdpb.PD/${method}`, types, fields, metadata);
  }

  /** GET of PD's HTTP API. */
  http(path: string): Promise<{ status: number; body: string }> {
    return callHttp(this.stack.pd.meshAddress, this.certs, path);
  }

  /** A method of another service of PD: its path without the first slash. */
  pdService(path: string, types: [string, string], fields: Fields): Promise<Answer> {
    return this.call(this.stack.pd.meshAddress, `/${path}`, types, fields, {});
  }

  /** Sends one message on a stream of such a service and waits for the first answer that is `wanted`. */
  async pdStream(
    path: string,
    [request, response]: [string, string],
    fields: Fields,
    wanted: (answer: Fields) => boolean = () => true,
  ): Promise<Answer> {
    const answer = await this.stream(
      this.stack.pd.meshAddress,
      `/${path}`,
      encode(request, fields),
      (bytes) => wanted(decode(response, bytes)),
    );
    return { ...answer, fields: answer.bytes.length ? decode(response, answer.bytes) : undefined };
  }

  /** A method of etcd, for example `KV/Range`; its messages are called as the method is. */
  etcd(method: string, fields: Fields): Promise<Answer> {
    const name = method.split('/')[1]!;
    const types: [string, string] = [`etcdserverpb.${name}Request`, `etcdserverpb.${name}Response`];
    return this.call(this.stack.pd.meshAddress, `/etcdserverpb.${method}`, types, fields, {});
  }

  /**
   * One request in BatchCommands.
   * @param command its name in the oneof, for example `Get`
   */
  async batch(command: string, fields: Fields): Promise<Answer> {
    const { answer, found } = await this.batchOf([[command, fields]]);
    return { ...answer, fields: found[0]?.case === command ? found[0].fields : undefined };
  }

  /** Several requests in one message of BatchCommands; the answers in the requests' order, as far as the stream lived. */
  async batchOf(
    commands: readonly (readonly [string, Fields])[],
  ): Promise<{ answer: Answer; found: { case: string; fields: Fields }[] }> {
    const request = {
      requests: commands.map(([command, fields]) => ({ cmd: { case: command, value: fields } })),
      requestIds: commands.map((_, index) => BigInt(index + 1)),
    };
    const byId = new Map<bigint, { case: string; fields: Fields }>();
    const answer = await this.stream(
      this.stack.store.meshAddress,
      '/tikvpb.Tikv/BatchCommands',
      encode('tikvpb.BatchCommandsRequest', request),
      (bytes) => {
        const { responses, requestIds } = decode('tikvpb.BatchCommandsResponse', bytes);
        for (const [index, { cmd }] of (responses as Fields[]).entries())
          byId.set(requestIds[index] as bigint, { case: cmd.case, fields: cmd.value });
        return byId.size >= commands.length;
      },
    );
    return { answer, found: [...byId].sort(([a], [b]) => Number(a - b)).map(([, found]) => found) };
  }

  /** Sends one message on a stream of the etcd service and waits for the first answer that is `wanted`. */
  async etcdStream(
    method: string,
    fields: Fields,
    wanted: (answer: Fields) => boolean = () => true,
  ): Promise<Answer> {
    const name = method.split('/')[1]!;
    const answer = await this.stream(
      this.stack.pd.meshAddress,
      `/etcdserverpb.${method}`,
      encode(`etcdserverpb.${name}Request`, fields),
      (bytes) => wanted(decode(`etcdserverpb.${name}Response`, bytes)),
    );
    return {
      ...answer,
      fields: answer.bytes.length ? decode(`etcdserverpb.${name}Response`, answer.bytes) : undefined,
    };
  }

  async header(): Promise<Fields> {
    if (this.clusterId === undefined) {
      const answer = await callHttp(this.stack.pd.meshAddress, this.certs, '/pd/api/v1/cluster');
      // Not parsed as JSON: the number needs 64 bits.
      const id = /"id":\s*(\d+)/.exec(answer.body)?.[1];
      if (id === undefined) throw new Error(`cluster: ${answer.status} ${answer.body}`);
      this.clusterId = BigInt(id);
    }
    return { clusterId: this.clusterId };
  }

  /** The regions that PD shows for [start, end), unencoded keys; empty bounds for everything. */
  async regions(start: Uint8Array = Buffer.alloc(0), end: Uint8Array = Buffer.alloc(0)): Promise<Region[]> {
    const answer = await this.pd('ScanRegions', {
      header: await this.header(),
      startKey: start.length ? memcomparable(start) : start,
      endKey: end.length ? memcomparable(end) : end,
      limit: 10_000,
    });
    if (!answer.fields) throw new Error(`ScanRegions: ${answer.status} ${answer.message}`);
    return (answer.fields['regions'] as Fields[]).map(({ region, leader }) => ({
      id: region.id as bigint,
      context: { regionId: region.id, regionEpoch: region.regionEpoch, peer: leader },
      start: fromMemcomparable(region.startKey as Uint8Array),
      end: fromMemcomparable(region.endKey as Uint8Array),
    }));
  }

  /** The region that holds this key of the tenant's. */
  async regionOf(key: Uint8Array): Promise<Region> {
    const answer = await this.pd('GetRegion', { header: await this.header(), regionKey: memcomparable(key) });
    const region = answer.fields?.['region'] as Fields | undefined;
    if (!region) throw new Error(`GetRegion: ${answer.status} ${answer.message}`);
    return {
      id: region['id'] as bigint,
      context: { regionId: region['id'], regionEpoch: region['regionEpoch'], peer: answer.fields!['leader'] },
      start: fromMemcomparable(region['startKey'] as Uint8Array),
      end: fromMemcomparable(region['endKey'] as Uint8Array),
    };
  }

  private async call(
    address: string,
    path: string,
    [request, response]: [string, string],
    fields: Fields,
    metadata: Metadata,
  ): Promise<Answer> {
    const { body, ...answer } = await callGrpc(address, this.certs, path, encode(request, fields), {
      metadata,
    });
    return { ...answer, bytes: body ?? Buffer.alloc(0), fields: body ? decode(response, body) : undefined };
  }

  private stream(
    address: string,
    path: string,
    message: Uint8Array,
    wanted: (bytes: Buffer) => boolean = () => true,
  ): Promise<Answer> {
    const read = (file: string): Buffer => readFileSync(file);
    const client = new grpc.Client(
      address,
      grpc.credentials.createSsl(read(this.certs.ca), read(this.certs.key), read(this.certs.cert)),
      { 'grpc.max_receive_message_length': -1, 'grpc.ssl_target_name_override': 'localhost' },
    );
    const asIs = (bytes: Buffer): Buffer => bytes;
    const call = client.makeBidiStreamRequest(path, asIs, asIs, new grpc.Metadata(), {
      deadline: Date.now() + 10_000,
    });
    return new Promise<Answer>((resolve) => {
      const done = (code: number, text: string, bytes: Buffer): void => {
        resolve({ code, status: grpc.status[code] ?? 'UNKNOWN', message: text, bytes, fields: undefined });
        call.cancel();
        client.close();
      };
      call.on('data', (bytes: Buffer) => {
        if (wanted(bytes)) done(grpc.status.OK, '', bytes);
      });
      call.on('error', (error: grpc.ServiceError) => done(error.code, error.details, Buffer.alloc(0)));
      call.on('end', () => done(grpc.status.UNKNOWN, 'the stream ended without an answer', Buffer.alloc(0)));
      call.write(Buffer.from(message));
    });
  }
}

/** A unary call without TLS, past Envoy: for what a server does by itself. */
export function callPlain(
  address: string,
  path: string,
  message: Uint8Array,
  metadata: Metadata,
): Promise<string> {
  const client = new grpc.Client(address, grpc.credentials.createInsecure());
  const asIs = (bytes: Buffer): Buffer => bytes;
  const headers = new grpc.Metadata();
  for (const [name, value] of Object.entries(metadata)) headers.set(name, value);
  return new Promise((resolve) => {
    const deadline = Date.now() + 5000;
    client.makeUnaryRequest(path, asIs, asIs, Buffer.from(message), headers, { deadline }, (error) => {
      client.close();
      resolve(grpc.status[error?.code ?? grpc.status.OK] ?? 'UNKNOWN');
    });
  });
}
