/**
 * Moves a tenant there and back between two places while clients commit, and mover after mover dies. Nothing here is real but the steps:
 * the stores, the filter's VMs, etcd and time are small models. The real ones are in test/move/.
 */
import { afterEach, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { HistoryGone, type Engine, type Feed, type Following } from '../../src-ts/move/engine/engine.ts';
import { withOrders } from '../../src-ts/move/filters/config.ts';
import type { Mesh, Orders, Phase, Vm } from '../../src-ts/move/filters/mesh.ts';
import { isSamePlace, NO_TIME_YET, type Place } from '../../src-ts/move/place.ts';
import {
  findMove,
  keepLast,
  lastMoves,
  moveOf,
  moves as allMoves,
  save,
  update,
  type ForeignCommit,
  type MoveRecord,
} from '../../src-ts/move/record.ts';
import type { Tools } from '../../src-ts/move/steps/tools.ts';
import { ask, fulfilled, isAtHome, type Verb } from '../../src-ts/move/wishes.ts';
import { work } from '../../src-ts/move/worker.ts';
import { isGone, newWorkerId } from '../../src-ts/move/worker-id.ts';
import type { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { putIfUnchanged } from '../../src-ts/pd/etcd.ts';
import { ruleOf } from '../../src-ts/tenants/registry.ts';
import { EtcdModel } from '../harness/support/etcd-model.ts';
import { UNDECIDED } from '../harness/support/switch-steps.ts';

const TENANT = 'alpha';
const HOME: Place = {};
const AWAY: Place = { keyNumber: 5 };
/** The same between two storage layers, of which the second one's PD has the record. */
const AT_A: Place = { storage: 'a' };
const AT_B: Place = { storage: 'b' };
const BETWEEN: Partial<MoveRecord> = { from: AT_A, to: AT_B, home: 'b' };
const SLOW_MS = 250;
const KEYS = ['a', 'b', 'c', 'd', 'e', 'slow'];
/** For what comes at once on a machine that is not loaded. */
const WAIT_MS = 60_000;
const LIMITS = { settleMs: 2, holdMs: 1500, obeyMs: 500, maxLagMs: 1000, calmMs: 100 };

/** What PD answers. */
const PD_HTTP = {
  '/stores': {
    stores: [
      { store: { id: 1, address: 'store', state_name: 'Up' } },
      { store: { id: 2, address: 'gone', state_name: 'Tombstone' } },
    ],
  },
  '/region-label/rules': [TENANT, 'beta'].map((name) => ruleOf({ name, number: 1 })),
  '/members': { members: [{ name: 'pd', client_urls: ['http://pd-1:2379'] }] },
};
const HOSTS = ['store', 'pd-1:2379'];

interface Version {
  readonly start: number;
  readonly commit: number;
  readonly value: number;
}

/** A tenant's entry in the configuration of a VM. */
interface Entry {
  readonly place: Place;
  readonly move: Orders['move'];
  readonly isOpen: boolean;
  readonly handsOver: boolean;
}

/** One key's versions and lock at one place, by key. */
class Store {
  readonly versions = new Map<string, Version[]>();
  readonly locks = new Map<string, { start: number; value: number }>();
  readonly rolledBack = new Set<number>();

  latest(key: string): Version | undefined {
    return this.versions.get(key)?.at(-1);
  }

  put(key: string, version: Version): void {
    const all = this.versions.get(key) ?? [];
    if (!all.some(({ start }) => start === version.start)) all.push(version);
    this.versions.set(
      key,
      all.sort((a, b) => a.commit - b.commit),
    );
  }
}

class World {
  now = 1;
  readonly stores = { home: new Store(), away: new Store() };
  /** What each VM obeys, and what is outstanding there. */
  readonly vms = [0, 1, 2].map((id) => ({
    id,
    storage: id === 0 ? 'b' : 'a',
    orders: { place: HOME } as Orders,
    writes: 0,
    finishes: 0,
    lifted: new Set<number>(),
  }));
  /** Bulk loads in the stores' hands. */
  bulk = 0;
  /** Transactions that had begun to commit, and have not ended. */
  begun = 0;
  /** How often the leases at the target were given their whole time again. */
  keptLeases = 0;
  /** Change feeds that nobody has stopped. */
  openFeeds = 0;
  /** What was kept for the way back. */
  readonly keptSince: bigint[] = [];
  readonly log: { at: Store; key: string; version: Version }[] = [];

  /** @param faults makes the world break on purpose */
  constructor(
    private readonly faults: { deafVm?: boolean; noSettle?: boolean; noDrain?: boolean } = {},
    private readonly tenant = TENANT,
    /** Some VMs are of the one storage layer, and some of the other. */
    private readonly isBetween = false,
  ) {
    if (isBetween) for (const vm of this.vms) vm.orders = { place: AT_A };
    // Of a client that has died.
    this.stores.home.locks.set('dead', { start: 1, value: 1 });
  }

  storeOf(place: Place): Store {
    return [HOME, AT_A].some((home) => isSamePlace(place, home)) ? this.stores.home : this.stores.away;
  }

  /** The tenant's entry in the configuration of a VM. */
  private entryOf({ storage, orders }: World['vms'][number]): Entry {
    const { place, move, state, other } = orders;
    if (!this.isBetween) return { place, move, isOpen: true, handsOver: false };
    if (place.storage === storage) return { place, move, isOpen: state !== 'suspended', handsOver: false };
    return {
      place: { storage },
      move: other?.move,
      isOpen: false,
      handsOver: other?.as === 'movedFrom',
    };
  }

  phaseOf(vm: World['vms'][number]): Phase | undefined {
    const { move } = this.entryOf(vm);
    if (!move) return undefined;
    if (move.until === undefined || Date.now() < move.until) return move.phase;
    if (move.phase !== 'prepare') vm.lifted.add(move.serial);
    return 'prepare';
  }

  readonly mesh: Mesh = {
    hosts: HOSTS,
    tell: async (_, orders) => {
      for (const vm of this.vms) {
        const obey = async (): Promise<void> => {
          await sleep(Math.random() * 8);
          // Without a move, it may be an older one.
          const { move: last } = vm.orders;
          // One that comes late is behind a newer one.
          if (orders.move ? orders.move.serial >= (last?.serial ?? 0) : !last || last.phase === 'over')
            vm.orders = orders;
        };
        if (this.faults.deafVm && vm.id === 2)
          vm.orders = { ...vm.orders, ...(orders.move ? { move: orders.move } : {}) };
        else void obey();
      }
      await sleep(0);
    },
    others: new Map([
      ['a', { hosts: HOSTS, vms: () => this.said('a'), pd: new EtcdModel(PD_HTTP).endpoint }],
    ]),
    vms: () => this.said('b'),
  };

  /** What the VMs of a storage layer say. */
  private async said(storage: string): Promise<Vm[]> {
    await sleep(1);
    return this.vms
      .filter((vm) => !this.isBetween || vm.storage === storage)
      .map((vm) => {
        const { move } = this.entryOf(vm);
        const phase = this.phaseOf(vm);
        const said = move && {
          tenant: this.tenant,
          serial: move.serial,
          phase: move.phase,
          lifted: vm.lifted.has(move.serial) && phase !== undefined,
          writesOutstanding: this.faults.noDrain ? 0 : vm.writes,
          finishesOutstanding: this.faults.noDrain ? 0 : vm.finishes,
          bulkOutstanding: this.bulk,
          outstanding: vm.writes + vm.finishes,
          held: 0,
        };
        return { name: `VM ${vm.id}`, stale: false, moves: said ? [said] : [] };
      });
  }

  /** A timestamp of PD. The filters of two storage layers compare milliseconds. */
  private timestamp(): bigint {
    return this.stamp(++this.now);
  }

  private stamp(at: number): bigint {
    return BigInt(at) << (this.isBetween ? 18n : 0n);
  }

  /** @param dead aborts when its mover dies: then its feeds carry nothing over any more */
  engineOf = (record: MoveRecord): Engine => this.engineUntil(new AbortController().signal, record);

  engineUntil(dead: AbortSignal, { from, to }: MoveRecord): Engine {
    const [source, target] = [this.storeOf(from), this.storeOf(to)];
    return {
      prepare: async () => sleep(1),
      renew: async () => sleep(0),
      keepWayBack: async (fence) => void this.keptSince.push(fence),
      copy: async (_, saved) => {
        const until = ++this.now;
        for (const [key, versions] of source.versions) {
          for (const version of versions) if (version.commit <= until) target.put(key, version);
          await saved(new Map([[0, key]]), { bytes: 1, keys: 1, ofBytes: 1 });
        }
        return 0;
      },
      equalAt: (timestamp) => Number(timestamp >> (this.isBetween ? 18n : 0n)),
      follow: async (checkpoint) => this.follow(source, target, checkpoint as number, dead),
      watch: async (checkpoint, onForeign) => this.watch(target, checkpoint as number, onForeign),
      limit: () => undefined,
      timestamp: async () => this.timestamp(),
      sourceLoss: async () => undefined,
      targetTimestamp: async () => this.timestamp(),
      tidbs: async () => [],
      strangers: async () => [],
      carryNames: async () => undefined,
      takeNamesAlong: async () => undefined,
      highestEpoch: async () => {
        // PD lists all regions for it, which takes seconds where there are very many.
        expect(this.vms.map((vm) => this.phaseOf(vm))).not.toContain('final');
        return { version: 7, confVer: 1 };
      },
      clusterIds: async () => ({ source: '1', target: '2' }),
      raiseRevision: async () => undefined,
      keepLeases: async () => void this.keptLeases++,
      revisionsBehind: () => 0,
      readableSince: () => undefined,
      readableAtTarget: async () => undefined,
      endBegun: async () => {
        return this.begun;
      },
      openLocks: async () => 0,
      settle: async () => {
        await sleep(1);
        if (this.faults.noSettle) return 0;
        for (const [key, { start }] of source.locks) {
          source.locks.delete(key);
          source.rolledBack.add(start);
          target.rolledBack.add(start);
        }
        return 0;
      },
      carryLocks: async () => 0,
      dropCarriedLocks: async () => undefined,
      destroyTarget: async () => {
        target.versions.clear();
        return true;
      },
      release: async () => undefined,
      close: () => undefined,
    };
  }

  private async follow(source: Store, target: Store, from: number, dead: AbortSignal): Promise<Following> {
    this.openFeeds++;
    let resolved = from;
    let at = 0;
    let goesOn = true;
    const carry = (): void => {
      const locked = Math.min(...[...source.locks.values()].map(({ start }) => start), Infinity);
      const upTo = Math.min(++this.now, locked - 1);
      for (; at < this.log.length; at++) {
        const entry = this.log[at]!;
        if (entry.at === source && entry.version.commit > from) target.put(entry.key, entry.version);
      }
      resolved = Math.max(resolved, upTo);
    };
    const loop = (async () => {
      while (goesOn && !dead.aborted) {
        await sleep(3);
        if (!dead.aborted) carry();
      }
    })();
    await sleep(0);
    const stamp = (): bigint => this.stamp(resolved);
    return {
      get resolvedTs() {
        return stamp();
      },
      lagMs: 0,
      get checkpoint() {
        return resolved;
      },
      trouble: undefined,
      failed: new Promise<never>(() => undefined),
      stop: async () => {
        goesOn = false;
        this.openFeeds--;
        await loop;
      },
    };
  }

  /** Tells what clients commit at a place that is not served. */
  private async watch(
    target: Store,
    from: number,
    onForeign: (commits: readonly ForeignCommit[]) => void,
  ): Promise<Feed> {
    let seen = from;
    const timer = setInterval(() => {
      const until = ++this.now;
      const found = this.log.filter(
        ({ at, version: { commit } }) => at === target && commit > seen && commit <= until,
      );
      seen = until;
      const commits = found.map(({ key, version: { start, commit } }) => ({
        key: Buffer.from(key).toString('hex'),
        op: 'put' as const,
        startTs: String(start),
        commitTs: String(commit),
      }));
      if (commits.length > 0) onForeign(commits);
    }, 3);
    const stamp = (): bigint => this.stamp(seen);
    return {
      get resolvedTs() {
        return stamp();
      },
      get checkpoint() {
        return seen;
      },
      trouble: undefined,
      failed: new Promise<never>(() => undefined),
      stop: async () => clearInterval(timer),
    };
  }

  /** One call through a VM. 'held': to be tried again. */
  private async call<T>(
    kind: 'writes' | 'finishes' | 'reads',
    act: (store: Store) => T,
    longestMs = 4,
  ): Promise<{ value: T } | 'held'> {
    let vm = this.vms[Math.floor(Math.random() * this.vms.length)]!;
    let entry = this.entryOf(vm);
    if (entry.handsOver) {
      if (this.phaseOf(vm) === 'final') return 'held';
      const there = this.vms.filter(({ storage }) => storage !== vm.storage);
      vm = there[Math.floor(Math.random() * there.length)]!;
      entry = this.entryOf(vm);
    }
    if (!entry.isOpen) return 'held';
    const phase = this.phaseOf(vm);
    const holds =
      phase === 'final' ||
      (phase === 'drain' && kind === 'writes') ||
      (phase === 'fence' && kind !== 'reads');
    if (holds) return 'held';
    const store = this.storeOf(entry.place);
    if (kind !== 'reads') vm[kind]++;
    await sleep(longestMs === 4 ? Math.random() * longestMs : longestMs);
    const value = act(store);
    if (kind !== 'reads') vm[kind]--;
    return { value };
  }

  private async insist<T>(
    kind: 'writes' | 'finishes' | 'reads',
    act: (store: Store) => T,
    longestMs?: number,
  ): Promise<T> {
    for (;;) {
      const answer = await this.call(kind, act, longestMs);
      if (answer !== 'held') return answer.value;
      await sleep(2);
    }
  }

  /** The same in one phase, by writes that are long on their way. */
  async countSlowly(key: string, until: () => boolean): Promise<number> {
    let committed = 0;
    while (!until()) {
      const start = ++this.now;
      const write = (store: Store): boolean => {
        if ((store.latest(key)?.value ?? 0) !== committed) return false;
        const version = { start, commit: ++this.now, value: committed + 1 };
        store.put(key, version);
        this.log.push({ at: store, key, version });
        return true;
      };
      if (!(await this.insist('writes', write, SLOW_MS))) return -1;
      committed++;
    }
    return committed;
  }

  /** Adds one to a counter, in two phases, as often as it commits. Returns how often. */
  async count(key: string, until: () => boolean): Promise<number> {
    let committed = 0;
    while (!until()) {
      const start = ++this.now;
      const before = await this.insist('reads', (store) => store.latest(key));
      const value = (before?.value ?? 0) + 1;
      const prewritten = await this.insist('writes', (store) => {
        const newer = (store.latest(key)?.commit ?? 0) > start;
        const seenOther = store.latest(key)?.start !== before?.start;
        if (newer || seenOther || store.locks.has(key) || store.rolledBack.has(start)) return false;
        store.locks.set(key, { start, value });
        return true;
      });
      if (!prewritten) continue;
      const done = await this.insist('finishes', (store) => {
        if (store.versions.get(key)?.some((version) => version.start === start)) return true;
        if (store.locks.get(key)?.start !== start) return false;
        store.locks.delete(key);
        const version = { start, commit: ++this.now, value };
        store.put(key, version);
        this.log.push({ at: store, key, version });
        return true;
      });
      if (done) committed++;
    }
    return committed;
  }
}

/** Never comes: what the dead asked for, and what they did next. */
const NEVER = new Promise<never>(() => undefined);
/** Of an engine, these only compute. */
const COMPUTES = ['revisionsBehind', 'equalAt', 'limit', 'readableSince', 'close'];

/** A mover that can die as by kill -9: from then on it reaches nobody. */
class MortalMover {
  private readonly life = new AbortController();
  private acts = 0;

  /**
   * @param isLast hears what the mover reaches, and of each act on the world before and after it; true ends the mover there
   */
  constructor(
    etcd: EtcdModel,
    world: World,
    id: string,
    private readonly isLast: (event: string) => boolean = () => false,
  ) {
    const { grpc } = etcd.endpoint as unknown as { grpc: (...all: unknown[]) => Promise<unknown> };
    const isWrite = (path: string): boolean => path.endsWith('/Txn');
    const pd = {
      ...etcd.endpoint,
      grpc: (method: { path: string }, ...rest: unknown[]) =>
        this.act(() => grpc(method, ...rest), isWrite(method.path)),
    } as unknown as Endpoint;
    const { hosts, tell, vms, others } = world.mesh;
    const mortal = [...others!].map(
      ([name, other]) => [name, { ...other, vms: () => this.act(other.vms, false) }] as const,
    );
    const tools: Tools = {
      pd,
      mesh: {
        hosts,
        tell: (...all) => this.act(() => tell(...all), true),
        vms: () => this.act(vms, false),
        others: new Map(mortal),
      },
      id,
      limits: LIMITS,
      // A dead one is known to be dead.
      isGone: () => true,
      engineOf: (record) => this.mortal(world.engineUntil(this.life.signal, record)),
      tell: () => undefined,
      reached: (step) => this.reach(step),
    };
    void work(tools, this.life.signal).catch(() => undefined);
  }

  get isDead(): boolean {
    return this.life.signal.aborted;
  }

  die(): void {
    this.life.abort();
  }

  private mortal(engine: Engine): Engine {
    const acts = Object.entries(engine as unknown as Record<string, (...all: unknown[]) => Promise<unknown>>);
    const mortal = acts.map(([name, act]) => [
      name,
      COMPUTES.includes(name) ? act : (...all: unknown[]) => this.act(() => act(...all), true),
    ]);
    return Object.fromEntries(mortal) as Engine;
  }

  private async reach(event: string): Promise<void> {
    if (this.isDead) return NEVER;
    if (!this.isLast(event)) return;
    this.die();
    await NEVER;
  }

  private async act<T>(act: () => Promise<T>, isCounted: boolean): Promise<T> {
    if (this.isDead) return NEVER;
    const number = isCounted ? ++this.acts : 0;
    if (isCounted) await this.reach(`before act ${number}`);
    const done = await act();
    if (isCounted) await this.reach(`behind act ${number}`);
    return this.isDead ? NEVER : done;
  }
}

/** Runs movers one after the other: each dies after a random time. */
async function mortalMovers(
  etcd: EtcdModel,
  world: World,
  isOver: () => boolean,
  lifeMs: (life: number) => number,
): Promise<void> {
  for (let i = 0; !isOver(); i++) {
    const mover = new MortalMover(etcd, world, `worker ${i}`);
    const end = Date.now() + lifeMs(i);
    while (Date.now() < end && !isOver()) await sleep(5);
    mover.die();
  }
}

async function wish(etcd: EtcdModel, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    await sleep(20);
    await update(etcd.endpoint, TENANT, (record) =>
      record.state === 'following' && record.wish === undefined ? { ...record, wish: 'switch' } : record,
    ).catch(() => undefined);
  }
}

async function newMove(etcd: EtcdModel, tenant = TENANT, fields: Partial<MoveRecord> = {}): Promise<void> {
  const record: MoveRecord = {
    tenant,
    number: 1,
    serial: 0,
    state: 'planned',
    from: HOME,
    to: AWAY,
    switches: 0,
    history: [],
    isPaused: false,
    throttle: {},
    createdAt: Date.now(),
    ...fields,
  };
  await save(etcd.endpoint, { record, revision: 0n });
}

interface Ended {
  readonly record: MoveRecord;
  /** Commits that clients were told of, by key, and what the serving store holds. */
  readonly told: readonly number[];
  readonly stored: readonly number[];
}

async function movesUnderLoad(
  world: World,
  {
    switches,
    lifeMs,
    timeoutMs = 60_000,
  }: { switches: number; lifeMs: (life: number) => number; timeoutMs?: number },
): Promise<Ended> {
  const etcd = new EtcdModel(PD_HTTP);
  await newMove(etcd);
  let over = false;
  const isOver = (): boolean => over;
  const clients = KEYS.map((key) =>
    key === 'slow' ? world.countSlowly(key, isOver) : world.count(key, isOver),
  );
  const helpers = [mortalMovers(etcd, world, isOver, lifeMs), wish(etcd, isOver)];
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    await sleep(20);
    const { record } = await moveOf(etcd.endpoint, TENANT);
    const isDone = record.switches >= switches && record.state === 'following';
    if (isDone || record.alarm?.isStopped || Date.now() > deadline) break;
  }
  over = true;
  await Promise.all(helpers);
  // A switch that was under way when the last mover died ends by itself or by the next one; clients must not wait for it.
  for (const vm of world.vms) vm.orders = { place: vm.orders.place };
  const told = await Promise.all(clients);
  const { record } = await moveOf(etcd.endpoint, TENANT);
  const served = world.storeOf(record.from);
  return { record, told, stored: KEYS.map((key) => served.latest(key)?.value ?? 0) };
}

