/** Five tenants of which one floods, one is refused, one waits for locks, and one holds garbage collection back. */
import { setTimeout as sleep } from 'node:timers/promises';
import { principalOf } from '../harness/stack/certs.ts';
import { rowKey } from '../harness/support/keys.ts';
import { encode } from '../harness/support/messages.ts';
import { GET, getRequest } from './messages.ts';
import type { Caller, Mesh } from './mesh.ts';
import { frame } from './upstream.ts';

export const FIVE = ['alpha', 'beta', 'gamma', 'delta', 'epsilon'].map((name, i) => ({
  name,
  number: i + 1,
}));
export const LOUD = 'gamma';
export const REFUSED = 'delta';
export const WAITING = 'beta';
export const HOLDING = 'epsilon';

/** An hour ago. */
const HELD_MS = 3600 * 1000;
const PUT = '/etcdserverpb.KV/Put';
const PREWRITE = '/tikvpb.Tikv/KvPrewrite';
const read = frame(getRequest(rowKey(70, 1)));
const write = frame(
  encode('kvrpcpb.PrewriteRequest', {
    mutations: [{ key: rowKey(70, 1) }],
    primaryLock: rowKey(70, 1),
    startVersion: 5n,
  }),
);
/** Who writes finds the row locked. Whose answers are empty finds nothing. */
const locked = frame(encode('kvrpcpb.PrewriteResponse', { errors: [{ locked: { lockVersion: 4n } }] }));
const nothing = frame(Buffer.alloc(0));
const malformed = frame(Buffer.from([0x0a]));

/** What a TiDB puts into etcd once in a while: the timestamp of its oldest transaction. */
function oldestTransaction(id: string, millisAgo: number): Buffer {
  const timestamp = BigInt(Date.now() - millisAgo) << 18n;
  return frame(
    encode('etcdserverpb.PutRequest', {
      key: Buffer.from(`/tidb/server/minstartts/${id}`),
      value: Buffer.from(String(timestamp)),
      lease: 7n,
    }),
  );
}

/** A message that does not come to its end, as that of a slow sender. */
const cut = frame(Buffer.alloc(64 * 1024), 0, 128 * 1024);

/** Calls as each of the five does, for some seconds. */
export async function live(mesh: Mesh, seconds: number): Promise<void> {
  const callers = new Map<string, Caller>();
  for (const { name } of FIVE) callers.set(name, mesh.caller(await mesh.certs.client(principalOf(name))));
  const end = Date.now() + seconds * 1000;
  mesh.upstream.answer = ({ path }) => ({ pieces: [path === PREWRITE ? locked : nothing] });
  const often = async (name: string, pause: number, piece: Buffer, path = GET): Promise<void> => {
    while (Date.now() < end) {
      await callers.get(name)!.call(path, [piece]);
      await sleep(pause);
    }
  };
  const reports = async (name: string, millisAgo: number): Promise<void> => {
    await callers.get(name)!.call(PUT, [oldestTransaction(name, millisAgo)]);
  };
  const slow = callers.get(LOUD)!.open('/tikvpb.Tikv/BatchCommands');
  slow.write(cut);
  await Promise.all([
    ...FIVE.map(({ name }) => often(name, name === LOUD ? 2 : 100, read)),
    often(REFUSED, 100, malformed),
    often(WAITING, 100, write, PREWRITE),
    ...FIVE.map(({ name }) => reports(name, name === HOLDING ? HELD_MS : 1000)),
  ]);
  slow.reset();
}
