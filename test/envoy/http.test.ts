/** PD's HTTP API through Envoy: bodies and answers in pieces, beyond their limits, malformed, and errors that quote keys. */
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { principalOf, type CertFiles } from '../harness/stack/certs.ts';
import { standardPluginConfig } from '../harness/stack/stack.ts';
import { memcomparable, tablePrefix } from '../harness/support/keys.ts';
import { startMesh, TENANTS, type Caller, type Mesh, type Outcome } from './mesh.ts';

const V1 = '/pd/api/v1';
const BUNDLES = `${V1}/config/placement-rule`;
const LIMIT = 8 * 1024;

const hexOf = (table: number, tag = 0): string => memcomparable(tablePrefix(table, tag)).toString('hex');
const bundle = (group_id: string, tag = 0): object => ({
  group_id,
  rules: [{ group_id, id: 'r', start_key: hexOf(7, tag), end_key: hexOf(8, tag), role: 'voter', count: 3 }],
});
const SENT = JSON.stringify([bundle('g')]);
const STORED = JSON.stringify([bundle('tidb-mesh:alpha:g', 1)]);

let mesh: Mesh;
let alpha: CertFiles;

beforeAll(async () => {
  const { limits } = standardPluginConfig(TENANTS);
  mesh = await startMesh({ limits: { ...limits, maxMessageBytes: LIMIT } });
  alpha = await mesh.certs.client(principalOf('alpha'));
});
afterAll(async () => {
  await mesh?.stop();
});
beforeEach(() => {
  mesh.upstream.requests.length = 0;
  mesh.upstream.httpAnswer = '"done"';
  mesh.upstream.httpStatus = 200;
});

interface Answer {
  status: number;
  body: string;
  length: string | undefined;
}

/** Sends a body in pieces, chunked; -1 is the status of a connection that was reset. */
function send(method: string, path: string, pieces: string[] = []): Promise<Answer> {
  const { hostname, port } = new URL(`https://${mesh.httpAddress}`);
  return new Promise((resolve) => {
    const call = request(
      {
        hostname,
        port,
        path,
        method,
        ca: readFileSync(alpha.ca),
        cert: readFileSync(alpha.cert),
        key: readFileSync(alpha.key),
        servername: 'localhost',
        agent: false,
        headers: pieces.length > 0 ? { 'transfer-encoding': 'chunked' } : {},
      },
      (response) => {
        const parts: Buffer[] = [];
        const done = (status: number): void =>
          resolve({
            status,
            body: Buffer.concat(parts).toString(),
            length: response.headers['content-length'],
          });
        response.on('data', (part: Buffer) => parts.push(part));
        response.on('end', () => done(response.statusCode ?? 0));
        response.on('error', () => done(-1));
      },
    );
    call.on('error', () => resolve({ status: -1, body: '', length: undefined }));
    const writeFrom = (index: number): void => {
      if (call.destroyed) return;
      if (index >= pieces.length) call.end();
      else call.write(pieces[index], () => setTimeout(writeFrom, 2, index + 1));
    };
    writeFrom(0);
  });
}