/** How a move goes on: so many switches, and its end. */
interface Script {
  readonly switches: number;
  readonly last: 'cancel' | 'complete';
  /** From one storage layer to another one. */
  readonly isBetween?: boolean;
}

interface Life {
  readonly told: readonly number[];
  /** What the place holds where the tenant is served at the end. */
  readonly stored: readonly number[];
  /** Keys at the other one. */
  readonly left: number;
  readonly deaths: number;
}

/** A whole move under load, whose first mover ends where `isLast` says; another one goes on. */
async function wholeMove(
  { switches, last, isBetween = false }: Script,
  isLast: (event: string) => boolean,
): Promise<Life> {
  const [etcd, world] = [new EtcdModel(PD_HTTP), new World({}, TENANT, isBetween)];
  await newMove(etcd, TENANT, isBetween ? BETWEEN : {});
  let over = false;
  const clients = KEYS.filter((key) => key !== 'slow').map((key) => world.count(key, () => over));
  let mover = new MortalMover(etcd, world, 'first', isLast);
  let deaths = 0;
  for (;;) {
    const found = await findMove(etcd.endpoint, TENANT);
    if (!found) break;
    const verb: Verb =
      found.record.switches >= switches ? last : isAtHome(found.record) ? 'switch' : 'reverse';
    if (found.record.state === 'following' && found.record.wish === undefined)
      await ask(etcd.endpoint, TENANT, verb).catch(() => undefined);
    if (mover.isDead) {
      deaths++;
      mover = new MortalMover(etcd, world, 'second');
    }
    await sleep(5);
  }
  mover.die();
  // What is on its way gets through.
  await sleep(20);
  over = true;
  const told = await Promise.all(clients);
  const { home, away } = world.stores;
  const [served, other] = last === 'cancel' ? [home, away] : [away, home];
  const stored = KEYS.filter((key) => key !== 'slow').map((key) => served.latest(key)?.value ?? 0);
  return { told, stored, left: other.versions.size, deaths };
}

