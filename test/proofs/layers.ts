/**
 * Several storage layers of one mesh file, each with a PD, a store and an Envoy of its own, and a tenant that moves between them. The mesh
 * file is a text that the worker changes as it changes a file, and the product makes the filters' configuration of it.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { createBetween } from '../../src-ts/move/between.ts';
import type { Clusters } from '../../src-ts/move/clusters.ts';
import { withOrders } from '../../src-ts/move/config.ts';
import { diff, type Difference } from '../../src-ts/move/diff.ts';
import { makeEngine, sidesOf } from '../../src-ts/move/engine-of.ts';
import { filtersAt } from '../../src-ts/move/file-mesh.ts';
import type { Mesh } from '../../src-ts/move/mesh.ts';
import { placeOf, type Place } from '../../src-ts/move/place.ts';
import { findMove, moveOf, type MoveRecord } from '../../src-ts/move/record.ts';
import type { Tools } from '../../src-ts/move/steps.ts';
import { Throttle } from '../../src-ts/move/throttle.ts';
import { ask, fulfilled } from '../../src-ts/move/wishes.ts';
import { work } from '../../src-ts/move/worker.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { timestamp } from '../../src-ts/pd/timestamp.ts';
import { readEnvoyMesh } from '../../src-ts/standalone/mesh.ts';
import { type PlacedTenant } from '../../src-ts/storages/placed.ts';
import { partOf } from '../../src-ts/storages/plugin-config.ts';
import { addTenant } from '../../src-ts/tenants/add.ts';
import { findTenant } from '../../src-ts/tenants/edit.ts';
import type { Tenant } from '../../src-ts/tenants/tenant.ts';
import { TRUST_DOMAIN, type CertFiles } from '../harness/stack/certs.ts';
import { freePorts } from '../harness/stack/ports.ts';
import {
  startStack,
  SYSTEM_PRINCIPAL,
  type PluginConfig,
  type Stack,
  type StackOptions,
} from '../harness/stack/stack.ts';

export const WAIT_MS = 180_000;
const LOOK_MS = 50;
/** Of what the worker said last, in errors. */
const MOST_SAID = 8;

/** One storage layer. */
export interface Layer {
  readonly name: string;
  readonly stack: Stack;
  /** PD itself. */
  readonly pd: Endpoint;
  readonly envoys: readonly Endpoint[];
  /** The filter's configuration without tenants. */
  readonly standard: PluginConfig;
}

const proxyOf = (name: string): string => `spiffe://${TRUST_DOMAIN}/ns/proxies/sa/${name}`;
const address = (port: number): string => `127.0.0.1:${port}`;

export class Layers {
  readonly said: string[] = [];
  private readonly layers = new Map<string, Layer>();
  private text = '';
  /** Whose PD has the record. */
  private home = '';
  private stopping = new AbortController();
  private working: Promise<void> | undefined;
  private last: Promise<unknown> = Promise.resolve();

  private constructor(readonly tenant: Tenant) {}

  /**
   * Starts the layers; the tenant is served by the first one, and added to all.
   * @param options of each layer's stack, by its name
   */
  static async start(
    names: readonly string[],
    tenant: Tenant,
    options: Readonly<Record<string, StackOptions>> = {},
  ): Promise<Layers> {
    const all = new Layers(tenant);
    const ports = await freePorts(names.length);
    const portOf = (name: string): number => ports[names.indexOf(name)] ?? 0;
    all.text = JSON.stringify(fileOf(names, portOf, tenant));
    let certs: Stack['certs'] | undefined;
    for (const name of names) {
      let standard!: PluginConfig;
      const stack = await startStack({
        watched: true,
        startTidbs: false,
        boundaries: false,
        pdPort: portOf(name),
        others: names
          .filter((other) => other !== name)
          .map((other) => ({ name: other, pd: portOf(other), principal: proxyOf(name) })),
        ...(certs ? { certs } : {}),
        pluginConfig: (made: PluginConfig) => all.configOf(name, (standard = made)),
        ...options[name],
      });
      certs = stack.certs;
      const pd = new Endpoint({ pd: stack.pd.directUrl });
      const client = await certs.client(SYSTEM_PRINCIPAL);
      const envoys = [stack.pd, stack.store].map(
        ({ meshAddress }) => new Endpoint({ pd: `https://${meshAddress}`, ...client }),
      );
      all.layers.set(name, { name, stack, pd, envoys, standard });
      await addTenant(pd, tenant, { withData: false, timeoutMs: WAIT_MS, tell: () => undefined });
    }
    return all;
  }