describe('a body', () => {
  test('goes on as the tenant’s own wherever it is cut', async () => {
    for (let cut = 1; cut < SENT.length; cut += 7) {
      const { status } = await send('POST', `${BUNDLES}?partial=true`, [SENT.slice(0, cut), SENT.slice(cut)]);
      expect(status).toBe(200);
      expect(mesh.upstream.requests.at(-1)).toMatchObject({
        method: 'POST',
        url: `${BUNDLES}?partial=true`,
        body: STORED,
      });
    }
  });

  test('byte by byte', async () => {
    expect((await send('POST', `${BUNDLES}/g`, [...JSON.stringify(bundle('g'))])).status).toBe(200);
    expect(mesh.upstream.requests).toHaveLength(1);
    expect(mesh.upstream.requests[0]).toMatchObject({
      url: `${BUNDLES}/tidb-mesh:alpha:g`,
      body: JSON.stringify(bundle('tidb-mesh:alpha:g', 1)),
    });
  });

  test.each<[string, string[], number, RegExp]>([
    ['cut short', [SENT.slice(0, -1)], 400, /not the JSON/],
    ['with something behind', [SENT, '1'], 400, /not the JSON/],
    ['with hex of an odd length', [SENT.replace(hexOf(7), 'abc')], 400, /not the JSON/],
    ['with a member twice', [SENT.replace('"count":3', '"count":3,"count":4')], 403, /twice/],
    ['with a name of others', [JSON.stringify([bundle('a/b')])], 403, /not for tenants/],
    [
      'longer than the limit, in one piece',
      [`${SENT.slice(0, -1)}${' '.repeat(LIMIT)}]`],
      413,
      /maxMessageBytes/,
    ],
    [
      'longer than the limit, in many',
      Array<string>(40).fill(' '.repeat(LIMIT / 20)),
      413,
      /maxMessageBytes/,
    ],
  ])('%s is refused, and nothing reaches PD', async (_, pieces, wanted, why) => {
    const { status, body } = await send('POST', `${BUNDLES}?partial=true`, pieces);
    expect(status).toBe(wanted);
    expect(JSON.parse(body)).toMatch(why);
    expect(mesh.upstream.requests).toEqual([]);
    // The filter works on.
    expect((await send('POST', `${BUNDLES}?partial=true`, [SENT])).status).toBe(200);
    expect(mesh.upstream.requests).toHaveLength(1);
  });

  test.each([
    ['GET', `${V1}/stores`],
    ['GET', `${V1}/config/rules`],
    ['DELETE', `${V1}/config/placement-rule/g`],
  ])('where PD needs none is refused: %s %s', async (method, path) => {
    const { status, body } = await send(method, path, ['x', ' '.repeat(LIMIT)]);
    expect([status, JSON.parse(body)]).toEqual([400, expect.stringContaining('[BODY_REFUSED]')]);
    expect(mesh.upstream.requests).toEqual([]);
    await send(method, path);
    expect(mesh.upstream.requests).toHaveLength(1);
  });

  test('as long as the limit passes', async () => {
    const pieces = [SENT.slice(0, -1), ' '.repeat(LIMIT - SENT.length), ']'];
    expect((await send('POST', `${BUNDLES}?partial=true`, pieces)).status).toBe(200);
    expect(mesh.upstream.requests[0]?.body).toBe(STORED);
  });
});

describe('over HTTP/2, a body that ends with trailers', () => {
  const path = `${BUNDLES}?partial=true`;
  const options = { headers: { 'content-type': 'application/json' }, trailers: { 'x-end': '1' } };
  const cuts = [0, 1, 2, 40, SENT.length - 1, SENT.length];
  const pieces = (cut: number): Buffer[] =>
    [SENT.slice(0, cut), SENT.slice(cut)].filter((piece) => piece !== '').map((piece) => Buffer.from(piece));
  /** PD as it is, and a PD that speaks HTTP/2 and gets the trailers. */
  let toPd: Caller;
  beforeAll(() => {
    toPd = mesh.httpCaller(alpha);
  });

  test.each(cuts)('goes on as the tenant’s own, cut at %i', async (cut) => {
    const { httpStatus } = await toPd.call(path, pieces(cut), options);
    expect(httpStatus).toBe(200);
    expect(mesh.upstream.requests.at(-1)).toMatchObject({ method: 'POST', url: path, body: STORED });

    expect((await mesh.alpha.call(path, pieces(cut), options)).httpStatus).toBe(200);
    const { body, trailers } = mesh.upstream.calls.at(-1)!;
    expect([body.toString(), trailers['x-end']]).toEqual([STORED, '1']);
  });

  test('byte by byte', async () => {
    const bytes = [...SENT].map((one) => Buffer.from(one));
    expect((await toPd.call(path, bytes, options)).httpStatus).toBe(200);
    expect(mesh.upstream.requests.at(-1)).toMatchObject({ body: STORED });
  });

  test.each<[string, string[], number, RegExp]>([
    ['cut short', [SENT.slice(0, -1)], 400, /not the JSON/],
    ['with something behind', [SENT, '1'], 400, /not the JSON/],
    ['of nothing', [], 400, /not the JSON/],
    ['with a name of others', [JSON.stringify([bundle('a/b')])], 403, /not for tenants/],
    ['longer than the limit', Array<string>(40).fill(' '.repeat(LIMIT / 20)), 413, /maxMessageBytes/],
  ])('%s is refused, and nothing reaches PD', async (_, parts, wanted, why) => {
    const sent = parts.map((part) => Buffer.from(part));
    const { httpStatus, body } = await toPd.call(path, sent, options);
    expect(httpStatus).toBe(wanted);
    expect(JSON.parse(body.toString())).toMatch(why);
    expect(mesh.upstream.requests).toEqual([]);
    expect((await toPd.call(path, [Buffer.from(SENT)], options)).httpStatus).toBe(200);
  });

  test('as long as the limit passes', async () => {
    const parts = [SENT.slice(0, -1), ' '.repeat(LIMIT - SENT.length), ']'].map((part) => Buffer.from(part));
    expect((await toPd.call(path, parts, options)).httpStatus).toBe(200);
    expect(mesh.upstream.requests.at(-1)).toMatchObject({ body: STORED });
  });

  describe('an answer', () => {
    const ALL = JSON.stringify([bundle('pd'), bundle('tidb-mesh:beta:g', 2), bundle('tidb-mesh:alpha:g', 1)]);
    const headers = { ':method': 'GET', 'content-type': 'application/json' };
    const ask = (parts: string[]): Promise<Outcome> => {
      mesh.upstream.answer = () => ({
        pieces: parts.map((part) => Buffer.from(part)),
        trailers: { 'x-end': '2' },
      });
      return mesh.alpha.call(BUNDLES, [], { headers });
    };

    test.each([1, 100, ALL.length - 1])('shows one’s own, cut at %i', async (cut) => {
      const got = await ask([ALL.slice(0, cut), ALL.slice(cut)]);
      expect([got.httpStatus, got.body.toString(), got.headers['x-end']]).toEqual([200, SENT, '2']);
    });

    test.each([
      ['cut short', [ALL.slice(0, -1)]],
      ['longer than the limit', [ALL.slice(0, -1), ' '.repeat(LIMIT), ']']],
    ])('%s never reaches the tenant', async (_, parts) => {
      const got = await ask(parts);
      expect(got.body.toString()).not.toMatch(/beta|7480/);
      expect(got.headers['x-end']).toBeUndefined();
    });
  });
});