/** Of a worker that says nothing. */
function tools(etcd: EtcdModel, world: World, more: Partial<Tools> = {}): Tools {
  return {
    pd: etcd.endpoint,
    mesh: world.mesh,
    id: 'w',
    limits: LIMITS,
    engineOf: (record) => world.engineOf(record),
    tell: () => undefined,
    ...more,
  };
}

describe('between two storage layers', () => {
  async function state(etcd: EtcdModel, isSo: (record: MoveRecord) => boolean): Promise<MoveRecord> {
    const deadline = Date.now() + WAIT_MS;
    for (;;) {
      const { record } = await moveOf(etcd.endpoint, TENANT);
      if (isSo(record)) return record;
      if (Date.now() > deadline) throw new Error(JSON.stringify(record));
      await sleep(5);
    }
  }

  test.each(['following', 'committing'] as const)(
    'one that has left a storage which is gone for good can end, %s',
    async (when) => {
      const [etcd, world, life] = [
        new EtcdModel(PD_HTTP),
        new World({}, TENANT, true),
        new AbortController(),
      ];
      await newMove(etcd, TENANT, BETWEEN);
      let isGone = false;
      const gone = async (): Promise<never> => Promise.reject(new Error('no answer'));
      const a = world.mesh.others!.get('a')!;
      const mesh: Mesh = {
        ...world.mesh,
        others: new Map([['a', { ...a, vms: () => (isGone ? gone() : a.vms()) }]]),
      };
      let destroyed = 0;
      const working = work(
        tools(etcd, world, {
          mesh,
          engineOf: (record) => ({
            ...world.engineOf(record),
            destroyTarget: async () => {
              destroyed++;
              return true;
            },
            ...(isGone ? { dropCarriedLocks: gone, follow: gone } : {}),
          }),
          reached: (step) => {
            if (step === 'opened' && when === 'committing') isGone = true;
          },
        }),
        life.signal,
      );
      await state(etcd, ({ state: now }) => now === 'following');
      await expect(ask(etcd.endpoint, TENANT, 'complete', { otherIsGone: true })).rejects.toThrow(
        'is not served by a storage layer that it was moved to',
      );
      await ask(etcd.endpoint, TENANT, 'switch');
      if (when === 'following') {
        await state(etcd, ({ switches }) => switches === 1);
        isGone = true;
      } else {
        await state(etcd, ({ state: now, problem }) => now === 'committing' && problem !== undefined);
        // At each try: it may last for longer than they do.
        const before = world.keptLeases;
        await state(etcd, () => world.keptLeases > before + 1);
      }
      await ask(etcd.endpoint, TENANT, 'complete', { otherIsGone: true });
      await fulfilled(etcd.endpoint, TENANT, { verb: 'complete', timeoutMs: WAIT_MS, tell: () => undefined });
      life.abort();
      await working;
      expect(destroyed).toBe(0);
      const [home] = world.vms;
      expect(home!.orders).toMatchObject({ place: { storage: 'b' }, other: { as: 'movedFrom' } });
    },
  );

  test('a target whose clock is seconds behind is declined before anything is held', async () => {
    const [etcd, world, life] = [new EtcdModel(PD_HTTP), new World({}, TENANT, true), new AbortController()];
    await newMove(etcd, TENANT, BETWEEN);
    const steps: string[] = [];
    let isBehind = true;
    const working = work(
      tools(etcd, world, {
        engineOf: (record) => {
          const engine = world.engineOf(record);
          const behind = async (): Promise<bigint> => (await engine.timestamp()) + (3000n << 18n);
          return { ...engine, ...(isBehind ? { timestamp: behind } : {}) };
        },
        reached: (step) => void steps.push(step),
      }),
      life.signal,
    );
    await state(etcd, ({ state: now }) => now === 'following');
    await ask(etcd.endpoint, TENANT, 'switch');
    const { problem } = await state(etcd, (record) => record.problem !== undefined);
    expect(problem).toBe(
      'the clock of PD at number 1 in storage b is 3.0 s behind: set the clocks of both PDs right (NTP), and switch again',
    );
    expect(steps).not.toContain('calm');
    isBehind = false;
    life.abort();
    await working;
  });
});

/** So many whole moves beside each other. */
const BESIDE = 8;

async function besides<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  const todo = [...items];
  const one = async (): Promise<void> => {
    for (let item = todo.shift(); item !== undefined; item = todo.shift()) await act(item);
  };
  await Promise.all(Array.from({ length: BESIDE }, one));
}

describe('a mover that is killed', () => {
  const isLong = process.env['TIDB_MESH_LONG'] === '1';
  /** The n-th time that something comes, for each. */
  const numbered = (): ((event: string) => string) => {
    const counts = new Map<string, number>();
    return (event) => {
      counts.set(event, (counts.get(event) ?? 0) + 1);
      return `${event} ${counts.get(event)}`;
    };
  };

  test.each<[Script]>([
    [{ switches: 2, last: 'cancel' }],
    [{ switches: 1, last: 'complete' }],
    [{ switches: 2, last: 'cancel', isBetween: true }],
    [{ switches: 1, last: 'complete', isBetween: true }],
  ])('between two steps, whichever, has lost nothing and leaves nothing: %o', async (script) => {
    const all: string[] = [];
    const number = numbered();
    // Every act is many; every step is what a reader of the code sees.
    const isMeant = (event: string): boolean => isLong || !/^(before|behind) act /.test(event);
    await wholeMove(script, (event) => {
      if (isMeant(event)) all.push(number(event));
      return false;
    });
    expect(all.length).toBeGreaterThan(20);
    let deaths = 0;
    await besides(all, async (wanted) => {
      const count = numbered();
      const life = await wholeMove(script, (event) => isMeant(event) && count(event) === wanted);
      deaths += life.deaths;
      expect({ wanted, ...life }).toMatchObject({ wanted, stored: life.told, left: 0 });
    });
    // A beat more or less moves the last acts.
    expect(deaths).toBeGreaterThan(all.length * 0.8);
  });
});

describe('a switch that is given up', () => {
  test.each(UNDECIDED)('%s: the tenant stays, and nothing is left of the copy', async (step) => {
    const [etcd, world] = [new EtcdModel(PD_HTTP), new World()];
    await newMove(etcd);
    let over = false;
    const clients = KEYS.map((key) => world.count(key, () => over));
    const life = new AbortController();
    let asked = 0;
    const { mesh, engineOf } = world;
    const working = work(
      {
        pd: etcd.endpoint,
        mesh,
        id: 'w',
        limits: LIMITS,
        engineOf: (record) => engineOf(record),
        tell: () => undefined,
        reached: async (now) => {
          if (now !== step || asked++ > 0) return;
          await ask(etcd.endpoint, TENANT, 'cancel');
          // Nor does who asks for a switch now change that.
          await expect(ask(etcd.endpoint, TENANT, 'switch')).rejects.toThrow(
            'alpha is asked to cancel already',
          );
        },
      },
      life.signal,
    );
    for (;;) {
      const found = await findMove(etcd.endpoint, TENANT);
      if (!found) break;
      const { state, wish, switches } = found.record;
      expect(switches).toBe(0);
      if (state === 'following' && wish === undefined && asked === 0)
        await ask(etcd.endpoint, TENANT, 'switch').catch(() => undefined);
      await sleep(5);
    }
    life.abort();
    await working;
    await sleep(20);
    over = true;
    expect(await Promise.all(clients)).toEqual(KEYS.map((key) => world.stores.home.latest(key)?.value ?? 0));
    expect([asked, world.stores.away.versions.size]).toEqual([1, 0]);
  });

  test('is not decided by a worker that another one has overtaken, whatever its name', async () => {
    const [etcd, world, life] = [new EtcdModel(PD_HTTP), new World(), new AbortController()];
    await newMove(etcd);
    let isOvertaken = false;
    const working = work(
      tools(etcd, world, {
        reached: async (step) => {
          if (step !== 'before committing') return;
          // The other one has gone back, the source serves again, and an operator has asked once more.
          await update(etcd.endpoint, TENANT, (record) => ({
            ...record,
            state: 'following',
            wish: 'switch',
          }));
          isOvertaken = true;
          life.abort();
        },
      }),
      life.signal,
    );
    while (!isOvertaken) {
      await ask(etcd.endpoint, TENANT, 'switch').catch(() => undefined);
      await sleep(5);
    }
    await working;
    const { record } = await moveOf(etcd.endpoint, TENANT);
    expect(record.state).toBe('following');
    expect(record).not.toHaveProperty('committed');
  });

  test('cannot be given up once the new place is written down', async () => {
    const [etcd, world, life] = [new EtcdModel(PD_HTTP), new World(), new AbortController()];
    await newMove(etcd);
    let why: unknown;
    const working = work(
      tools(etcd, world, {
        reached: async (step) => {
          if (step === 'after committing') why = await ask(etcd.endpoint, TENANT, 'cancel').catch(String);
        },
      }),
      life.signal,
    );
    for (let switches = 0; switches === 0; await sleep(5)) {
      ({ switches } = (await moveOf(etcd.endpoint, TENANT)).record);
      await ask(etcd.endpoint, TENANT, 'switch').catch(() => undefined);
    }
    life.abort();
    await working;
    expect(why).toContain('alpha is just being switched');
  });
});

describe('beside a move that fails', () => {
  // Nobody asks here for the TiDBs of a cluster outside, nor for what only two PDs have, nor what another storage layer has lost.
  const UNASKED = ['tidbs', 'clusterIds', 'readableAtTarget', 'sourceLoss'];
  const NAMES = Object.keys(new World().engineOf({ from: HOME, to: AWAY } as MoveRecord)).filter(
    (name) => !COMPUTES.includes(name) && !UNASKED.includes(name),
  );

  test('at any step, another move of the same worker goes on, and no feed is left open', async () => {
    const failed = new Set<string>();
    await besides([...NAMES, 'engineOf', 'tell'], async (name) => {
      const etcd = new EtcdModel(PD_HTTP);
      const worlds: Record<string, World> = { [TENANT]: new World(), beta: new World({}, 'beta') };
      for (const tenant of Object.keys(worlds)) await newMove(etcd, tenant);
      const [good, bad] = [worlds[TENANT]!, worlds['beta']!];
      const fail = async (): Promise<never> => {
        failed.add(name);
        throw new Error(`${name} fails`);
      };
      const mesh: Mesh = {
        hosts: HOSTS,
        tell: (tenant, orders) =>
          tenant === 'beta' && name === 'tell' ? fail() : worlds[tenant]!.mesh.tell(tenant, orders),
        vms: async () => {
          const [one, other] = await Promise.all([good.mesh.vms(), bad.mesh.vms()]);
          return one.map((vm, i) => ({ ...vm, moves: [...vm.moves, ...(other[i]?.moves ?? [])] }));
        },
      };
      const engineOf = (record: MoveRecord): Engine => {
        if (record.tenant === TENANT) return good.engineOf(record);
        if (name === 'engineOf') {
          failed.add(name);
          throw new Error(`${name} fails`);
        }
        return { ...bad.engineOf(record), ...(name === 'tell' ? {} : { [name]: fail }) };
      };
      const life = new AbortController();
      const tools = { pd: etcd.endpoint, mesh, id: 'w', limits: LIMITS, engineOf, tell: () => undefined };
      const working = work(tools, life.signal);
      let over = false;
      const clients = KEYS.map((key) => good.count(key, () => over));
      const wanted = 2;
      for (let done = 0; done < wanted || !failed.has(name); await sleep(20)) {
        for (const { record } of await allMoves(etcd.endpoint)) {
          if (record.tenant === TENANT) done = record.switches;
          const isBad = record.tenant === 'beta';
          const verb = record.switches >= 1 && isBad ? 'complete' : isAtHome(record) ? 'switch' : 'reverse';
          if (record.switches < wanted) await ask(etcd.endpoint, record.tenant, verb).catch(() => undefined);
        }
      }
      over = true;
      for (const vm of good.vms) vm.orders = { place: vm.orders.place };
      const told = await Promise.all(clients);
      const { record } = await moveOf(etcd.endpoint, TENANT);
      const stored = KEYS.map((key) => good.storeOf(record.from).latest(key)?.value ?? 0);
      expect([name, stored]).toEqual([name, told]);
      life.abort();
      await working;
      expect([name, good.openFeeds, bad.openFeeds]).toEqual([name, 0, 0]);
    });
    expect([...failed].sort()).toEqual([...NAMES, 'engineOf', 'tell'].sort());
  });
});