  of(name: string): Layer {
    const layer = this.layers.get(name);
    if (!layer) throw new Error(`there is no storage layer ${name}`);
    return layer;
  }

  /** The layer whose PD has the record. */
  get homeLayer(): Layer {
    return this.of(this.home);
  }

  async end(): Promise<void> {
    await this.stopWorker();
    for (const { pd, envoys } of this.layers.values())
      for (const endpoint of [pd, ...envoys]) endpoint.close();
    await Promise.all([...this.layers.values()].map(({ stack }) => stack.stop()));
  }

  /** What the mesh file says of the tenant. */
  get entry(): PlacedTenant {
    return findTenant(this.text, 'mesh.json', this.tenant.name).tenant as unknown as PlacedTenant;
  }

  /** What the filters of a layer are told, as `render` makes it of the mesh file. */
  private configOf(name: string, standard: PluginConfig): PluginConfig {
    const { tenants, rules } = partOf(readEnvoyMesh(this.text), name).config;
    const own = (rules ?? []) as PluginConfig['rules'];
    return { ...standard, tenants: tenants as PluginConfig['tenants'], rules: own };
  }

  /** Changes the tenant's entry, and brings the file to all Envoys. */
  async edit(change: (entry: Record<string, unknown>) => void): Promise<void> {
    const { whole, tenant } = findTenant(this.text, 'mesh.json', this.tenant.name);
    change(tenant);
    this.text = JSON.stringify(whole);
    await this.deliver();
  }

  private deliver(): Promise<void> {
    const turn = this.last.then(async () => {
      const all = [...this.layers.values()];
      await Promise.all(
        all.map(({ name, stack, standard }) => stack.configure(this.configOf(name, standard))),
      );
    });
    this.last = turn.catch(() => undefined);
    return turn;
  }

  private meshAt(home: string): Mesh {
    const others = [...this.layers.values()].filter(({ name }) => name !== home);
    return {
      ...filtersAt(this.of(home).envoys),
      others: new Map(others.map(({ name, envoys, pd }) => [name, { ...filtersAt(envoys), pd }])),
      tell: (tenant, orders) => {
        this.text = withOrders(this.text, 'mesh.json', tenant, orders);
        return this.deliver();
      },
      placeOf: () => {
        const { storage, ...entry } = this.entry;
        return { ...placeOf({ ...entry }), storage } as Place;
      },
    };
  }

  /** How to reach the layers beside the one with the record. */
  get clusters(): Clusters {
    const others = [...this.layers.values()].filter(({ name }) => name !== this.home);
    return new Map(others.map(({ name, stack }) => [name, { pd: stack.pd.directUrl }]));
  }

  private get reach(): { pd: string } {
    return { pd: this.homeLayer.stack.pd.directUrl };
  }

  /** Begins a move, as `tidb-mesh move create` does. */
  async begin(from: string, to: string): Promise<MoveRecord> {
    const tenant = { ...this.entry, storage: undefined };
    this.home = to;
    return createBetween({
      tenant: tenant as Tenant,
      from: { name: from, pd: this.of(from).pd },
      to: { name: to, pd: this.of(to).pd },
    });
  }

  startWorker(tools: Partial<Tools> = {}): void {
    this.stopping = new AbortController();
    this.working = work(
      {
        pd: this.homeLayer.pd,
        mesh: this.meshAt(this.home),
        id: 'the test',
        isGone: () => true,
        limits: { calmMs: 15_000, obeyMs: 30_000, holdMs: 30_000, maxLagMs: 15_000 },
        engineOf: this.engineOf,
        tell: (line) => this.said.push(line),
        ...tools,
      },
      this.stopping.signal,
    );
  }

  readonly engineOf: Tools['engineOf'] = (record, isMine) =>
    makeEngine(this.reach, record, this.clusters, new Throttle(), isMine);

  async stopWorker(): Promise<void> {
    this.stopping.abort();
    await this.working;
    this.working = undefined;
  }

  async record(): Promise<MoveRecord> {
    return (await moveOf(this.homeLayer.pd, this.tenant.name)).record;
  }

