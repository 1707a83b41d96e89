/**
 * HTTP/2 frames that are cut anywhere, interleaved, padded, slow or never finished, through a real Envoy. Nothing reaches the upstream
 * unrewritten or in part, the VM never fails, and memory does not grow. `-- --minutes N` goes on for so long.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { principalOf, type CertFiles } from '../harness/stack/certs.ts';
import { Random } from '../harness/model/random.ts';
import { rowKey } from '../harness/support/keys.ts';
import { encode } from '../harness/support/messages.ts';
import { Flag, h2Frame, hpack, Type, windowUpdate, WireConnection } from './h2-wire.ts';
import { residentKiB, startMesh, type Mesh } from './mesh.ts';
import { GET, getRequest } from './messages.ts';
import { frame, unframe, type Received } from './upstream.ts';

const MINUTES = Number(process.env['TIDB_MESH_MINUTES'] ?? 0);
const SEED = Number(process.env['TIDB_MESH_SEED'] ?? 1);
/** Connections of the short form, and how many are open at a time. */
const CONNECTIONS = 180;
const AT_A_TIME = 6;
/** The share after which memory must not grow any more by this factor. */
const WARM_UP = 0.4;
const GROWTH = 1.25;
/** A VM's memory grows in steps and never shrinks: more streams at once than before need one more. A leak would need many. */
const STEPS = 4 << 20;
const TIMEOUT_MS = (MINUTES + 5) * 60_000;
const TABLE = 100;
const BATCH = '/tikvpb.Tikv/BatchCommands';
/** How a key of TiDB's begins, with the bytes where the tenant's number has to be. */
const UNREWRITTEN = rowKey(TABLE, 1).subarray(0, 9);
const REWRITTEN = rowKey(TABLE, 1, 1).subarray(0, 9);

let mesh: Mesh;
let files: CertFiles;
const counts: Record<string, number> = {};
const count = (what: string): void => void (counts[what] = (counts[what] ?? 0) + 1);

beforeAll(async () => {
  mesh = await startMesh();
  files = await mesh.certs.client(principalOf('alpha'));
});
afterAll(() => mesh?.stop());

const batch = (random: Random): Buffer =>
  frame(
    encode('tikvpb.BatchCommandsRequest', {
      requests: Array.from({ length: 1 + random.below(20) }, (_, i) => ({
        cmd: { case: 'Get', value: { key: rowKey(TABLE, i) } },
      })),
      requestIds: Array.from({ length: 20 }, (_, i) => BigInt(i + 1)),
    }),
  );

/** The frames of one stream, in order. Some are wrong, some never come. */
function framesOf(random: Random, stream: number): Buffer[] {
  const isBatch = random.below(2) === 0;
  const headers = hpack({
    ':method': 'POST',
    ':scheme': 'https',
    ':path': isBatch ? BATCH : GET,
    ':authority': 'localhost',
    'content-type': 'application/grpc',
    te: 'trailers',
    ...(random.below(6) === 0 ? { 'x-large': 'x'.repeat(random.below(100_000)) } : {}),
  });
  const frames: Buffer[] = [];
  const cutHeaders = random.below(3) === 0 || headers.length > 16_000;
  const first = cutHeaders ? Math.min(random.below(headers.length), 16_000) : headers.length;
  frames.push(h2Frame(Type.HEADERS, cutHeaders ? 0 : Flag.END_HEADERS, stream, headers.subarray(0, first)));
  for (let at = first; at < headers.length;) {
    const end = Math.min(headers.length, at + 1 + random.below(16_000));
    const last = end === headers.length ? Flag.END_HEADERS : 0;
    frames.push(h2Frame(Type.CONTINUATION, last, stream, headers.subarray(at, end)));
    at = end;
  }
  // A header block must not be interrupted: it counts as one frame.
  const pieces: Buffer[] = [Buffer.concat(frames)];
  const bodies = Array.from({ length: 1 + random.below(4) }, () =>
    isBatch ? batch(random) : frame(getRequest(rowKey(TABLE, random.below(1000)))),
  );
  let body: Buffer = Buffer.concat(bodies);
  if (random.below(4) === 0) body = body.subarray(0, random.below(body.length));
  if (random.below(8) === 0) body[random.below(Math.max(1, body.length))]! ^= 1 + random.below(255);
  const withTrailers = random.below(5) === 0;
  const ends = random.below(4) !== 0;
  for (let at = 0; at < body.length;) {
    const end = Math.min(body.length, at + 1 + random.below(random.below(3) === 0 ? 3 : 400));
    const part = body.subarray(at, end);
    at = end;
    const isLast = at === body.length && ends && !withTrailers;
    if (random.below(5) === 0) {
      const padding = random.below(50);
      const padded = Buffer.concat([Buffer.from([padding]), part, Buffer.alloc(padding)]);
      pieces.push(h2Frame(Type.DATA, Flag.PADDED | (isLast ? Flag.END_STREAM : 0), stream, padded));
    } else pieces.push(h2Frame(Type.DATA, isLast ? Flag.END_STREAM : 0, stream, part));
    if (random.below(10) === 0) pieces.push(h2Frame(Type.DATA, 0, stream, Buffer.alloc(0)));
    if (random.below(6) === 0) pieces.push(windowUpdate(random.below(2) * stream, 1 + random.below(100)));
  }
  if (withTrailers && ends)
    pieces.push(
      h2Frame(Type.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, stream, hpack({ 'x-trailer': 'y' })),
    );
  if (random.below(4) === 0) {
    const at = 1 + random.below(pieces.length);
    pieces.splice(at, Infinity, h2Frame(Type.RST_STREAM, 0, stream, Buffer.from([0, 0, 0, 8])));
    count('streams reset by the client');
  }
  count('streams');
  return pieces;
}