describe('history that has been collected', () => {
  const gone = async (): Promise<never> => {
    throw new HistoryGone(1n, 2n);
  };

  test.each(['keepWayBack', 'renew'] as const)(
    '(%s) ends the way back, and neither the switch nor the move',
    async (name) => {
      const [etcd, world, life] = [new EtcdModel(PD_HTTP), new World(), new AbortController()];
      await newMove(etcd);
      const { mesh } = world;
      let isGone = name === 'keepWayBack';
      const engineOf = (record: MoveRecord): Engine => {
        const engine = world.engineOf(record);
        return { ...engine, [name]: () => (isGone ? gone() : engine[name](0n)) };
      };
      const tools = { pd: etcd.endpoint, mesh, id: 'w', limits: LIMITS, engineOf, tell: () => undefined };
      const working = work(tools, life.signal);
      for (let switches = 0; switches === 0; await sleep(5)) {
        ({ switches } = (await moveOf(etcd.endpoint, TENANT)).record);
        await ask(etcd.endpoint, TENANT, 'switch').catch(() => undefined);
      }
      isGone = true;
      for (;;) {
        const { record } = await moveOf(etcd.endpoint, TENANT);
        expect(isSamePlace(record.from, AWAY)).toBe(true);
        if (record.wayBackLost !== undefined) break;
        await sleep(5);
      }
      isGone = false;
      await expect(ask(etcd.endpoint, TENANT, 'reverse')).rejects.toThrow('the other side is an old copy');
      // Asked for before that was known.
      await update(etcd.endpoint, TENANT, (record) => ({ ...record, wish: 'switch' }));
      while ((await moveOf(etcd.endpoint, TENANT)).record.wish !== undefined) await sleep(5);
      expect((await moveOf(etcd.endpoint, TENANT)).record.switches).toBe(1);
      await ask(etcd.endpoint, TENANT, 'complete');
      while (await findMove(etcd.endpoint, TENANT)) await sleep(5);
      expect(world.stores.home.versions.size).toBe(0);
      life.abort();
      await working;
    },
  );
});

test('a move that is paused keeps the history that it goes on from', async () => {
  const [etcd, world, life] = [new EtcdModel(PD_HTTP), new World(), new AbortController()];
  await newMove(etcd);
  let renewed = 0;
  const engineOf = (record: MoveRecord): Engine => ({
    ...world.engineOf(record),
    renew: async () => {
      // While the feeds live, the time is theirs.
      if (world.openFeeds === 0 && record.isPaused) renewed++;
    },
  });
  const tools = {
    pd: etcd.endpoint,
    mesh: world.mesh,
    id: 'w',
    limits: LIMITS,
    engineOf,
    tell: () => undefined,
  };
  const working = work(tools, life.signal);
  while ((await moveOf(etcd.endpoint, TENANT)).record.state !== 'following') await sleep(5);
  await ask(etcd.endpoint, TENANT, 'pause');
  const deadline = Date.now() + 20_000;
  while (renewed < 2 && Date.now() < deadline) await sleep(5);
  life.abort();
  await working;
  expect(renewed).toBeGreaterThanOrEqual(2);
});

describe('the name of a worker', () => {
  test('is no other one’s, also of the same process and host', () => {
    expect(newWorkerId('here')).not.toBe(newWorkerId('here'));
  });

  test('tells that its process is gone, where process ids are the same ones', () => {
    const dead = newWorkerId('here').replace(`:${process.pid} `, ':999999999 ');
    expect(isGone(newWorkerId('here'), 'here')).toBe(false);
    expect(isGone(dead, 'here')).toBe(true);
    // Another container, and a worker of an earlier version.
    expect(isGone(dead, 'there')).toBe(false);
    expect(isGone(`${dead.split(' ', 1)[0]}`, 'here')).toBe(false);
    expect(isGone(dead, undefined)).toBe(false);
  });
});

describe('the steps of a move', () => {
  test('no commit is lost or invented in eight switches', async () => {
    const { record, told, stored } = await movesUnderLoad(new World(), { switches: 8, lifeMs: () => 1e6 });
    expect(record.switches).toBeGreaterThanOrEqual(8);
    expect(stored).toEqual(told);
    expect(Math.min(...told)).toBeGreaterThan(0);
    expect(record).not.toHaveProperty('alarm');
  });

  test('nor when movers die at any moment', async () => {
    const { record, told, stored } = await movesUnderLoad(new World(), {
      switches: 3,
      // Each lives a little longer than the one before, so that a busy machine gets there, too.
      lifeMs: (life) => (20 + Math.random() * 900) * 1.15 ** life,
    });
    expect(record.switches).toBeGreaterThanOrEqual(3);
    expect(stored).toEqual(told);
    expect(record).not.toHaveProperty('alarm');
  });

  test('versions of regions grow with every switch', async () => {
    const { record } = await movesUnderLoad(new World(), { switches: 2, lifeMs: () => 1e6 });
    expect(record.from.epochOffset).toBeGreaterThan(record.to.epochOffset ?? 0);
  });
});

test.each([
  ['a store', ['pd-1:2379'], 'store'],
  ['a member of PD', ['store'], 'pd-1:2379'],
])('%s at which no filter is asked: nothing is switched', async (_, hosts, missing) => {
  const [etcd, world, life] = [new EtcdModel(PD_HTTP), new World(), new AbortController()];
  await newMove(etcd);
  const { engineOf } = world;
  const mesh = { ...world.mesh, hosts };
  const working = work(
    { pd: etcd.endpoint, mesh, id: 'w', limits: LIMITS, engineOf, tell: () => undefined },
    life.signal,
  );
  let problem: string | undefined;
  while (problem === undefined) {
    await ask(etcd.endpoint, TENANT, 'switch').catch(() => undefined);
    await sleep(20);
    ({ problem } = (await moveOf(etcd.endpoint, TENANT)).record);
  }
  life.abort();
  await working;
  expect(problem).toContain(`no filter is asked at ${missing}: give every store and member of PD`);
  expect((await moveOf(etcd.endpoint, TENANT)).record.switches).toBe(0);
});

describe('a switch is not decided', () => {
  test.each([
    ['when a VM has gone back to an earlier phase', 'phase fence of serial'],
    ['when an Envoy has come that is not asked', 'several Envoys answer at pd-1:2379'],
  ])('%s', async (what, why) => {
    const [etcd, world, life] = [new EtcdModel(PD_HTTP), new World(), new AbortController()];
    await newMove(etcd);
    let isLate = false;
    const hidden = async (): Promise<string[]> => (isLate && why.startsWith('several') ? ['pd-1:2379'] : []);
    const tools: Tools = {
      pd: etcd.endpoint,
      mesh: { ...world.mesh, hidden },
      id: 'w',
      limits: LIMITS,
      engineOf: (record) => world.engineOf(record),
      tell: () => undefined,
      reached: async (step) => {
        if (step !== 'locks carried') return;
        isLate = true;
        if (!what.includes('earlier phase')) return;
        const [vm] = world.vms;
        const { move, place } = vm!.orders;
        vm!.orders = { place, move: { serial: move!.serial, phase: 'fence', until: Date.now() + 60_000 } };
      },
    };
    const working = work(tools, life.signal);
    let problem: string | undefined;
    for (; !isLate || problem === undefined; await sleep(5)) {
      if (!isLate) await ask(etcd.endpoint, TENANT, 'switch').catch(() => undefined);
      const { record } = await moveOf(etcd.endpoint, TENANT);
      if (isLate && record.state === 'following') ({ problem } = record);
      expect(record.switches).toBe(0);
    }
    life.abort();
    await working;
    expect(problem).toContain(why.replace('phase fence', 'phase final'));
  });
});

