/** Real servers whose tenants move: what a test asks of the worker, and of both sides. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createMove } from '../../src-ts/move/create.ts';
import { diff, type Difference } from '../../src-ts/move/engine/diff.ts';
import { makeEngine, sidesOf } from '../../src-ts/move/engine/engine-of.ts';
import { vmsOf, type Mesh, type Orders } from '../../src-ts/move/filters/mesh.ts';
import type { Place } from '../../src-ts/move/place.ts';
import { findMove, moveOf, type MoveRecord } from '../../src-ts/move/record.ts';
import { DEFAULT_LIMITS } from '../../src-ts/move/steps/limits.ts';
import type { Tools } from '../../src-ts/move/steps/tools.ts';
import { after, Snapshot } from '../../src-ts/move/engine/snapshot.ts';
import { Storage, type Side } from '../../src-ts/move/engine/storage.ts';
import { Throttle } from '../../src-ts/move/engine/throttle.ts';
import { ask, fulfilled } from '../../src-ts/move/wishes.ts';
import { work } from '../../src-ts/move/worker.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { spaceOf, type Tenant } from '../../src-ts/tenants/tenant.ts';
import type { CertFiles } from '../harness/stack/certs.ts';
import {
  startStack,
  SYSTEM_PRINCIPAL,
  type PluginConfig,
  type Stack,
  type StackOptions,
} from '../harness/stack/stack.ts';
import { follows, hasCarried, lastOf, LOOK_MS, recordUntil, WAIT_MS } from './waiting.ts';

/** A difference, and what both sides have there at the timestamp. */
export interface Found extends Difference {
  readonly ts: bigint;
  readonly source: string | undefined;
  readonly target: string | undefined;
}

/** @returns in hex */
async function valueAt(side: Side, logical: Buffer, ts: bigint): Promise<string | undefined> {
  const start = side.space.encode(logical);
  if (!start) return undefined;
  const { pairs } = await new Snapshot(side, ts, { locks: 'ignore' }).page({ start, end: after(start) });
  return pairs[0] && Buffer.from(pairs[0].value).toString('hex');
}

export class Moving {
  readonly said: string[] = [];
  private readonly orders = new Map<string, Orders>();
  private stop = new AbortController();
  private working: Promise<void> | undefined;
  private last: Promise<unknown> = Promise.resolve();

  private constructor(
    readonly stack: Stack,
    private readonly standard: PluginConfig,
    readonly certs: CertFiles,
    readonly tenants: readonly Tenant[],
  ) {
    this.address = stack.pds.map(({ directUrl }) => directUrl).join(',');
    this.pd = new Endpoint({ pd: this.address });
    this.storage = new Storage(new Endpoint({ pd: this.address }));
    this.envoys = this.urls.map((url) => new Endpoint({ pd: url, ...certs }));
  }

  /** PD itself, past the mesh: all members. */
  private readonly address: string;
  readonly pd: Endpoint;
  readonly storage: Storage;
  readonly envoys: readonly Endpoint[];

  static async start(tenants: Tenant[], options: StackOptions = {}): Promise<Moving> {
    let standard!: PluginConfig;
    const stack = await startStack({
      watched: true,
      tenants: tenants as NonNullable<StackOptions['tenants']>,
      pluginConfig: (made: PluginConfig) => (standard = made),
      ...options,
    });
    return new Moving(stack, standard, await stack.certs.client(SYSTEM_PRINCIPAL), tenants);
  }

  /** Envoy, by every address that PD and the store advertise: a switch asks at each. */
  get urls(): string[] {
    return [...this.stack.pds, this.stack.store].map(({ meshAddress }) => `https://${meshAddress}`);
  }

  /** The configuration with all orders so far; or with others for some tenant. */
  config(others: Readonly<Record<string, Orders>> = {}): unknown {
    const tenants = this.tenants.map((tenant) => {
      const { place, move } = others[tenant.name] ?? this.orders.get(tenant.name) ?? { place: undefined };
      const { name, number } = tenant;
      return place === undefined ? tenant : { name, number, ...place, ...(move ? { move } : {}) };
    });
    return { ...this.standard, tenants };
  }

  ordersOf(tenant: string): Orders | undefined {
    return this.orders.get(tenant);
  }

  readonly mesh: Mesh = {
    hosts: [],
    tell: (tenant, orders) => {
      this.orders.set(tenant, orders);
      const turn = this.last.then(() => this.stack.configure(this.config()));
      this.last = turn.catch(() => undefined);
      return turn;
    },
    vms: () => vmsOf(this.envoys),
  };

