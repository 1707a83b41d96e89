/**
 * PD's leader is lost, given away, paused and cut off while a tenant works through the mesh. `npm run test:ha` does the same without the
 * mesh, too, and prints how long each operation was not to be had. Nothing may be answered wrongly, and everything has to come back.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { examine } from '../../src-ts/tenants/doctor.ts';
import { listTenants } from '../../src-ts/tenants/list.ts';
import { Caller } from '../e2e/support/caller.ts';
import { buildTool } from '../harness/stack/builds.ts';
import { callGrpc } from '../harness/stack/caller.ts';
import { principalOf } from '../harness/stack/certs.ts';
import { leaderOf, type PdMember } from '../harness/stack/pd.ts';
import { connect, type Session } from '../harness/stack/sql.ts';
import { startStack, SYSTEM_PRINCIPAL, type Stack } from '../harness/stack/stack.ts';
import { memcomparable, rowKey } from '../harness/support/keys.ts';
import { decode, encode } from '../harness/support/messages.ts';
import { Attempts, outageTable, startProbe } from './outage.ts';

const IS_LONG = process.env['TIDB_MESH_LONG'] !== undefined;
/** How long a fault lasts. */
const FAULT_MS = IS_LONG ? 10_000 : 4000;
/** How long nothing is done before, and how long an operation may take to come back. */
const QUIET_MS = IS_LONG ? 5000 : 1500;
const RECOVERY_MS = 120_000;
/**
 * While a member is silent, but not gone, TiDB's sessions in etcd hang on it, with and without a mesh: statements that change the schema
 * come back with the member.
 */
const SILENT = ['leader paused', 'leader cut off'];
/** Regions that alpha makes by hand, behind those of its tables, and how many while a fault lasts: one for each member of PD, and more. */
const TABLE = 1_000_000;
const ALPHA = 1;
const NEW_REGIONS = 4;
const ANSWER_MS = 10_000;
const SCHEMA_CHANGES = ['create table', 'split table'];
const OPERATIONS = [
  'tso',
  'region',
  'put',
  'watch',
  'select',
  'update',
  'create table',
  'split table',
  'tenants list',
];

type Fault = (leader: PdMember, followers: readonly PdMember[]) => Promise<() => Promise<void>>;

const FAULTS: Record<string, Fault> = {
  'nothing happens': async () => async () => {},
  'leader resigns': async (leader) => {
    await fetch(`${leader.directUrl}/pd/api/v1/leader/resign`, { method: 'POST' });
    return async () => {};
  },
  'leader killed': async (leader) => {
    await leader.kill();
    return () => leader.start();
  },
  'leader paused': async (leader) => {
    leader.pause();
    return async () => leader.resume();
  },
  'leader cut off': async (leader) => {
    leader.isolate();
    return async () => leader.rejoin();
  },
  'follower killed': async (_leader, [follower]) => {
    await follower!.kill();
    return () => follower!.start();
  },
};
const SHORT = ['leader resigns', 'leader killed'];
/** Here the first member is the leader: who asks only the first one, such as a broken filter for its regions, gets no answer. */
const FIRST_LOST = 'leader killed';

/** Does all there is to do, again and again. */
class Work {
  readonly attempts = new Attempts();
  private isOver = false;
  private readonly running: Promise<void>[] = [];
  private readonly sessions: Session[] = [];
  private pd!: Endpoint;
  private stopProbe: () => Promise<void> = async () => {};
  private acknowledged = 0;
  private tried = 0;

  constructor(private readonly stack: Stack) {}