describe('a move that is given up while what serves its tenant does not answer', () => {
  const KEEP =
    'nothing is destroyed until it answers and has its keys; if it is gone for good: tidb-mesh move cancel alpha --without-storage, which keeps the copy';
  const SERVED_THERE: Partial<MoveRecord> = {
    from: { cluster: 'shop' },
    to: HOME,
    state: 'following',
    progress: { follow: 1, watch: 1 },
  };

  interface GivenUp {
    readonly pd: Endpoint;
    readonly destroyed: () => boolean;
    readonly comeBack: () => void;
    readonly said: readonly string[];
    readonly told: readonly Orders[];
  }

  /** Works on it, and lets the test see what has become of the copy. */
  async function givenUp(
    act: (all: GivenUp) => Promise<void>,
    more: Partial<MoveRecord> = {},
    /** What it is like while it is gone; without it, nothing answers. */
    lost?: Partial<Engine>,
  ): Promise<void> {
    const isBetween = more.home !== undefined;
    const [etcd, world] = [new EtcdModel(PD_HTTP), new World({}, TENANT, isBetween)];
    const life = new AbortController();
    await newMove(etcd, TENANT, { ...SERVED_THERE, ...more });
    let [isGone, isDestroyed] = [true, false];
    const said: string[] = [];
    const told: Orders[] = [];
    const gone = async (): Promise<never> => {
      throw new Error('no answer from pd.shop:2379');
    };
    const { others = new Map() } = world.mesh;
    const a = others.get('a')!;
    const away = { ...a, vms: () => (isGone && !lost ? gone() : a.vms()) };
    const nobody = { ...away, pd: { grpc: gone, http: gone } as unknown as Endpoint };
    const mesh: Mesh = {
      ...world.mesh,
      get others() {
        return new Map([['a', isGone && !lost ? nobody : away]]);
      },
      tell: (tenant, orders) => {
        told.push(orders);
        return world.mesh.tell(tenant, orders);
      },
    };
    const engineOf = (record: MoveRecord): Engine => {
      const engine: Engine = {
        ...world.engineOf(record),
        destroyTarget: async () => (isDestroyed = true),
      };
      if (!isGone) return engine;
      if (lost) return { ...engine, ...lost };
      return {
        ...engine,
        timestamp: gone,
        renew: gone,
        copy: gone,
        release: async () => 'no answer from pd.shop:2379',
      };
    };
    const working = work(
      {
        pd: etcd.endpoint,
        mesh,
        id: 'w',
        limits: LIMITS,
        engineOf,
        tell: (text) => said.push(text),
      },
      life.signal,
    );
    try {
      await act({
        pd: etcd.endpoint,
        destroyed: () => isDestroyed,
        comeBack: () => void (isGone = false),
        said,
        told,
      });
    } finally {
      life.abort();
      await working;
    }
  }

  const ended = async (pd: Endpoint): Promise<void> => {
    while ((await findMove(pd, TENANT)) !== undefined) await sleep(5);
  };

  /** Waits for this problem, and then for the end, when what serves the tenant is back. */
  async function isKept({ pd, destroyed, comeBack }: GivenUp, expected: string): Promise<void> {
    let problem = '';
    while (!problem.includes('nothing is destroyed')) {
      ({ problem = '' } = (await moveOf(pd, TENANT)).record);
      await sleep(5);
    }
    expect(problem).toBe(expected);
    expect(destroyed()).toBe(false);
    comeBack();
    await ended(pd);
    expect(destroyed()).toBe(true);
  }

  const cancelled = (pd: Endpoint): Promise<unknown> =>
    fulfilled(pd, TENANT, { verb: 'cancel', timeoutMs: WAIT_MS, tell: () => undefined });

  test('keeps the copy, which may be the last one, and ends when the cluster is back', async () => {
    await givenUp(async (all) => {
      const { pd } = all;
      await ask(pd, TENANT, 'cancel');
      const refused = cancelled(pd);
      await expect(refused).rejects.toThrow(/^alpha is not cancelled yet: .*no answer from pd.shop:2379/);
      await isKept(
        all,
        'cluster shop cannot be asked, and the copy here may be the last one: no answer from pd.shop:2379; nothing is destroyed until it answers as when the import began; if it is gone for good: tidb-mesh move cancel alpha --without-cluster',
      );
    });
  });

  test('keeps the copy of another storage layer, too', async () => {
    await givenUp(async (all) => {
      await ask(all.pd, TENANT, 'cancel');
      await isKept(
        all,
        `storage a cannot be asked, and the copy in storage b may be the last one: no answer from pd.shop:2379; ${KEEP}`,
      );
    }, BETWEEN);
  });

  test('keeps it where PD answers and its stores are lost or empty, also once the end has begun', async () => {
    const loss = 'it has no key of table keys';
    for (const state of ['following', 'cancelling'] as const)
      await givenUp(
        async (all) => {
          if (state === 'following') await ask(all.pd, TENANT, 'cancel');
          await isKept(
            all,
            `storage a may have lost its keys, and the copy in storage b may be the last one: ${loss}; ${KEEP}`,
          );
        },
        { ...BETWEEN, state },
        { sourceLoss: async () => loss },
      );
  });

  test('is not waited for when it cannot end', async () => {
    await givenUp(async ({ pd, comeBack }) => {
      await ask(pd, TENANT, 'cancel');
      await expect(cancelled(pd)).rejects.toThrow(/^alpha is not cancelled yet: storage a cannot be asked/);
      comeBack();
      await ended(pd);
    }, BETWEEN);
  });

  describe('without the storage layer that serves the tenant', () => {
    const switched = { progress: { follow: 1, watch: 1, resolvedTs: '9' } };
    const decided = { served: AT_A, fence: '8', writesHeldSince: 1, allHeldSince: 1 };

    test.each<[string, Partial<MoveRecord>, string]>([
      ['before the copy', { state: 'planned', progress: undefined }, 'nothing is copied'],
      [
        'while it is copied',
        { state: 'copying', progress: { copied: { bytes: 1, keys: 2, ofBytes: 4 } } },
        'has a part of the keys, read at different times: 0.0 MiB, 2 keys (25 %)',
      ],
      ['while it follows', switched, 'has all that was committed up to 9, 1970-01-01T00:00:00.000Z'],
      [
        'in a switch',
        { ...switched, state: 'switching' },
        'has all that was committed up to 9, 1970-01-01T00:00:00.000Z',
      ],
      [
        'behind a switch back that is decided',
        { ...switched, ...{ from: AT_B, to: AT_A, state: 'committing', switches: 1, committed: decided } },
        'has all that was committed up to 8, 1970-01-01T00:00:00.000Z',
      ],
      [
        'while the copy is being destroyed',
        { ...switched, state: 'cancelling' },
        'It was given up before, so it may be destroyed, wholly or in part',
      ],
    ])('it ends %s: the copy is kept, and the tenant is suspended', async (_, more, text) => {
      await givenUp(
        async ({ pd, destroyed, said, told }) => {
          // Of an earlier move, in which that one had it.
          await keepLast(pd, TENANT, { serial: 1, storage: 'a' });
          const { state } = (await moveOf(pd, TENANT)).record;
          await ask(pd, TENANT, 'cancel', { withoutStorage: true });
          await cancelled(pd);
          expect(destroyed()).toBe(false);
          expect(said.join()).toContain('the copy is kept: ');
          expect(said.join()).toContain(text);
          const sure = { 'all that was committed': ['following', 'switching', 'committing'].includes(state) };
          for (const [what, isSaid] of Object.entries(sure))
            if (isSaid) expect(said.join()).not.toContain('may be destroyed');
            else if (state !== 'cancelling') expect(said.join()).not.toContain(what);
          const { place, move } = told.at(-1)!;
          expect([place.storage, move]).toEqual(['a', undefined]);
          // The last order leaves what is in the file.
          expect(told.filter(({ move: one }) => one?.phase === 'over').map(({ state: its }) => its)).toEqual([
            'suspended',
          ]);
          // An operator may serve the copy.
          expect((await lastMoves(pd)).get(TENANT)).toEqual({ serial: expect.any(Number) });
        },
        { ...BETWEEN, ...more },
      );
    });

    test('is no word where the one with the record serves it, or for an import', async () => {
      const etcd = new EtcdModel(PD_HTTP);
      await newMove(etcd, TENANT, { ...BETWEEN, from: AT_B, to: AT_A, switches: 1, state: 'following' });
      const asked = (): Promise<unknown> => ask(etcd.endpoint, TENANT, 'cancel', { withoutStorage: true });
      await expect(asked()).rejects.toThrow(
        'alpha is served at number 1 in storage b, whose PD has the record',
      );
      await update(etcd.endpoint, TENANT, (record) => ({ ...record, ...SERVED_THERE }));
      await expect(asked()).rejects.toThrow('alpha does not move between two storage layers');
    });
  });

  test('leaves the tenant in the file at its own place, suspended', async () => {
    const keyspace = { id: 5, mode: 'txn' } as const;
    const to = { keyspace, readableSince: '7' };
    await givenUp(
      async ({ pd, comeBack, told }) => {
        comeBack();
        await ask(pd, TENANT, 'cancel');
        await ended(pd);
        expect(told.at(-1)).toEqual({ place: { keyspace }, state: 'suspended' });
      },
      { to },
    );
  });

  test('ends without it when that is asked for, and says what could not be reached', async () => {
    await givenUp(async ({ pd, destroyed, said }) => {
      await ask(pd, TENANT, 'cancel');
      await ask(pd, TENANT, 'cancel', { withoutCluster: true });
      await ended(pd);
      expect(destroyed()).toBe(true);
      expect(said.join()).toContain(
        'the safe point of the move at cluster shop could not be released, and ends within an hour: no answer from pd.shop:2379',
      );
    });
  });

  test('is no word for a tenant that the mesh serves', async () => {
    const etcd = new EtcdModel(PD_HTTP);
    await newMove(etcd, TENANT, { state: 'following' });
    await expect(ask(etcd.endpoint, TENANT, 'cancel', { withoutCluster: true })).rejects.toThrow(
      'alpha is served at number 1, and at no cluster',
    );
    const left = { from: HOME, to: { cluster: 'shop' }, switches: 1, state: 'following' } as const;
    await update(etcd.endpoint, TENANT, (record) => ({ ...record, ...left }));
    await expect(ask(etcd.endpoint, TENANT, 'cancel', { withoutCluster: true })).rejects.toThrow(
      'alpha is served at number 1, where it was moved to',
    );
  });
});

