/** The commands' connection to PD, where PD has several members. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { SCAN_LOCK } from '../../src-ts/move/engine/methods.ts';
import { timestamp } from '../../src-ts/pd/timestamp.ts';
import { encode } from '../harness/support/messages.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';

const servers: Server[] = [];
const grpcServers: grpc.Server[] = [];
const endpoints: Endpoint[] = [];

afterEach(() => {
  for (const endpoint of endpoints.splice(0)) endpoint.close();
  for (const server of servers.splice(0)) server.close().closeAllConnections();
  for (const server of grpcServers.splice(0)) server.forceShutdown();
});

/** A member that answers every request with this status; undefined: it never answers. */
async function member(status: number | undefined): Promise<{ address: string; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.method ?? '');
    if (status !== undefined) response.writeHead(status).end('{"status":' + String(status) + '}');
  });
  servers.push(server);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

const asIs = (bytes: Buffer): Buffer => bytes;
const TSO = '/pdpb.PD/Tso';

/** A member that gives timestamps, or says in PD's words that another one does. */
async function giver(isLeader: boolean): Promise<string> {
  const server = new grpc.Server();
  const method = {
    path: TSO,
    requestStream: true,
    responseStream: true,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  };
  const answer = Buffer.from(
    encode('pdpb.TsoResponse', { timestamp: { physical: 7n, logical: 1n }, count: 1 }),
  );
  const details =
    '[PD:tso:ErrGenerateTimestamp]generate timestamp failed, requested pd is not leader of cluster';
  server.addService(
    { tso: method },
    {
      tso: (call: grpc.ServerDuplexStream<Buffer, Buffer>) =>
        call.on('data', () => {
          if (!isLeader) call.emit('error', { code: grpc.status.UNKNOWN, details });
          else {
            call.write(answer);
            call.end();
          }
        }),
    },
  );
  grpcServers.push(server);
  const port = await new Promise<number>((done, failed) =>
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? failed(error) : done(bound),
    ),
  );
  return `http://127.0.0.1:${port}`;
}

async function goneMember(): Promise<string> {
  const { address } = await member(200);
  await new Promise((done) => servers.pop()!.close(done));
  return address;
}

function endpoint(...addresses: string[]): Endpoint {
  const made = new Endpoint({ pd: addresses.join(',') });
  endpoints.push(made);
  return made;
}

describe('several members of PD', () => {
  test('one that has gone is passed over, and not asked first again', async () => {
    const good = await member(200);
    const pd = endpoint(await goneMember(), good.address);
    for (const method of ['GET', 'POST'] as const)
      expect(await pd.http(method, '/x')).toEqual({ status: 200 });
    expect(pd.url.href).toBe(`${good.address}/`);
  });

  test('one without a leader is passed over, for changes too', async () => {
    const [bad, good] = [await member(503), await member(200)];
    expect(await endpoint(bad.address, good.address).http('POST', '/x')).toEqual({ status: 200 });
    expect([bad.asked, good.asked]).toEqual([['POST'], ['POST']]);
  });

  test('a change that may have been made is not made again', async () => {
    const [bad, good] = [await member(500), await member(200)];
    await expect(endpoint(bad.address, good.address).http('POST', '/x')).rejects.toThrow('PD answers 500');
    expect(good.asked).toEqual([]);
  });

  test('what does not exist is not asked of another one', async () => {
    const [one, other] = [await member(404), await member(200)];
    const pd = endpoint(one.address, other.address);
    expect(await pd.http('GET', '/x', { missing: true })).toBeUndefined();
    expect(other.asked).toEqual([]);
  });

  test('a silent one is passed over by what only reads', async () => {
    const [silent, good] = [await member(undefined), await member(200)];
    expect(await endpoint(silent.address, good.address).http('GET', '/x')).toEqual({ status: 200 });
  });

  test('one that does not lead is passed over for timestamps', async () => {
    const [follower, leader] = [await giver(false), await giver(true)];
    const cluster = Promise.resolve(1n);
    expect(await timestamp(endpoint(follower, leader), cluster)).toBe((7n << 18n) | 1n);
    await expect(timestamp(endpoint(follower), cluster)).rejects.toThrow('not leader');
  });

  test('a single one is asked once', async () => {
    const only = await member(503);
    await expect(endpoint(only.address).http('GET', '/x')).rejects.toThrow('PD answers 503');
    expect(only.asked).toEqual(['GET']);
  });

  test('one that has gone is named by what is wrong, not by what gRPC says around it', async () => {
    const address = await goneMember();
    const { host } = new URL(address);
    await expect(timestamp(endpoint(address), Promise.resolve(1n))).rejects.toThrow(
      `no answer from ${host}: connect ECONNREFUSED ${host}`,
    );
    await expect(timestamp(endpoint(address), Promise.resolve(1n))).rejects.not.toThrow('Resolution note');
  });

  test('all have http:// or all have https://', () => {
    expect(() => endpoint('http://a:1', 'https://b:1')).toThrow('has http:// and https://');
    expect(() => endpoint('http://a:1', '')).toThrow('not a URL');
  });
});

describe('a call that is given up', () => {
  /** Answers nothing, and hears that a call is cancelled. */
  async function silent(): Promise<{ readonly address: string; readonly cancelled: Promise<void> }> {
    const server = new grpc.Server();
    let cancel = (): void => undefined;
    const cancelled = new Promise<void>((resolve) => (cancel = resolve));
    const method = {
      path: '/tikvpb.Tikv/KvScanLock',
      requestStream: false,
      responseStream: false,
      requestSerialize: asIs,
      requestDeserialize: asIs,
      responseSerialize: asIs,
      responseDeserialize: asIs,
    } as const;
    server.addService(
      { scan: method },
      { scan: (call: grpc.ServerUnaryCall<Buffer, Buffer>) => call.on('cancelled', cancel) },
    );
    grpcServers.push(server);
    const port = await new Promise<number>((done, failed) =>
      server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error ? failed(error) : done(bound),
      ),
    );
    return { address: `127.0.0.1:${port}`, cancelled };
  }

  test('ends at the store as well, and is not sent again', async () => {
    const { address, cancelled } = await silent();
    const stop = new AbortController();
    const call = endpoint(`http://${address}`).grpc(SCAN_LOCK, {}, address, { signal: stop.signal });
    setTimeout(() => stop.abort(new Error('given up')), 50);
    await expect(call).rejects.toThrow('given up');
    await cancelled;
    const again = endpoint(`http://${address}`).grpc(SCAN_LOCK, {}, address, { signal: stop.signal });
    await expect(again).rejects.toThrow('given up');
  });

  test('ends with all others of the same view, over gRPC and HTTP, and none beside it', async () => {
    const [{ address, cancelled }, http] = [await silent(), await member(undefined)];
    const stop = new AbortController();
    const given = (one: string): Endpoint => endpoint(one).until(stop.signal);
    const calls = [
      given(`http://${address}`).grpc(SCAN_LOCK, {}),
      given(http.address).http('POST', '/x'),
      given(http.address).http('GET', '/x'),
    ];
    setTimeout(() => stop.abort(new Error('given up')), 50);
    const outcomes = await Promise.allSettled(calls);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    await cancelled;
    const good = await member(200);
    const pd = endpoint(good.address);
    await expect(pd.until(stop.signal).http('POST', '/x')).rejects.toThrow('given up');
    expect(await pd.http('POST', '/x')).toEqual({ status: 200 });
    expect(good.asked).toEqual(['POST']);
  });
});
