import { readFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { VERSION } from '../../src-ts/version.ts';
import { rowKey } from '../harness/support/keys.ts';
import { ticked } from '../harness/support/tick.ts';
import { bytesField, GET, getRequest } from './messages.ts';
import { startMesh, type Mesh } from './mesh.ts';
import { frame } from './upstream.ts';

const LIMIT = 128 * 1024;
const HELD = 64 * 1024;
const good = frame(getRequest(rowKey(70, 1)));

let mesh: Mesh;
beforeAll(async () => {
  mesh = await startMesh({
    limits: { maxMessageBytes: LIMIT, heldBytesPerTenant: HELD, heldBytesPerVM: 2 * HELD },
  });
});
afterAll(() => mesh?.stop());
afterEach(() => {
  mesh.upstream.calls.length = 0;
  mesh.upstream.answer = () => ({ pieces: [frame(Buffer.alloc(0))] });
});

/** Messages that reached the upstream. The headers of a refused stream may come late, without any. */
const arrived = (): Buffer[] => mesh.upstream.calls.flatMap((call) => call.messages);

async function expectGoodCall(): Promise<void> {
  mesh.upstream.calls.length = 0;
  expect(await mesh.alpha.call(GET, [good])).toMatchObject({ status: 0 });
  expect(arrived()).toEqual([getRequest(rowKey(70, 1, 1))]);
}

const key = rowKey(70, 1);
const cases: [string, Buffer, number, RegExp][] = [
  ['a malformed message', frame(Buffer.from([0x12, 0x7f, 1])), 13, /not valid protobuf/],
  ['a wire type that does not fit', frame(Buffer.from([0x10, 0x01])), 13, /not valid protobuf/],
  ['a varint that is not minimal as a tag', frame(Buffer.from([0x92, 0x00, 0x00])), 13, /not valid protobuf/],
  [
    'a singular field twice',
    frame(Buffer.concat([getRequest(key), getRequest(key)])),
    3,
    /^tidb-mesh\[DUPLICATE\]: .*there twice; .*\(field key of kvrpcpb\.GetRequest\)$/,
  ],
  ['a group', frame(Buffer.from([0x13, 0x14])), 3, /group/],
  [
    'an unknown field',
    frame(Buffer.concat([getRequest(key), bytesField(15, key)])),
    3,
    /^tidb-mesh\[UNKNOWN_FIELD\]: .*\(field 15 of kvrpcpb\.GetRequest\)$/,
  ],
  ['no key', frame(Buffer.alloc(0)), 7, /outside of the tenant/],
  ["a neighbour's key", frame(getRequest(rowKey(70, 1, 2))), 7, /outside of the tenant/],
  ['its own key as the store has it', frame(getRequest(rowKey(70, 1, 1))), 7, /outside of the tenant/],
  ['a compressed message', frame(getRequest(key), 1), 12, /grpc-compression-type = "none"/],
  ['a message over the limit', frame(Buffer.alloc(16), 0, LIMIT + 1), 8, /limits\.maxMessageBytes/],
  ['a stream that ends inside a message', good.subarray(0, good.length - 1), 13, /ended inside/],
  ['a stream that ends inside a frame header', good.subarray(0, 3), 13, /ended inside/],
];

describe('a stream with bad input ends with a status, reaches nobody, and harms no other', () => {
  test.each(cases)('%s', async (_name, bytes, status, text) => {
    const outcome = await mesh.alpha.call(GET, [bytes]);
    expect(outcome).toMatchObject({ status, messages: [] });
    expect(outcome.text).toMatch(text);
    expect(arrived()).toEqual([]);
    await expectGoodCall();
  });

  test('a good message before a bad one in the same piece goes nowhere either', async () => {
    const outcome = await mesh.alpha.call(GET, [Buffer.concat([good, frame(Buffer.from([0x13]))])]);
    expect(outcome.status).toBe(3);
    expect(arrived()).toEqual([]);
  });
});

describe('partial frames', () => {
  test('a message in pieces of one byte arrives whole', async () => {
    const pieces = [...good].map((byte) => Buffer.from([byte]));
    expect(await mesh.alpha.call(GET, pieces)).toMatchObject({ status: 0 });
    expect(arrived()).toEqual([getRequest(rowKey(70, 1, 1))]);
  });

  test('an answer in pieces arrives whole', async () => {
    const pairs = frame(bytesField(3, Buffer.from('value')));
    mesh.upstream.answer = () => ({
      pieces: [pairs.subarray(0, 2), pairs.subarray(2, 7), pairs.subarray(7)],
    });
    const outcome = await mesh.alpha.call(GET, [good]);
    expect(outcome).toMatchObject({ status: 0 });
    expect(outcome.messages).toEqual([bytesField(3, Buffer.from('value'))]);
  });

  test('more than heldBytesPerTenant is refused, less is not, and the memory comes back', async () => {
    const half = Buffer.concat([frame(Buffer.alloc(0), 0, LIMIT), Buffer.alloc(HELD + 8192)]);
    const outcome = await mesh.alpha.call(GET, [half], { open: true });
    expect(outcome.status).toBe(8);
    expect(outcome.text).toMatch(/limits\.heldBytesPerTenant/);
    expect(arrived()).toEqual([]);
    await expectGoodCall();
    const value = Buffer.alloc(HELD - 8192);
    mesh.upstream.answer = () => ({
      pieces: [frame(Buffer.concat([Buffer.from([0x1a, 0x80, 0xc0, 0x03]), value]))],
    });
    for (let i = 0; i < 5; i++) expect(await mesh.alpha.call(GET, [good])).toMatchObject({ status: 0 });
    await ticked();
    expect(await mesh.stat(/tidbmesh_held_bytes$/)).toBe(0);
  });
});

describe('bad answers', () => {
  const inAnswer = 'for an answer of the storage layer';
  test.each<[string, string, Buffer, RegExp]>([
    ['malformed', 'MALFORMED', frame(Buffer.from([0x1a, 0x7f])), /\(field value of kvrpcpb\.GetResponse\)$/],
    ['cut short', 'TRUNCATED', frame(Buffer.alloc(3), 0, 100), /ended inside a message/],
    ['compressed', 'COMPRESSED', frame(Buffer.alloc(3), 1), /compressed/],
    ['too long', 'TOO_LONG', frame(Buffer.alloc(3), 0, LIMIT + 1), /limits\.maxMessageBytes/],
  ])('%s: the stream ends, nothing of it arrives, and operators see why', async (_name, code, piece, why) => {
    mesh.upstream.answer = () => ({ pieces: [piece] });
    for (let i = 0; i < 2; i++) {
      // Nothing of beta's was refused so far: what was is logged once.
      const outcome = await mesh.beta.call(GET, [good]);
      expect(outcome.status).not.toBe(0);
      expect(outcome).toMatchObject({ text: '', messages: [] });
    }
    mesh.upstream.answer = () => ({ pieces: [frame(Buffer.alloc(0))] });
    await expectGoodCall();

    await ticked();
    const log = await readFile(mesh.logPath, 'utf8');
    const lines = log.split('\n').filter((line) => line.includes(`tidb-mesh[${code}]: reset`));
    expect(lines).toEqual([expect.stringMatching(why)]);
    expect(lines[0]).toContain(`the stream of tikvpb.Tikv/KvGet for tenant beta, ${inAnswer}: `);
    const accesses = (await mesh.accesses()).filter(
      ({ refusal, tenant }) => refusal === code && tenant === 'beta',
    );
    expect(accesses).toHaveLength(2);
    expect(accesses[0]).toMatchObject({ tenant: 'beta', details: `tidb_mesh_refused[${code}]`, path: GET });
    const metrics = await mesh.prometheus();
    expect(metrics).toMatch(new RegExp(`tidbmesh_refused\\{.*code="${code}".*\\} [2-9]`));
    const labels = `code="${code}".*tenant="beta"|tenant="beta".*code="${code}"`;
    expect(metrics).toMatch(new RegExp(`tidbmesh_tenant_refused_total\\{.*(?:${labels}).*\\} 2`));
    expect(metrics).toMatch(
      /tidbmesh_tenant_requests_total\{.*(?:kind="read".*tenant="beta"|tenant="beta".*kind="read").*\} [2-9]/,
    );
  });

  test('its version is the first line of each VM, and a label', async () => {
    const lines = (await readFile(mesh.logPath, 'utf8'))
      .split('\n')
      .filter((line) => line.includes('tidb-mesh'));
    expect(lines[0]).toMatch(new RegExp(`wasm log.*: tidb-mesh ${VERSION} starts$`));
    expect(await mesh.prometheus()).toMatch(
      new RegExp(`^tidbmesh_build_info\\{.*version="${VERSION}".*\\} 1$`, 'm'),
    );
  });

  test("an unknown field and a neighbour's key leave the answer", async () => {
    // GetResponse.error = 2, KeyError.locked = 1, LockInfo: primary_lock = 1, lock_version = 2, key = 3
    const lock = Buffer.concat([
      bytesField(1, rowKey(70, 9, 2)),
      Buffer.from([0x10, 5]),
      bytesField(3, rowKey(70, 1, 1)),
    ]);
    const answer = Buffer.concat([bytesField(2, bytesField(1, lock)), bytesField(15, Buffer.from('later'))]);
    mesh.upstream.answer = () => ({ pieces: [frame(answer)] });
    const outcome = await mesh.alpha.call(GET, [good]);
    const seen = Buffer.concat(outcome.messages).toString('hex');
    expect(seen).toContain(rowKey(70, 1).toString('hex'));
    expect(seen).not.toContain(rowKey(70, 9, 2).toString('hex'));
    expect(seen).not.toContain(Buffer.from('later').toString('hex'));
  });

  test('a status text that may quote a key is withheld, another passes', async () => {
    const say = (message: string): void => {
      mesh.upstream.answer = () => ({
        pieces: [],
        trailers: { 'grpc-status': '2', 'grpc-message': message },
      });
    };
    say(`key ${rowKey(70, 9, 2).toString('hex')} is locked`);
    expect(await mesh.alpha.call(GET, [good])).toMatchObject({
      status: 2,
      text: expect.stringMatching(/withheld/),
    });
    say('not leader');
    expect(await mesh.alpha.call(GET, [good])).toMatchObject({ status: 2, text: 'not leader' });
  });
});

test('two tenants get their own tags on one connection each', async () => {
  await mesh.alpha.call(GET, [good]);
  await mesh.beta.call(GET, [good]);
  expect(arrived()).toEqual([1, 2].map((n) => getRequest(rowKey(70, 1, n))));
});