describe('requests that are held', () => {
  const ALL_HELD_MS = 1000;

  interface Faults {
    readonly isBetween?: boolean;
    /** Takes the place of what the engine does, from `since` on. */
    readonly engine?: (engine: Engine) => Partial<Engine>;
    readonly since?: string;
    readonly tell?: (orders: Orders) => Promise<void>;
    readonly reached?: (step: string) => Promise<void>;
    /** What the problem says that is meant; undefined when the switch is to be done. On a loaded machine, another one may come before. */
    readonly problem?: string;
  }

  /** Asks for a switch under load, and waits until it is over. */
  async function oneSwitch({
    isBetween = false,
    engine,
    since = '',
    tell,
    reached,
    problem,
  }: Faults): Promise<{
    readonly record: MoveRecord;
    readonly phases: readonly (Phase | undefined)[];
    readonly told: readonly number[];
    readonly stored: readonly number[];
  }> {
    const [etcd, life] = [new EtcdModel(PD_HTTP), new AbortController()];
    const world = new World({}, TENANT, isBetween);
    await newMove(etcd, TENANT, isBetween ? BETWEEN : {});
    let isFaulty = since === '';
    const phases: (Phase | undefined)[] = [];
    const mesh: Mesh = {
      ...world.mesh,
      tell: async (tenant, orders) => {
        phases.push(orders.move?.phase);
        await world.mesh.tell(tenant, orders);
        await tell?.(orders);
      },
    };
    const tools: Tools = {
      pd: etcd.endpoint,
      mesh,
      id: 'w',
      limits: { ...LIMITS, holdMs: 10_000, obeyMs: 10_000, allHeldMs: ALL_HELD_MS },
      engineOf: (record) => {
        const good = world.engineOf(record);
        const bad = engine?.(good) ?? {};
        const acts = Object.entries(bad).map(([name, act]) => [
          name,
          (...all: unknown[]) => {
            const chosen = isFaulty ? act : good[name as keyof Engine];
            return (chosen as (...given: unknown[]) => unknown)(...all);
          },
        ]);
        return { ...good, ...(Object.fromEntries(acts) as Partial<Engine>) };
      },
      tell: () => undefined,
      reached: async (step) => {
        if (step === since) isFaulty = true;
        if (step === 'after following') isFaulty = since === '';
        await reached?.(step);
      },
    };
    let over = false;
    const clients = KEYS.map((key) => world.count(key, () => over));
    const working = work(tools, life.signal);
    const isMeant = ({ switches, problem: said }: MoveRecord): boolean =>
      problem === undefined ? switches > 0 : (said?.includes(problem) ?? false);
    const deadline = Date.now() + WAIT_MS;
    let asked = false;
    for (; ; await sleep(5)) {
      const { record } = await moveOf(etcd.endpoint, TENANT);
      if (Date.now() > deadline + WAIT_MS) throw new Error(JSON.stringify(record));
      if (record.state !== 'following' || record.wish !== undefined) continue;
      if (asked && (isMeant(record) || Date.now() > deadline)) break;
      asked = true;
      phases.length = 0;
      isFaulty = since === '';
      await ask(etcd.endpoint, TENANT, 'switch').catch(() => undefined);
    }
    // Whatever was given up may still come.
    await sleep(50);
    const { record } = await moveOf(etcd.endpoint, TENANT);
    over = true;
    const told = await Promise.all(clients);
    life.abort();
    await working;
    const served = world.storeOf(record.from);
    return { record, phases, told, stored: KEYS.map((key) => served.latest(key)?.value ?? 0) };
  }

  const never = (): Promise<never> => NEVER;

  test.each<[string, boolean, string, Faults]>([
    [
      'settle',
      false,
      'transactions that were being committed were being ended',
      { engine: () => ({ settle: never }) },
    ],
    [
      'carryLocks',
      false,
      'locks of open transactions were being carried over',
      { engine: () => ({ carryLocks: never }) },
    ],
    [
      'carryNames',
      true,
      "PD's names and rules were being carried over",
      { engine: () => ({ carryNames: never }) },
    ],
    ['timestamp', true, 'PD was being asked', { engine: () => ({ timestamp: never }) }],
    ['targetTimestamp', true, 'PD was being asked', { engine: () => ({ targetTimestamp: never }) }],
    ['clusterIds', true, 'PD was being asked', { engine: () => ({ clusterIds: never }) }],
    ['strangers', true, 'the filters were being asked', { engine: () => ({ strangers: never }) }],
  ])('for a call that never ends go on at the old place: %s', async (_, isBetween, doing, faults) => {
    const problem = `the switch was not done: all requests had been held for 1 s while ${doing}; see if PD and the stores`;
    const { record, told, stored } = await oneSwitch({ ...faults, isBetween, since: 'final', problem });
    expect(record.problem).toContain(problem);
    expect([record.switches, record.from]).toEqual([0, isBetween ? AT_A : HOME]);
    expect(stored).toEqual(told);
  });

  test.each([
    ['final', false],
    ['the hand-over', true],
  ])('for filters that are told %s and never say so go on at the old place', async (what, isBetween) => {
    const isMeant = ({ other, move, state }: Orders): boolean =>
      move?.phase === 'final' && (what === 'final' || (other?.as === 'movedFrom' && state === 'suspended'));
    const { record, phases, told, stored } = await oneSwitch({
      isBetween,
      problem: 'while the filters were being told',
      tell: (orders) => (isMeant(orders) ? NEVER : Promise.resolve()),
    });
    expect(record.problem).toContain('while the filters were being told');
    expect([record.switches, stored]).toEqual([0, told]);
    // Nothing that was given up speaks behind the way back.
    expect(phases.at(-1)).toBe('calm');
  });

  test.each(['settle', 'carryLocks', 'carryNames'] as const)(
    'end what is on its way to the stores: %s',
    async (name) => {
      let ended = false;
      const act = async (signal: AbortSignal): Promise<never> => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        ended = true;
        throw new Error('ended');
      };
      const problem = 'all requests had been held for';
      const { record } = await oneSwitch({ since: 'final', engine: () => ({ [name]: act }), problem });
      expect(record.problem).toContain(problem);
      expect([ended, record.switches]).toEqual([true, 0]);
    },
  );

  test('for longer than that are not led to the new place, however late that is noticed', async () => {
    const { record, told, stored } = await oneSwitch({
      problem: 'all requests had been held for 1 s',
      reached: async (step) => {
        if (step !== 'before committing') return;
        // Nothing else of this process runs meanwhile.
        const end = performance.now() + 2 * ALL_HELD_MS;
        while (performance.now() < end);
      },
    });
    expect(record.problem).toContain('all requests had been held for 1 s');
    expect([record.switches, record.committed, stored]).toEqual([0, undefined, told]);
  });

  test('when the new place is written down go there, however long it takes', async () => {
    const { record, told, stored } = await oneSwitch({
      reached: async (step) => (step === 'after committing' ? sleep(2 * ALL_HELD_MS) : undefined),
    });
    expect([record.switches, record.problem, stored]).toEqual([1, undefined, told]);
  });

  test('are none where more locks are open than can be carried: it is said how many', async () => {
    const { record, phases } = await oneSwitch({
      engine: () => ({ openLocks: async () => 2501 }),
      problem: 'open transactions hold 2501 locks',
    });
    expect(record.problem).toMatch(
      /^open transactions hold 2501 locks, more than the 2500 that are carried over .*; end the large ones .* or give --hold-all more time/,
    );
    expect([record.switches, phases]).toEqual([0, []]);
  });

  test('are writes only where so many are open at the fence', async () => {
    const { record, phases, told, stored } = await oneSwitch({
      since: 'fence',
      problem: 'open transactions hold 2501 locks',
      engine: (good) => ({
        settle: async (signal) => {
          await good.settle(signal);
          return 2501;
        },
      }),
    });
    expect(record.problem).toContain('the switch was not done: open transactions hold 2501 locks');
    expect([record.switches, phases.includes('fence'), phases.includes('final')]).toEqual([0, true, false]);
    expect(stored).toEqual(told);
  });
});

test('a configuration that names the place before the switch is told again', async () => {
  const [etcd, world, life] = [new EtcdModel(PD_HTTP), new World(), new AbortController()];
  await newMove(etcd);
  let written: Place = HOME;
  const mesh: Mesh = {
    ...world.mesh,
    tell: (tenant, orders) => {
      written = orders.place;
      return world.mesh.tell(tenant, orders);
    },
    placeOf: () => written,
  };
  const [{ pd, id, limits }, engineOf] = [
    { pd: etcd.endpoint, id: 'worker', limits: LIMITS },
    world.engineOf,
  ];
  const working = work({ pd, mesh, id, limits, engineOf, tell: () => undefined }, life.signal);
  const until = async (isSo: (record: MoveRecord) => boolean): Promise<void> => {
    while (!isSo((await moveOf(pd, TENANT)).record)) await sleep(10);
  };
  await until(({ state }) => state === 'following');
  await update(pd, TENANT, (record) => ({ ...record, wish: 'switch' }));
  await until(({ switches, state }) => switches === 1 && state === 'following');
  const { serial } = (await moveOf(pd, TENANT)).record;
  written = HOME;
  await until((record) => record.serial > serial);
  while (!isSamePlace(written, AWAY)) await sleep(10);
  expect((await moveOf(pd, TENANT)).record).toMatchObject({ from: AWAY, switches: 1 });
  life.abort();
  await working;
});

describe('what an operator has set for a tenant', () => {
  /** The states that the configuration has while a tenant moves there and back and gives up, and at the end. */
  async function statesOf(
    entry: object,
    record: Partial<MoveRecord>,
  ): Promise<{
    readonly told: readonly string[];
    readonly handedOver: ReadonlySet<string>;
    readonly last: string;
  }> {
    const isBetween = record.from?.storage !== undefined;
    const [etcd, world] = [new EtcdModel(PD_HTTP), new World({}, TENANT, isBetween)];
    await newMove(etcd, TENANT, record);
    let text = JSON.stringify({ tenants: [{ name: TENANT, number: 1, ...entry }] });
    const state = (): string =>
      (JSON.parse(text) as { tenants: { state?: string }[] }).tenants[0]!.state ?? 'active';
    const told: string[] = [];
    const handedOver = new Set<string>();
    const mesh: Mesh = {
      ...world.mesh,
      stateOf: () => state() as never,
      tell: (tenant, orders) => {
        text = withOrders(text, 'mesh.json', tenant, orders);
        const what = `${orders.place.storage ?? ''}${orders.move?.phase ?? ''} ${state()}`;
        told.push(what);
        if (text.includes(NO_TIME_YET)) handedOver.add(what);
        return world.mesh.tell(tenant, orders);
      },
    };
    const life = new AbortController();
    const { endpoint: pd } = etcd;
    const tools = { pd, mesh, id: 'w', limits: LIMITS, engineOf: world.engineOf, tell: () => undefined };
    const working = work(tools, life.signal);
    for (let found = await findMove(pd, TENANT); found; found = await findMove(pd, TENANT)) {
      const { state: at, wish, switches } = found.record;
      const verb = switches === 0 ? 'switch' : switches === 1 ? 'reverse' : 'cancel';
      if (at === 'following' && wish === undefined) await ask(pd, TENANT, verb).catch(() => undefined);
      await sleep(5);
    }
    life.abort();
    await working;
    return { told, handedOver, last: state() };
  }

  test.each(['suspended', 'read-only', 'active'])(
    '%s stays while it moves between two storage layers, but for the hand-over',
    async (state) => {
      const entry = { storage: 'a', ...(state === 'active' ? {} : { state }) };
      const { told, handedOver, last } = await statesOf(entry, BETWEEN);
      expect(last).toBe(state);
      // So somebody who has nothing but the file knows a hand-over from what the operator has set.
      expect([...handedOver]).toEqual(['bfinal suspended', 'afinal suspended']);
      const closed = told.filter((one) => !one.endsWith(` ${state}`));
      expect(closed.filter((one) => !/^[ab]final suspended$/.test(one))).toEqual([]);
      expect(closed.length).toBeLessThanOrEqual(state === 'suspended' ? 0 : 2);
    },
  );

  test('is not removed from an import that the mesh serves', async () => {
    const at = { from: {}, to: { cluster: 'shop' }, switches: 1, state: 'copying' as const };
    const [etcd, world, life] = [new EtcdModel(PD_HTTP), new World(), new AbortController()];
    await newMove(etcd, TENANT, at);
    const states: (string | undefined)[] = [];
    const mesh: Mesh = {
      ...world.mesh,
      stateOf: () => 'read-only',
      tell: (tenant, orders) => {
        states.push(orders.state);
        return world.mesh.tell(tenant, orders);
      },
    };
    const { endpoint: pd } = etcd;
    const tools = { pd, mesh, id: 'w', limits: LIMITS, engineOf: world.engineOf, tell: () => undefined };
    const working = work(tools, life.signal);
    const switched = async (count: number): Promise<void> => {
      for (;;) {
        const { record } = await moveOf(pd, TENANT);
        if (record.switches >= count && record.state === 'following') return;
        if (record.state === 'following' && record.wish === undefined)
          await ask(pd, TENANT, isAtHome(record) ? 'switch' : 'reverse').catch(() => undefined);
        await sleep(5);
      }
    };
    await switched(2);
    // While the mesh serves, nothing; while the cluster does, the import's own; and then what the operator had set.
    expect(new Set(states)).toEqual(new Set([undefined, 'suspended']));
    expect((await moveOf(pd, TENANT)).record.keptState).toBe('read-only');
    states.length = 0;
    await switched(3);
    expect(states.filter((one) => one !== 'suspended')).toContain('read-only');
    expect(states).not.toContain('active');
    life.abort();
    await working;
  });
});

