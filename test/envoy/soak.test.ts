/**
 * Streams that are opened, used, cut and forgotten for a long time, and a filter that traps. `npm run test:soak -- --minutes N` goes on for
 * so long.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../harness/model/random.ts';
import { prepare } from '../harness/stack/builds.ts';
import { principalOf } from '../harness/stack/certs.ts';
import { startRun, type Run } from '../harness/stack/processes.ts';
import { silent } from '../harness/stack/progress.ts';
import { rowKey } from '../harness/support/keys.ts';
import { encode } from '../harness/support/messages.ts';
import { residentKiB, startMesh, type Caller, type Mesh, type OpenStream } from './mesh.ts';
import { GET, getRequest } from './messages.ts';
import { TRAP_HEADERS, writeTrapping } from './trapping.ts';
import { frame } from './upstream.ts';

const MINUTES = Number(process.env['TIDB_MESH_MINUTES'] ?? 0);
const SHORT_MS = 8000;
const TIMEOUT_MS = (MINUTES + 5) * 60_000;
const BATCH = '/tikvpb.Tikv/BatchCommands';
const WATCH = '/etcdserverpb.Watch/Watch';
const TABLE = 100;
/** Streams of a round, and forgotten ones that are kept until their connection is cut. */
const ROUND = 40;
const FORGOTTEN = 400;
/** The share of the time after which nothing may grow any more by this factor. */
const WARM_UP = 0.4;
const GROWTH = 1.25;
/** A VM's memory grows in steps and never shrinks: more streams at once than before need one more. A leak would need many. */
const STEPS = 4 << 20;
const TRAPS = 3;
const good = frame(getRequest(rowKey(TABLE, 1)));
const rewritten = getRequest(rowKey(TABLE, 1, 1));

const get = (id: bigint): Buffer =>
  frame(
    encode('tikvpb.BatchCommandsRequest', {
      requests: [{ cmd: { case: 'Get', value: { key: rowKey(TABLE, 1) } } }],
      requestIds: [id],
    }),
  );
const echo = (id: bigint): Buffer =>
  frame(
    encode('tikvpb.BatchCommandsResponse', {
      responses: [{ cmd: { case: 'Get', value: { notFound: true } } }],
      requestIds: [id],
    }),
  );

describe('streams that come and go', () => {
  let mesh: Mesh;
  beforeAll(async () => {
    mesh = await startMesh();
    mesh.upstream.echo = echo;
  });
  afterAll(() => mesh?.stop());

  const seen = async (): Promise<{ vm: number; kib: number; streams: number; held: number }> => ({
    vm: await mesh.stat(/^[^:]*tidbmesh_vm_memory_bytes/),
    kib: residentKiB(mesh.envoyPid),
    streams: await mesh.stat(/^[^:]*tidbmesh_streams_active/),
    held: await mesh.stat(/^[^:]*tidbmesh_held_bytes/),
  });

  test(
    'leave nothing behind',
    async () => {
      const random = new Random(1);
      const began = Date.now();
      const lasts = MINUTES > 0 ? MINUTES * 60_000 : SHORT_MS;
      const files = await mesh.certs.client(principalOf('alpha'));
      let warm: Awaited<ReturnType<typeof seen>> | undefined;
      let opened = 0;
      let forgotten = 0;
      let caller: Caller = mesh.caller(files);
      while (Date.now() < began + lasts) {
        const used: Promise<unknown>[] = [];
        for (let i = 0; i < ROUND; i++) {
          opened++;
          const kind = random.below(5);
          if (kind === 0) used.push(caller.call(GET, [good]));
          else {
            const stream: OpenStream = caller.open(kind === 4 ? WATCH : BATCH);
            const bytes = get(1n);
            // Some are cut in the middle of a frame.
            if (kind !== 4)
              stream.write(random.below(3) === 0 ? bytes.subarray(0, 1 + random.below(20)) : bytes);
            if (kind === 1) stream.end();
            else if (kind === 2) used.push(sleep(random.below(20)).then(() => stream.reset()));
            else forgotten++;
          }
        }
        await Promise.all(used);
        mesh.upstream.calls.length = 0;
        if (forgotten > FORGOTTEN) {
          // As a client that dies: Envoy hears of no stream's end.
          caller.close();
          caller = mesh.caller(files);
          forgotten = 0;
        }
        if (warm === undefined && Date.now() > began + WARM_UP * lasts) warm = await seen();
      }
      caller.close();
      let end = await seen();
      for (let looks = 0; looks < 100 && (end.streams > 0 || end.held > 0); looks++) {
        await sleep(100);
        end = await seen();
      }
      console.log(`${opened} streams in ${Math.round((Date.now() - began) / 1000)} s`, { warm, end });
      expect(end).toMatchObject({ streams: 0, held: 0 });
      expect(end.vm).toBeLessThanOrEqual(warm!.vm + STEPS);
      expect(end.kib).toBeLessThanOrEqual(warm!.kib * GROWTH);
      expect(await mesh.stat(/vm_reload/)).toBe(0);
    },
    TIMEOUT_MS,
  );
});