  async start(): Promise<void> {
    const { stack, attempts } = this;
    const mesh = stack.envoy !== undefined;
    const tidb = await stack.startTidb({ tenant: 'alpha', direct: !mesh });
    const session = await tidb.connect();
    await session.query('CREATE DATABASE ha');
    await session.query('CREATE TABLE ha.t (id INT PRIMARY KEY, v INT)');
    await session.query('INSERT INTO ha.t VALUES (1, 0)');
    await session.close();

    const addresses = stack.pds.map(({ meshAddress }) => meshAddress);
    const operator = await stack.certs.client(SYSTEM_PRINCIPAL);
    const scheme = mesh ? 'https' : 'http';
    this.pd = new Endpoint({
      pd: addresses.map((address) => `${scheme}://${address}`).join(','),
      ...(mesh ? operator : {}),
    });
    const tenant = await stack.certs.client(principalOf('alpha', 'prober'));
    const tls = mesh ? [`--cert=${tenant.cert}`, `--key-file=${tenant.key}`, `--ca=${tenant.ca}`] : [];
    this.stopProbe = startProbe(await buildTool('probe'), [`--pd=${addresses.join(',')}`, ...tls], attempts);

    const isOver = (): boolean => this.isOver;
    const repeat = (
      op: string,
      pauseMs: number,
      attempt: (session: Session) => Promise<string | undefined>,
    ): void => {
      this.running.push(
        (async () => {
          const own = await connect(tidb.mysqlPort, 'ha');
          this.sessions.push(own);
          await attempts.repeat(op, pauseMs, isOver, () => attempt(own));
        })(),
      );
    };
    repeat('update', 20, async (own) => {
      this.tried++;
      await own.query('UPDATE t SET v = v + 1 WHERE id = 1');
      this.acknowledged++;
      return undefined;
    });
    repeat('select', 20, async (own) => {
      const least = this.acknowledged;
      const [row] = await own.query('SELECT v FROM t WHERE id = 1');
      const found = Number(row?.['v']);
      if (!(found >= least && found <= this.tried)) return `${found} of ${least} to ${this.tried} updates`;
      return undefined;
    });
    let tables = 0;
    repeat('create table', 100, async (own) => {
      await own.query(`CREATE TABLE c${++tables} (id INT)`);
      await own.query(`DROP TABLE c${tables}`);
      return undefined;
    });
    let splits = 0;
    repeat('split table', 500, async (own) => {
      await own.query(`CREATE TABLE s${++splits} (id INT PRIMARY KEY)`);
      await own.query(`SPLIT TABLE s${splits} BETWEEN (0) AND (1000000) REGIONS 2`);
      return undefined;
    });
    this.running.push(
      attempts.repeat('tenants list', 200, isOver, async () => {
        const listed = await listTenants(this.pd);
        return listed.length === stack.tenants.length ? undefined : `${listed.length} tenants`;
      }),
    );
    await this.untilAllWork(Date.now());
  }

  /** Waits until each operation has begun and succeeded since then. Returns those that have not. */
  async untilAllWork(since: number, but: readonly string[] = []): Promise<string[]> {
    const deadline = Date.now() + RECOVERY_MS;
    const missing = (): string[] =>
      OPERATIONS.filter((op) => !but.includes(op) && !this.attempts.hasSucceeded(op, since));
    while (missing().length > 0 && Date.now() < deadline) await sleep(100);
    return missing();
  }

  doctor(): ReturnType<typeof examine> {
    return examine(this.pd, { maxAgeSeconds: 3600 });
  }

  async stop(): Promise<void> {
    this.isOver = true;
    await Promise.all(this.running);
    await this.stopProbe();
    const [row] = await this.sessions[0]!.query('SELECT v FROM ha.t WHERE id = 1');
    const found = Number(row?.['v']);
    if (found < this.acknowledged || found > this.tried)
      this.attempts.wrong.push(`${found} of ${this.acknowledged} to ${this.tried} updates at the end`);
    for (const session of this.sessions) await session.close();
    this.pd.close();
  }
}

let cuts = 0;

const ids = async ({ directUrl }: PdMember): Promise<Set<number>> => {
  const answer = await fetch(`${directUrl}/pd/api/v1/regions`, { signal: AbortSignal.timeout(ANSWER_MS) });
  return new Set(((await answer.json()) as { regions: { id: number }[] }).regions.map(({ id }) => id));
};

/** Has PD split a region of alpha's past the mesh, so that no VM of Envoy knows the new one. Returns its id. */
async function newRegion(leader: PdMember): Promise<bigint> {
  const key = memcomparable(rowKey(TABLE, ++cuts, ALPHA)).toString('hex');
  const before = await ids(leader);
  const answer = await fetch(`${leader.directUrl}/pd/api/v1/regions/split`, {
    method: 'POST',
    body: JSON.stringify({ split_keys: [key] }),
    signal: AbortSignal.timeout(RECOVERY_MS),
  });
  const said = `${answer.status} ${await answer.text()}`;
  for (const id of await ids(leader)) {
    if (before.has(id)) continue;
    const shown = await fetch(`${leader.directUrl}/pd/api/v1/region/id/${id}`);
    const { start_key: start, end_key: end } = (await shown.json()) as { start_key: string; end_key: string };
    if ([start, end].some((bound) => bound.toLowerCase() === key)) return BigInt(id);
  }
  throw new Error(`PD has not split: ${said}`);
}

/**
 * Has alpha scatter regions that no VM of Envoy knows, until each act has gone through. The filter asks any member of PD whose they are: the
 * leader, one that follows it, or one that is away.
 */
async function actOnNewRegions(stack: Stack, leader: PdMember): Promise<void> {
  const certs = await stack.certs.client(principalOf('alpha', 'prober'));
  const cluster = await (await fetch(`${leader.directUrl}/pd/api/v1/cluster`)).text();
  const header = { clusterId: BigInt(/"id":\s*(\d+)/.exec(cluster)![1]!) };
  const lookups = async (): Promise<number> => {
    const found = await stack.envoy!.stats(/tidbmesh_region_lookups_total$/);
    return [...found.values()].reduce((sum, one) => sum + one, 0);
  };
  const before = await lookups();
  for (let i = 0; i < NEW_REGIONS; i++) {
    const regionId = await newRegion(leader);
    const request = encode('pdpb.ScatterRegionRequest', { header, regionId });
    const deadline = Date.now() + RECOVERY_MS;
    for (;;) {
      const answer = await callGrpc(leader.meshAddress, certs, '/pdpb.PD/ScatterRegion', request);
      const error =
        answer.body && decode('pdpb.ScatterRegionResponse', answer.body)['header']?.error?.message;
      if (answer.code === 0 && !error) break;
      if (Date.now() > deadline)
        throw new Error(`region ${regionId}: ${answer.status} ${answer.message} ${String(error)}`);
      await sleep(200);
    }
  }
  expect(await lookups()).toBeGreaterThan(before);
}