  startWorker(tools: Partial<Tools> = {}): void {
    this.stop = new AbortController();
    this.working = work(
      {
        pd: this.pd,
        mesh: this.heard(),
        id: 'the test',
        isGone: () => true,
        limits: { calmMs: 1000 },
        engineOf: (record) => makeEngine({ pd: this.address }, record),
        tell: (line) => this.said.push(line),
        ...tools,
      },
      this.stop.signal,
    );
  }

  /** The mesh, with the addresses that are asked. */
  heard(): Mesh {
    return { ...this.mesh, hosts: this.envoys.map(({ url }) => url.host) };
  }

  async stopWorker(): Promise<void> {
    this.stop.abort();
    await this.working;
    this.working = undefined;
  }

  async end(): Promise<void> {
    await this.stopWorker();
    for (const endpoint of [this.pd, this.storage, ...this.envoys]) endpoint.close();
    await this.stack.stop();
  }

  begin(name: string, to: Place): Promise<MoveRecord> {
    const tenant = { ...this.tenants.find((one) => one.name === name)!, ...this.orders.get(name)?.place };
    // The only TiDB of a tenant 0 in these tests is its own.
    return createMove(this.pd, { tenant, to, all: this.tenants, withoutCollector: tenant.number === 0 });
  }

  async record(tenant: string): Promise<MoveRecord> {
    for (let tries = 0; ; tries++)
      try {
        return (await moveOf(this.pd, tenant)).record;
      } catch (error) {
        // PD may be down for a while.
        if (tries > 100) throw error;
        await sleep(200);
      }
  }

  /** Waits until the record is as wanted. */
  until(tenant: string, isWanted: (record: MoveRecord) => boolean, timeoutMs = WAIT_MS): Promise<MoveRecord> {
    return recordUntil(isWanted, { read: () => this.record(tenant), said: this.said, timeoutMs });
  }

  follows(tenant: string): Promise<MoveRecord> {
    return this.until(tenant, follows);
  }

  /** Asks for a switch, there or back. */
  async wish(tenant: string): Promise<void> {
    const { switches } = await this.follows(tenant);
    await ask(this.pd, tenant, switches % 2 === 0 ? 'switch' : 'reverse').catch(() => undefined);
  }

  /** Asks until so many switches were done. */
  async switchTo(tenant: string, count: number, timeoutMs = WAIT_MS): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    let why = 'no problem';
    for (;;) {
      const { switches, state, wish, problem } = await this.record(tenant);
      // Whoever asks again clears it.
      why = problem ?? why;
      if (switches >= count && state === 'following') return;
      if (Date.now() > deadline)
        throw new Error(`${tenant}: ${switches} switches, ${state}: ${why}\n${lastOf(this.said)}`);
      if (state === 'following' && wish === undefined) await this.wish(tenant);
      await sleep(LOOK_MS);
    }
  }

  /** Asks to complete or to cancel, and waits until nothing is left of the move. */
  async finish(tenant: string, verb: 'complete' | 'cancel'): Promise<void> {
    await ask(this.pd, tenant, verb);
    await this.isOver(tenant);
  }

  async isOver(tenant: string): Promise<void> {
    // With an operator's limits, a move stays calm for so long after its last switch.
    const timeoutMs = WAIT_MS + DEFAULT_LIMITS.calmMs;
    await fulfilled(this.pd, tenant, { verb: 'complete', timeoutMs, tell: () => undefined });
  }

  async isMoving(tenant: string): Promise<boolean> {
    return (await findMove(this.pd, tenant)) !== undefined;
  }

  /** How both sides differ, at a timestamp of now. */
  async diff(tenant: string): Promise<readonly Found[]> {
    const ts = await this.storage.timestamp();
    const record = await this.until(tenant, hasCarried(ts));
    const sides = sidesOf({ pd: this.address }, new Map(), record);
    try {
      const { differences } = await diff({ ...sides, ts, throttle: new Throttle() });
      const found: Found[] = [];
      for (const one of differences) {
        const key = Buffer.from(one.key, 'hex');
        const [source, target] = [await valueAt(sides.source, key, ts), await valueAt(sides.target, key, ts)];
        found.push({ ...one, ts, source, target });
      }
      return found;
    } finally {
      sides.close();
    }
  }

  /** Number of keys that the store has at a place of a tenant. */
  async keysAt(name: string, place: Place): Promise<number> {
    const { number } = this.tenants.find((one) => one.name === name)!;
    const { start, end } = spaceOf({ name, number, ...place } as Tenant);
    return (await this.stack.store.inspect.values(start, end)).length;
  }
}