describe('a filter that traps', () => {
  let run: Run;
  let wasmPath: string;
  const many = Object.fromEntries(Array.from({ length: TRAP_HEADERS }, (_, i) => [`x-${i}`, '1']));

  beforeAll(async () => {
    run = await startRun();
    wasmPath = join(run.data, 'trapping.wasm');
    writeTrapping((await prepare(silent)).wasm, wasmPath);
  });
  afterAll(() => run?.end());

  /** Everything that has reached the upstream is as the filter makes it. */
  const expectRewritten = (mesh: Mesh): void => {
    for (const { path, messages, body } of mesh.upstream.calls)
      if (path === GET) {
        expect(messages.map((message) => message.toString('hex'))).toEqual([rewritten.toString('hex')]);
        expect(body.length).toBe(good.length);
      }
  };

  test('is started again, and nothing goes on unrewritten meanwhile', async () => {
    const mesh = await startMesh({}, false, { wasmPath });
    mesh.upstream.echo = echo;
    try {
      const ended: boolean[] = [];
      let refused = 0;
      for (let trap = 0; trap < TRAPS; trap++) {
        const neighbour = mesh.beta.open(BATCH);
        neighbour.write(get(1n));
        for (let i = 0; i < 200 && neighbour.messages.length === 0; i++) await sleep(20);
        expect(neighbour.messages).toHaveLength(1);
        const before = mesh.upstream.calls.length;
        const outcome = await mesh.alpha.call(GET, [good], { headers: many });
        expect(outcome.status).not.toBe(0);
        expect(mesh.upstream.calls.length).toBe(before);
        // Until Envoy has started it again, every call is refused.
        for (let tries = 0; ; tries++) {
          const { status } = await mesh.alpha.call(GET, [good]);
          if (status === 0) break;
          refused++;
          if (tries > 200) throw new Error('the filter does not come back');
          await sleep(50);
        }
        neighbour.write(get(2n));
        await sleep(200);
        ended.push(neighbour.closed);
      }
      expectRewritten(mesh);
      const reloads = await mesh.stat(/vm_reload_success/);
      console.log({ traps: TRAPS, reloads, 'calls refused meanwhile': refused, 'open streams ended': ended });
      expect(reloads).toBe(TRAPS);
    } finally {
      await mesh.stop();
    }
  });

  test('and is not started again lets nothing through', async () => {
    const mesh = await startMesh({}, false, { wasmPath, isReloaded: false });
    try {
      expect(await mesh.alpha.call(GET, [good])).toMatchObject({ status: 0 });
      await mesh.alpha.call(GET, [good], { headers: many });
      mesh.upstream.calls.length = 0;
      for (let tries = 0; tries < 10; tries++) {
        const outcome = await mesh.beta.call(GET, [good]);
        expect(outcome.messages).toEqual([]);
        expect(outcome.status).not.toBe(0);
        await sleep(200);
      }
      expect(mesh.upstream.calls).toEqual([]);
    } finally {
      await mesh.stop();
    }
  });
});