/** Opens a connection, mixes the frames of some streams, and writes them in pieces of any size. */
async function attack(random: Random): Promise<void> {
  const window = [0, 1, 100, 65_535, 1 << 20][random.below(5)]!;
  const connection = await WireConnection.open(mesh.storePort, files, window);
  count('connections');
  const streams = Array.from({ length: 1 + random.below(8) }, (_, i) => framesOf(random, 2 * i + 1));
  // Streams begin in their order, and then as it comes.
  const mixed: Buffer[] = [];
  let begun = 0;
  while (streams.some((frames) => frames.length > 0)) {
    let which = random.below(streams.length);
    if (which >= begun) which = begun < streams.length ? begun++ : which;
    const next = streams[which]!.shift();
    if (next) mixed.push(next);
  }
  const all = Buffer.concat(mixed);
  const cutAt = random.below(4) === 0 ? random.below(all.length) : all.length;
  const isSlow = random.below(5) === 0;
  connection.beginPieces();
  for (let at = 0; at < cutAt;) {
    const end = Math.min(cutAt, at + 1 + random.below(isSlow ? 60 : 4000));
    await connection.write(all.subarray(at, end));
    at = end;
    if (isSlow && random.below(8) === 0) await sleep(1);
  }
  if (cutAt < all.length) count('connections cut in the middle');
  else {
    await connection.endPieces();
    if (random.below(3) === 0) await connection.write(windowUpdate(0, 0x7fffffff - 65_535));
  }
  await sleep(random.below(30));
  count('frames');
  counts['frames'] = (counts['frames'] ?? 0) + mixed.length - 1;
  connection.cut();
}

/** Calls that may still be on their way when they are looked at: they are looked at once more. */
let latest: Received[] = [];

/** What has reached the upstream and should not have. */
function wrong(): string[] {
  const found: string[] = [];
  for (const { path, body, ended } of [...latest, ...mesh.upstream.calls]) {
    if (body.includes(UNREWRITTEN)) found.push(`${path}: a key goes on unrewritten: ${body.toString('hex')}`);
    const whole = unframe(body).reduce((sum, message) => sum + 5 + message.length, 0);
    if (ended && whole !== body.length)
      found.push(`${path}: ${body.length - whole} bytes of a frame go on in part`);
  }
  for (const { body } of latest) if (body.includes(REWRITTEN)) count('bodies that went on, rewritten');
  latest = mesh.upstream.calls.splice(0);
  return found;
}

test(
  'frames in any order and of any length reach nobody but rewritten and whole',
  async () => {
    const random = new Random(SEED);
    const began = Date.now();
    const isOver = (n: number): boolean =>
      MINUTES > 0 ? Date.now() > began + MINUTES * 60_000 : n >= CONNECTIONS;
    const share = (n: number): number =>
      MINUTES > 0 ? (Date.now() - began) / (MINUTES * 60_000) : n / CONNECTIONS;
    let warm: { kib: number; vm: number } | undefined;
    for (let n = 0; !isOver(n); n += AT_A_TIME) {
      await Promise.all(Array.from({ length: AT_A_TIME }, () => attack(random)));
      expect(wrong()).toEqual([]);
      if (warm === undefined && share(n) > WARM_UP)
        warm = { kib: residentKiB(mesh.envoyPid), vm: await mesh.stat(/tidbmesh_vm_memory_bytes/) };
    }
    // Each stream's end reaches the upstream.
    await sleep(500);
    for (let looks = 0; looks < 2; looks++) expect(wrong()).toEqual([]);
    const end = { kib: residentKiB(mesh.envoyPid), vm: await mesh.stat(/tidbmesh_vm_memory_bytes/) };
    console.log({ seed: SEED, ...counts, warm, end });
    expect(counts['bodies that went on, rewritten']).toBeGreaterThan(CONNECTIONS / 8);
    expect(end.vm).toBeLessThanOrEqual(warm!.vm + STEPS);
    expect(end.kib).toBeLessThanOrEqual(warm!.kib * GROWTH);
    expect(await mesh.stat(/vm_reload|wasm.*crash/)).toBe(0);
    expect(readFileSync(mesh.logPath, 'utf8')).not.toMatch(/Function: .* failed|Uncaught/);
  },
  TIMEOUT_MS,
);

test('the next good call is answered', async () => {
  expect(await mesh.alpha.call(GET, [frame(getRequest(rowKey(TABLE, 1)))])).toMatchObject({ status: 0 });
});