test.each([
  ['a third place', { keyNumber: 9 }, 0],
  ['a higher serial', HOME, 2 ** 31],
])('a configuration that another move has told is left alone: %s', async (_, place: Place, serial) => {
  const [etcd, world, life] = [new EtcdModel(PD_HTTP), new World(), new AbortController()];
  await newMove(etcd);
  const told: Place[] = [];
  let isOther = false;
  const mesh: Mesh = {
    ...world.mesh,
    tell: (tenant, orders) => {
      told.push(orders.place);
      return world.mesh.tell(tenant, orders);
    },
    placeOf: () => (isOther ? place : told.at(-1)),
    serialOf: () => (isOther ? serial : 0),
  };
  const { endpoint: pd } = etcd;
  const tools = { pd, mesh, id: 'w', limits: LIMITS, engineOf: world.engineOf, tell: () => undefined };
  const working = work(tools, life.signal);
  const until = async (isSo: (record: MoveRecord) => boolean): Promise<void> => {
    while (!isSo((await moveOf(pd, TENANT)).record)) await sleep(10);
  };
  await until(({ state }) => state === 'following');
  await update(pd, TENANT, (record) => ({ ...record, wish: 'switch' }));
  await until(({ switches, state }) => switches === 1 && state === 'following');
  isOther = true;
  await until(({ problem }) => problem?.includes('which this move has not told') === true);
  const count = told.length;
  await update(pd, TENANT, (record) => ({ ...record, wish: 'switch', problem: undefined }));
  await until(({ wish }) => wish === undefined);
  await until(({ problem }) => problem?.includes('which this move has not told') === true);
  expect([told.length, (await moveOf(pd, TENANT)).record.switches]).toEqual([count, 1]);
  life.abort();
  await working;
});

test('a record that cannot be read stops no other move', async () => {
  const [etcd, world, life] = [new EtcdModel(PD_HTTP), new World(), new AbortController()];
  await newMove(etcd);
  await putIfUnchanged(etcd.endpoint, [], [{ key: '/tidb-mesh/.moves/alphabet', value: '{' }]);
  const said: string[] = [];
  const { endpoint: pd } = etcd;
  const tell = (text: string): void => void said.push(text);
  const tools = { pd, mesh: world.mesh, id: 'w', limits: LIMITS, engineOf: world.engineOf, tell };
  const working = work(tools, life.signal);
  while ((await moveOf(pd, TENANT)).record.state !== 'following') await sleep(5);
  life.abort();
  await working;
  expect(
    said.filter((one) => one.includes("the record of alphabet's move in etcd is not JSON")),
  ).toHaveLength(1);
  // Whoever looks for a free range cannot go on without it.
  await expect(allMoves(pd)).rejects.toThrow('is not JSON');
});

test('an older configuration that comes late to an Envoy is told away', async () => {
  const [etcd, world, life] = [new EtcdModel(PD_HTTP), new World(), new AbortController()];
  await newMove(etcd);
  const { mesh, engineOf } = world;
  const tools = { pd: etcd.endpoint, mesh, id: 'worker', limits: LIMITS, engineOf, tell: () => undefined };
  const working = work(tools, life.signal);
  const deadline = Date.now() + WAIT_MS;
  const until = async (isSo: (record: MoveRecord) => boolean): Promise<void> => {
    while (!isSo((await moveOf(etcd.endpoint, TENANT)).record) && Date.now() < deadline) await sleep(10);
  };
  await until(({ state }) => state === 'following');
  await ask(etcd.endpoint, TENANT, 'switch');
  await until(({ switches, state }) => switches === 1 && state === 'following');
  const vm = world.vms[1]!;
  vm.orders = { place: HOME, move: { serial: 1, phase: 'prepare' } };
  await until(() => isSamePlace(vm.orders.place, AWAY));
  expect(vm.orders.place).toMatchObject(AWAY);
  expect((await moveOf(etcd.endpoint, TENANT)).record).toMatchObject({ from: AWAY, switches: 1 });
  life.abort();
  await working;
});

test('a switch ends where its configuration arrives when the calm behind it is over already', async () => {
  const [etcd, world, life] = [new EtcdModel(PD_HTTP), new World(), new AbortController()];
  await newMove(etcd);
  const mesh: Mesh = {
    ...world.mesh,
    tell: async (tenant, orders) => {
      // It waits for those of many other tenants.
      const { until = 0 } = orders.move ?? {};
      if (isSamePlace(orders.place, AWAY)) await sleep(until + 20 - Date.now());
      return world.mesh.tell(tenant, orders);
    },
  };
  const { engineOf } = world;
  const working = work(
    { pd: etcd.endpoint, mesh, id: 'w', limits: LIMITS, engineOf, tell: () => undefined },
    life.signal,
  );
  const deadline = Date.now() + WAIT_MS;
  let { record } = await moveOf(etcd.endpoint, TENANT);
  while (Date.now() < deadline && record.problem === undefined && record.switches === 0) {
    if (record.state === 'following') await ask(etcd.endpoint, TENANT, 'switch').catch(() => undefined);
    await sleep(5);
    ({ record } = await moveOf(etcd.endpoint, TENANT));
  }
  life.abort();
  await working;
  expect({ switches: record.switches, problem: record.problem }).toEqual({ switches: 1, problem: undefined });
});

test.each([
  ['bulk loads', 'bulk', 'VM 0, where requests are still on their way'],
  ['commits', 'begun', '1 transactions that had begun to commit before the move have not ended'],
] as const)('a move begins when %s from before have ended', async (_, field, why) => {
  const [etcd, world, life] = [new EtcdModel(PD_HTTP), new World(), new AbortController()];
  await newMove(etcd);
  world[field] = 1;
  const working = work(
    {
      pd: etcd.endpoint,
      mesh: world.mesh,
      id: 'worker',
      limits: LIMITS,
      engineOf: world.engineOf,
      tell: () => undefined,
    },
    life.signal,
  );
  const look = async (isThere: (record: MoveRecord) => boolean): Promise<MoveRecord> => {
    for (;;) {
      const { record } = await moveOf(etcd.endpoint, TENANT);
      if (isThere(record)) return record;
      await sleep(10);
    }
  };
  const { state, problem } = await look((record) => record.problem !== undefined);
  expect(state).toBe('planned');
  expect(problem).toContain(why);
  world[field] = 0;
  await look((record) => record.state === 'following');
  life.abort();
  await working;
});

describe('somebody writes where the tenant is not served', () => {
  /** Waits until the record is so. */
  async function record(etcd: EtcdModel, isSo: (record: MoveRecord) => boolean): Promise<MoveRecord> {
    const deadline = Date.now() + WAIT_MS;
    for (;;) {
      const found = (await moveOf(etcd.endpoint, TENANT)).record;
      if (isSo(found)) return found;
      if (Date.now() > deadline) throw new Error(JSON.stringify(found));
      await sleep(5);
    }
  }

  async function withMove(
    onAlarm: 'stop' | 'report',
    act: (etcd: EtcdModel, world: World) => Promise<void>,
    /** Other tools for the worker, and another move. */
    {
      toolsOf = () => ({}),
      fields = {},
    }: {
      readonly toolsOf?: (etcd: EtcdModel, world: World) => Partial<Tools>;
      readonly fields?: Partial<MoveRecord>;
    } = {},
  ): Promise<void> {
    const [etcd, world, life] = [new EtcdModel(PD_HTTP), new World(), new AbortController()];
    await newMove(etcd, TENANT, fields);
    const { mesh, engineOf } = world;
    const tools = {
      pd: etcd.endpoint,
      mesh,
      id: 'w',
      limits: LIMITS,
      onAlarm,
      engineOf,
      tell: () => undefined,
      ...toolsOf(etcd, world),
    };
    const working = work(tools, life.signal);
    try {
      await act(etcd, world);
    } finally {
      life.abort();
      await working;
    }
  }

  /** A client that an Envoy of which the mover does not know lets through. */
  function commitAt(world: World, at: Store): void {
    const version = { start: ++world.now, commit: ++world.now, value: 7 };
    at.put('x', version);
    world.log.push({ at, key: 'x', version });
  }

  const phases = (world: World): unknown[] => world.vms.map(({ orders }) => orders.move?.phase);

  test('the tenant is held after a switch, until an operator accepts it', async () => {
    await withMove('stop', async (etcd, world) => {
      await record(etcd, ({ state }) => state === 'following');
      await ask(etcd.endpoint, TENANT, 'switch');
      await record(etcd, ({ switches, state }) => switches === 1 && state === 'following');
      commitAt(world, world.stores.home);
      const [done] = (await record(etcd, () => true)).history;
      expect(world.keptSince.map(String)).toContain(done?.fence);
      const { alarm, from } = await record(etcd, (now) => now.alarm?.isStopped === true);
      expect(alarm).toMatchObject({ place: HOME, count: 1, commits: [{ key: '78', op: 'put' }] });
      expect(isSamePlace(from, AWAY)).toBe(true);
      expect(phases(world)).toEqual(['final', 'final', 'final']);
      for (const verb of ['reverse', 'complete', 'cancel'] as const)
        await expect(ask(etcd.endpoint, TENANT, verb)).rejects.toThrow(
          'has an alarm: 1 commits at number 1, where it is not served',
        );
      await ask(etcd.endpoint, TENANT, 'resume');
      const after = await record(etcd, (now) => now.alarm === undefined);
      expect(after.pastAlarms).toHaveLength(1);
      expect(phases(world)).toEqual(['prepare', 'prepare', 'prepare']);
      // It is not raised again for the same commit, and the next one is.
      await ask(etcd.endpoint, TENANT, 'reverse');
      await record(etcd, ({ switches, state }) => switches === 2 && state === 'following');
      commitAt(world, world.stores.away);
      await record(etcd, (now) => now.alarm !== undefined);
    });
  });

  test('before the first switch, too; and only reported when that is asked for', async () => {
    await withMove('report', async (etcd, world) => {
      await record(etcd, ({ state }) => state === 'following');
      commitAt(world, world.stores.away);
      const { alarm } = await record(etcd, (now) => now.alarm !== undefined);
      expect(alarm).toMatchObject({ count: 1, isStopped: false });
      commitAt(world, world.stores.away);
      await record(etcd, (now) => now.alarm?.count === 2);
      expect(phases(world)).toEqual(['prepare', 'prepare', 'prepare']);
    });
  });

  test.each([
    ['complete', 1, 'home'],
    ['cancel', 2, 'away'],
  ] as const)(
    'while no worker runs: %s after %d switches destroys nothing before that is seen',
    async (end, switches, left) => {
      const [etcd, world] = [new EtcdModel(PD_HTTP), new World()];
      await newMove(etcd);
      let namesTaken = 0;
      const worker = (): { end: () => Promise<void> } => {
        const life = new AbortController();
        const engineOf = (made: MoveRecord): Engine => ({
          ...world.engineOf(made),
          takeNamesAlong: async () => void namesTaken++,
        });
        const tools = { pd: etcd.endpoint, mesh: world.mesh, id: 'w', limits: LIMITS, engineOf };
        const working = work({ ...tools, tell: () => undefined }, life.signal);
        return {
          end: async () => {
            life.abort();
            await working;
          },
        };
      };
      const first = worker();
      await record(etcd, ({ state }) => state === 'following');
      for (const verb of (['switch', 'reverse'] as const).slice(0, switches)) {
        const { switches: before } = await ask(etcd.endpoint, TENANT, verb);
        await record(etcd, (now) => now.switches === before + 1 && now.state === 'following');
      }
      await first.end();
      commitAt(world, world.stores[left]);
      await ask(etcd.endpoint, TENANT, end);
      namesTaken = 0;
      const second = worker();
      await record(etcd, ({ alarm }) => alarm?.isStopped === true);
      expect(namesTaken).toBeGreaterThan(0);
      expect(world.stores[left].latest('x')).toBeDefined();
      await ask(etcd.endpoint, TENANT, 'resume');
      await record(etcd, ({ alarm }) => alarm === undefined);
      await ask(etcd.endpoint, TENANT, end);
      while (await findMove(etcd.endpoint, TENANT)) await sleep(5);
      expect(world.stores[left].versions.size).toBe(0);
      await second.end();
    },
  );

  test('an operator who accepts it while the filters are being told is heard', async () => {
    const toolsOf = (etcd: EtcdModel, { mesh }: World): Partial<Tools> => ({
      mesh: {
        ...mesh,
        tell: async (tenant, orders) => {
          await mesh.tell(tenant, orders);
          if (orders.move?.phase === 'final') await ask(etcd.endpoint, TENANT, 'resume');
        },
      },
    });
    await withMove(
      'stop',
      async (etcd, world) => {
        await record(etcd, ({ state }) => state === 'following');
        commitAt(world, world.stores.away);
        const { pastAlarms } = await record(
          etcd,
          (now) => now.alarm === undefined && now.pastAlarms !== undefined,
        );
        expect(pastAlarms).toMatchObject([{ count: 1, isStopped: true, isAccepted: true }]);
        expect(phases(world)).toEqual(['prepare', 'prepare', 'prepare']);
      },
      { toolsOf },
    );
  });

  describe('at a cluster that the tenant has left', () => {
    const running: string[] = [];
    const engineOf =
      ({ engineOf: make }: World) =>
      (made: MoveRecord): Engine => ({ ...make(made), strangers: async () => [...running] });
    const LEFT: Partial<MoveRecord> = {
      to: { cluster: 'shop' },
      state: 'following',
      switches: 1,
      progress: { follow: 1, watch: 1 },
    };
    afterEach(() => void running.splice(0));

    test('a TiDB that runs is told, and the alarm ends with it', async () => {
      await withMove(
        'stop',
        async (etcd, world) => {
          await record(etcd, ({ worker }) => worker !== undefined);
          running.push('10.0.0.7:4000');
          const { alarm } = await record(etcd, (now) => now.alarm !== undefined);
          expect(alarm).toMatchObject({ tidbs: ['10.0.0.7:4000'], count: 0, isStopped: false });
          for (const verb of ['reverse', 'complete'] as const)
            await expect(ask(etcd.endpoint, TENANT, verb)).rejects.toThrow(
              'alpha has an alarm: 1 TiDB runs at cluster shop, where it is not served: 10.0.0.7:4000; its requests go on',
            );
          expect(phases(world)).not.toContain('final');
          // What it commits holds the tenant, and outlives it.
          commitAt(world, world.stores.away);
          await record(etcd, (now) => now.alarm?.isStopped === true && now.alarm.tidbs !== undefined);
          expect(phases(world)).toEqual(['final', 'final', 'final']);
          running.pop();
          const after = await record(etcd, (now) => now.alarm?.tidbs === undefined);
          expect(after.alarm).toMatchObject({ count: 1, isStopped: true });
          await ask(etcd.endpoint, TENANT, 'resume');
          await record(etcd, (now) => now.alarm === undefined);
          running.push('10.0.0.8:4000');
          await record(etcd, (now) => now.alarm?.count === 0);
          running.pop();
          await record(etcd, (now) => now.alarm === undefined);
        },
        { toolsOf: (_, world) => ({ engineOf: engineOf(world) }), fields: LEFT },
      );
    });

    test.each(['drain', 'locks carried'])(
      'one that starts before the way back is decided (%s)',
      async (step) => {
        const reached = (now: string): void => {
          if (now === step) running.push('10.0.0.7:4000');
        };
        await withMove(
          'stop',
          async (etcd) => {
            await record(etcd, ({ worker }) => worker !== undefined);
            await ask(etcd.endpoint, TENANT, 'reverse');
            const { problem, switches } = await record(etcd, (now) => now.problem !== undefined);
            expect(switches).toBe(1);
            expect(problem).toContain(
              '1 TiDB runs at cluster shop, where it is not served: 10.0.0.7:4000; stop all of them',
            );
          },
          { toolsOf: (_, world) => ({ engineOf: engineOf(world), reached }), fields: LEFT },
        );
      },
    );
  });

  test('a commit at the target during a switch ends it', async () => {
    await withMove('report', async (etcd, world) => {
      await record(etcd, ({ state }) => state === 'following');
      await ask(etcd.endpoint, TENANT, 'switch');
      await record(etcd, ({ state }) => state === 'switching');
      commitAt(world, world.stores.away);
      const { switches, from } = await record(etcd, (now) => now.alarm !== undefined);
      expect([switches, from]).toEqual([0, HOME]);
    });
  });
});