async function settledLeader(stack: Stack): Promise<PdMember> {
  for (let tries = 0; tries < 600; tries++) {
    const leader = await leaderOf(stack.pds);
    if (leader !== undefined) return leader;
    await sleep(100);
  }
  throw new Error('PD has no leader');
}

/** Has this member lead. */
async function makeLeader(stack: Stack, member: PdMember): Promise<void> {
  const deadline = Date.now() + RECOVERY_MS;
  for (;;) {
    const leader = await settledLeader(stack);
    if (leader === member) return;
    if (Date.now() > deadline) throw new Error(`${leader.name} goes on leading`);
    const path = `/pd/api/v1/leader/transfer/${member.name}`;
    await fetch(`${leader.directUrl}${path}`, { method: 'POST', signal: AbortSignal.timeout(ANSWER_MS) });
    await sleep(500);
  }
}

const gapsByRun: { name: string; gaps: Map<string, Map<string, number>> }[] = [];

describe.each([['with the mesh', true], ...(IS_LONG ? ([['without the mesh', false]] as const) : [])] as [
  string,
  boolean,
][])('%s', (name, mesh) => {
  let stack: Stack;
  let work: Work;
  const gaps = new Map<string, Map<string, number>>();

  beforeAll(async () => {
    stack = await startStack({ pds: 3, mesh, startTidbs: false, boundaries: true });
    work = new Work(stack);
    await work.start();
    gapsByRun.push({ name, gaps });
  });
  afterAll(async () => {
    await work?.stop().catch(() => {});
    await stack?.stop();
  });

  test.each(Object.keys(FAULTS).filter((fault) => IS_LONG || SHORT.includes(fault)))(
    '%s: everything comes back, and nothing was answered wrongly',
    async (fault) => {
      if (fault === FIRST_LOST) {
        await makeLeader(stack, stack.pds[0]!);
        expect(await work.untilAllWork(Date.now())).toEqual([]);
      }
      const leader = await settledLeader(stack);
      const followers = stack.pds.filter((one) => one !== leader);
      await sleep(QUIET_MS);
      const began = Date.now();
      const heal = await FAULTS[fault]!(leader, followers);
      try {
        await sleep(FAULT_MS);
        // The others have to do without it.
        const but = SILENT.includes(fault) ? SCHEMA_CHANGES : [];
        expect(await work.untilAllWork(Date.now(), but)).toEqual([]);
        if (mesh) await actOnNewRegions(stack, await settledLeader(stack));
        const findings = await work.doctor();
        expect(findings.filter(({ level }) => level === 'wrong')).toEqual([]);
      } finally {
        await heal();
      }
      expect(await work.untilAllWork(Date.now())).toEqual([]);
      const ended = Date.now();
      gaps.set(fault, new Map(OPERATIONS.map((op) => [op, work.attempts.longestGap(op, began, ended)])));
      const told = OPERATIONS.map((op) => [op, [...work.attempts.errors(op, began, ended)]] as const);
      const errors = told.filter(([, kinds]) => kinds.length > 0);
      console.log(
        `${name}, ${fault}:`,
        errors.map(([op, kinds]) => `${op}: ${kinds.map(([kind, n]) => `${n} x ${kind}`).join('; ')}`),
      );
      expect(work.attempts.wrong).toEqual([]);
    },
  );

  test('a follower does not forward a tenant to a member of its choice', async () => {
    if (!mesh) return;
    const leader = await settledLeader(stack);
    const follower = stack.pds.find((one) => one !== leader)!;
    const certs = await stack.certs.client(principalOf('alpha', 'prober'));
    const header = await (await Caller.of(stack, 'alpha')).header();
    const region = encode('pdpb.GetRegionRequest', { header, regionKey: Buffer.from('t') });
    const metadata = { 'pd-forwarded-host': `http://${leader.meshAddress}` };
    const ask = (at: PdMember): ReturnType<typeof callGrpc> =>
      callGrpc(at.meshAddress, certs, '/pdpb.PD/GetRegion', region, { metadata });
    const [there, here] = [await ask(leader), await ask(follower)];
    expect(there.code).toBe(0);
    expect(`${here.status} ${here.message}`).toMatch(/not leader/);
  });

  test('all of this was answered as it has to be until the end', async () => {
    await work.stop();
    expect(work.attempts.wrong).toEqual([]);
  });
});

afterAll(() => {
  console.log(outageTable(OPERATIONS, gapsByRun));
});