describe('an answer', () => {
  const ALL = JSON.stringify([bundle('pd'), bundle('tidb-mesh:beta:g', 2), bundle('tidb-mesh:alpha:g', 1)]);

  test('shows one’s own wherever it is cut, with its new length', async () => {
    for (let cut = 1; cut < ALL.length; cut += 31) {
      mesh.upstream.httpAnswer = [ALL.slice(0, cut), ALL.slice(cut)];
      const { status, body } = await send('GET', BUNDLES);
      expect([status, body]).toEqual([200, SENT]);
    }
    mesh.upstream.httpAnswer = ALL;
    const { body, length } = await send('GET', BUNDLES);
    expect(body).toBe(SENT);
    expect(length === undefined || Number(length) === SENT.length).toBe(true);
  });

  test.each([
    ['that is no JSON', '<html>'],
    ['cut short', ALL.slice(0, -1)],
    ['longer than the limit', `${ALL.slice(0, -1)}${' '.repeat(LIMIT)}]`],
  ])('%s never reaches the tenant', async (_, answer) => {
    mesh.upstream.httpAnswer = answer;
    const got = await send('GET', BUNDLES);
    expect([-1, 502]).toContain(got.status);
    expect(got.body).not.toMatch(/beta|7480/);
  });

  test.each([400, 404, 500, 503])(
    'with status %s keeps it; a text that quotes keys is withheld',
    async (code) => {
      mesh.upstream.httpStatus = code;
      mesh.upstream.httpAnswer = '"rule not found"\n';
      expect(await send('GET', BUNDLES)).toMatchObject({ status: code, body: '"rule not found"\n' });
      mesh.upstream.httpAnswer = `"overlaps ${hexOf(7, 2)}"`;
      const { status, body } = await send('POST', `${BUNDLES}?partial=true`, [SENT]);
      expect(status).toBe(code);
      expect(JSON.parse(body)).toMatch(/withheld/);
    },
  );

  test('to a change is a text, without keys', async () => {
    mesh.upstream.httpAnswer = `Accelerate regions scheduling in a given range [${hexOf(7, 1)},)`;
    const { body } = await send('POST', `${V1}/regions/accelerate-schedule`, [
      JSON.stringify({ start_key: hexOf(7), end_key: '' }),
    ]);
    expect(body).not.toContain(hexOf(7, 1));
    expect(JSON.parse(mesh.upstream.requests[0]!.body)).toEqual({
      start_key: hexOf(7, 1),
      end_key: hexOf(0, 2),
    });
  });
});