  async until(isWanted: (record: MoveRecord) => boolean, timeoutMs = WAIT_MS): Promise<MoveRecord> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const record = await this.record();
      if (isWanted(record)) return record;
      if (Date.now() > deadline)
        throw new Error(
          `${record.state}, ${record.problem ?? ''}\n${this.said.slice(-MOST_SAID).join('\n')}`,
        );
      await sleep(LOOK_MS);
    }
  }

  follows(): Promise<MoveRecord> {
    return this.until(({ state, wish }) => state === 'following' && wish === undefined);
  }

  /** Asks for a switch, there or back, and waits until it is done. @throws CommandError with why it is not */
  async switches(): Promise<MoveRecord> {
    const { switches: before } = await this.follows();
    const verb = before % 2 === 0 ? 'switch' : 'reverse';
    const { pd } = this.homeLayer;
    const { switches } = await ask(pd, this.tenant.name, verb);
    const options = { verb, switches, timeoutMs: WAIT_MS, tell: () => undefined } as const;
    const record = await fulfilled(pd, this.tenant.name, options);
    if (!record) throw new Error('the move has ended');
    return record;
  }

  /** Asks to complete or to cancel, and waits until nothing is left of the move. */
  async finish(verb: 'complete' | 'cancel'): Promise<void> {
    const { pd } = this.homeLayer;
    await ask(pd, this.tenant.name, verb);
    await fulfilled(pd, this.tenant.name, { verb, timeoutMs: WAIT_MS, tell: () => undefined });
  }

  async isMoving(): Promise<boolean> {
    return (await findMove(this.homeLayer.pd, this.tenant.name)) !== undefined;
  }

  /** How both sides differ, at a timestamp of now. */
  async diff(): Promise<readonly Difference[]> {
    const { from } = await this.follows();
    const ts = await timestamp(this.of(from.storage ?? '').pd);
    const record = await this.until(({ state, progress }) => {
      const { resolvedTs = '0' } = (progress ?? {}) as { resolvedTs?: string };
      return state === 'following' && BigInt(resolvedTs) >= ts;
    });
    const sides = sidesOf(this.reach, this.clusters, record);
    try {
      return (await diff({ ...sides, ts, throttle: new Throttle() })).differences;
    } finally {
      sides.close();
    }
  }

  /** The certificate of one of the tenant's TiDBs. */
  async clientCerts(): Promise<CertFiles> {
    const [first] = this.layers.values();
    if (!first) throw new Error('there is no storage layer');
    return first.stack.certs.client(`spiffe://${TRUST_DOMAIN}/ns/${this.tenant.name}/sa/tidb`);
  }

  /** When the tenant's clients last began a call at a layer, by the path of the call, ms after `from`. Only calls that have ended. */
  async lastCallsAt(name: string, from: number): Promise<Map<string, number>> {
    const last = new Map<string, number>();
    const log = await readFile(this.of(name).stack.envoy!.accessLogPath, 'utf8');
    for (const line of log.split('\n')) {
      if (!line.startsWith('{')) continue;
      const told = JSON.parse(line) as { start: string; path?: string; tenant?: string };
      const [plain = ''] = (told.path ?? '').split('?');
      const after = Date.parse(told.start) - from;
      if (told.tenant === this.tenant.name && after > 0)
        last.set(plain, Math.max(last.get(plain) ?? 0, after));
    }
    return last;
  }

  /** Sets the clock of a layer's PD ahead. It then stands still until the time has caught up with it. */
  async jump(name: string, aheadMs: number): Promise<void> {
    const tso = (BigInt(Date.now() + aheadMs) << 18n).toString();
    const answer = await fetch(`${this.of(name).stack.pd.directUrl}/pd/api/v1/admin/reset-ts`, {
      method: 'POST',
      body: JSON.stringify({ tso, 'force-use-larger': true }),
    });
    if (!answer.ok) throw new Error(`reset-ts: ${answer.status} ${await answer.text()}`);
  }
}

/** A mesh file; only names, principals and tenants are read of it here. */
function fileOf(names: readonly string[], portOf: (name: string) => number, tenant: Tenant): object {
  return {
    target: 'envoy',
    storages: names.map((name, i) => ({
      name,
      principal: proxyOf(name),
      pd: [{ advertise: address(portOf(name)), server: address(1 + 3 * i) }],
      tikv: [{ advertise: address(2 + 3 * i), server: address(3 + 3 * i) }],
    })),
    pluginConfig: {
      tenants: [
        { ...tenant, storage: names[0] },
        // Another tenant of each layer.
        ...names.map((name, i) => ({ name: `of-${name}`, number: 100 + i, storage: name })),
      ],
      rules: [
        { principal: `spiffe://${TRUST_DOMAIN}/ns/storage/sa/*`, system: true },
        { principal: `spiffe://${TRUST_DOMAIN}/ns/{tenant}/sa/*` },
      ],
    },
  };
}