describe('the end of a switch', () => {
  /** The states of the move in which locks were removed from the target. */
  async function droppedIn(
    reached: (step: string) => void,
    isOver: (record: MoveRecord) => boolean,
    hiddenOf: (world: World) => Mesh['hidden'] = () => undefined,
  ): Promise<string[]> {
    const [etcd, world, life] = [new EtcdModel(PD_HTTP), new World(), new AbortController()];
    await newMove(etcd);
    const states: string[] = [];
    const engineOf = (record: MoveRecord): Engine => ({
      ...world.engineOf(record),
      dropCarriedLocks: async () => void states.push((await moveOf(etcd.endpoint, TENANT)).record.state),
    });
    const hidden = hiddenOf(world);
    const mesh = { ...world.mesh, ...(hidden ? { hidden } : {}) };
    const tools = { pd: etcd.endpoint, mesh, id: 'w', limits: LIMITS, engineOf, reached };
    const working = work({ ...tools, tell: () => undefined }, life.signal);
    try {
      const deadline = Date.now() + WAIT_MS;
      let asked = false;
      for (;;) {
        const { record } = await moveOf(etcd.endpoint, TENANT);
        if (asked && isOver(record)) return states;
        if (Date.now() > deadline) throw new Error(JSON.stringify(record));
        if (!asked && record.state === 'following') {
          await ask(etcd.endpoint, TENANT, 'switch');
          asked = true;
        }
        await sleep(5);
      }
    } finally {
      life.abort();
      await working;
    }
  }

  const failAt = (wanted: string): ((step: string) => void) => {
    let hasFailed = false;
    return (step) => {
      if (step !== wanted || hasFailed) return;
      hasFailed = true;
      throw new Error('fails here');
    };
  };

  test('whose decision got no answer leaves the locks that it has carried', async () => {
    const states = await droppedIn(
      failAt('after committing'),
      ({ switches, state }) => switches === 1 && state === 'following',
    );
    expect(states).not.toContain('committing');
  });

  test('that an Envoy hears late is done, and says so', async () => {
    const [etcd, world, life] = [new EtcdModel(PD_HTTP), new World(), new AbortController()];
    await newMove(etcd);
    let failsToTakeNames = false;
    const engineOf = (record: MoveRecord): Engine => ({
      ...world.engineOf(record),
      takeNamesAlong: async () => {
        if (failsToTakeNames) throw new Error('PD is away');
      },
    });
    const late = failAt('committed');
    const reached = (step: string): void => {
      // What comes after the switch fails as well, until somebody has looked.
      if (step === 'committed') failsToTakeNames = true;
      late(step);
    };
    const tools = { pd: etcd.endpoint, mesh: world.mesh, id: 'w', limits: LIMITS, engineOf, reached };
    const working = work({ ...tools, tell: () => undefined }, life.signal);
    try {
      const until = async (isSo: (record: MoveRecord) => boolean): Promise<MoveRecord> => {
        const deadline = Date.now() + WAIT_MS;
        for (;;) {
          const { record } = await moveOf(etcd.endpoint, TENANT);
          if (isSo(record)) return record;
          if (Date.now() > deadline) throw new Error(JSON.stringify(record));
          await sleep(5);
        }
      };
      await until(({ state }) => state === 'following');
      const { switches, createdAt } = await ask(etcd.endpoint, TENANT, 'switch');
      const problems: (string | undefined)[] = [];
      const tell = ({ state, problem }: MoveRecord): void => void problems.push(`${state} ${problem ?? ''}`);
      const asked = { verb: 'switch', switches, createdAt, timeoutMs: WAIT_MS, tell } as const;
      expect(await fulfilled(etcd.endpoint, TENANT, asked)).toMatchObject({ switches: 1, from: AWAY });
      expect(problems).toContain('committing Error: fails here');
      const { problem } = await until((now) => now.state === 'following' && now.problem !== undefined);
      expect(problem).toBe('Error: PD is away');
      // It was done all the same.
      expect(await fulfilled(etcd.endpoint, TENANT, asked)).toMatchObject({ switches: 1 });
      failsToTakeNames = false;
      await until((now) => now.problem === undefined);
    } finally {
      life.abort();
      await working;
    }
  });

  test('that somebody else ends is not done, whatever move is found then', async () => {
    const etcd = new EtcdModel(PD_HTTP);
    const asked = { verb: 'switch', createdAt: 1, timeoutMs: WAIT_MS, tell: () => undefined } as const;
    const notDone = 'the move of alpha has ended before it was switched';
    await expect(fulfilled(etcd.endpoint, TENANT, asked)).rejects.toThrow(notDone);
    await newMove(etcd, TENANT, { createdAt: 2, switches: 1 });
    await expect(fulfilled(etcd.endpoint, TENANT, asked)).rejects.toThrow(notDone);
    expect(await fulfilled(etcd.endpoint, TENANT, { ...asked, verb: 'cancel' })).toBeUndefined();
  });

  test('that is decided says where the tenant is served, also when nobody works on it in time', async () => {
    const etcd = new EtcdModel(PD_HTTP);
    const committed = { served: AWAY, fence: '1', writesHeldSince: 1, allHeldSince: 1 };
    const worker = { id: 'w', until: Date.now() + 600_000 };
    await newMove(etcd, TENANT, { state: 'committing', committed, worker, problem: 'an Envoy is away' });
    const asked = { verb: 'switch', timeoutMs: 1, tell: () => undefined } as const;
    await expect(fulfilled(etcd.endpoint, TENANT, asked)).rejects.toThrow(
      'is still committing after 0.001 s; it is decided that it is served at number 5: start nothing at number 1',
    );
  });

  test('that is not done removes them when it is certain, and tells of commits at the target', async () => {
    const hiddenOf = (world: World) => async (): Promise<string[]> => {
      const version = { start: ++world.now, commit: ++world.now, value: 7 };
      world.log.push({ at: world.stores.away, key: 'x', version });
      // The watch has told of it when the switch begins.
      await sleep(50);
      return [];
    };
    const states = await droppedIn(failAt('calm'), ({ alarm }) => alarm !== undefined, hiddenOf);
    expect(states.length).toBeGreaterThan(1);
    expect(new Set(states)).toEqual(new Set(['following']));
  });
});

describe('what the steps rely on', () => {
  test.each([
    ['a VM that says it obeys, and does not', { deafVm: true }],
    ['requests that are still on their way', { noDrain: true }],
    ['transactions that nobody settles', { noSettle: true }],
  ])('%s: commits are lost, or the switch is not done', async (_, faults) => {
    const { record, told, stored } = await movesUnderLoad(new World(faults), {
      switches: 8,
      lifeMs: () => 1e6,
      timeoutMs: 7000,
    });
    // Nothing is lost silently. What nobody settles keeps the target behind, and nothing is switched.
    expect(record.alarm === undefined).toBe('noSettle' in faults);
    const isRight = JSON.stringify(stored) === JSON.stringify(told);
    expect({ isRight, switches: record.switches >= 8 }).not.toEqual({ isRight: true, switches: true });
  });
});
