/**
 * Several storage layers of one mesh file, each with PDs, a store and an Envoy of its own, and tenants that move between them. The worker
 * changes the file, and the product makes the filters' configuration of it.
 */
import { mkdtempSync, readFileSync, rmSync, unwatchFile, watchFile, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createBetween } from '../../src-ts/move/between.ts';
import type { Clusters } from '../../src-ts/move/clusters.ts';
import { diff, type Difference } from '../../src-ts/move/engine/diff.ts';
import { makeEngine, sidesOf } from '../../src-ts/move/engine/engine-of.ts';
import { fileMesh, filtersAt } from '../../src-ts/move/filters/file-mesh.ts';
import type { Mesh } from '../../src-ts/move/filters/mesh.ts';
import { findMove, moveOf, type MoveRecord, type Throttle as Rates } from '../../src-ts/move/record.ts';
import { shareNext } from '../../src-ts/move/filters/share-next.ts';
import type { Tools } from '../../src-ts/move/steps/tools.ts';
import { Throttle } from '../../src-ts/move/engine/throttle.ts';
import { ask, fulfilled } from '../../src-ts/move/wishes.ts';
import { work } from '../../src-ts/move/worker.ts';
import type { Acknowledgement } from '../../src-ts/tenants/mesh-status.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { timestamp } from '../../src-ts/pd/timestamp.ts';
import { readEnvoyMesh } from '../../src-ts/standalone/mesh.ts';
import { type PlacedTenant } from '../../src-ts/storages/placed.ts';
import { partOf } from '../../src-ts/storages/plugin-config.ts';
import { addTenant } from '../../src-ts/tenants/add.ts';
import { findTenant } from '../../src-ts/tenants/edit.ts';
import { spaceOf, type Tenant } from '../../src-ts/tenants/tenant.ts';
import { TRUST_DOMAIN, type CertFiles } from '../harness/stack/certs.ts';
import { freePorts } from '../harness/stack/ports.ts';
import {
  startStack,
  SYSTEM_PRINCIPAL,
  type PluginConfig,
  type Stack,
  type StackOptions,
} from '../harness/stack/stack.ts';
import { follows, hasCarried, LOOK_MS, recordUntil, WAIT_MS } from '../move/waiting.ts';

export { WAIT_MS };

/** How often the file is looked at where another process writes it. */
const WATCH_MS = 20;

/** One storage layer. */
export interface Layer {
  readonly name: string;
  readonly stack: Stack;
  /** All members of PD, past the mesh. */
  readonly address: string;
  readonly pd: Endpoint;
  /** Every address that PD and the store advertise. */
  readonly urls: readonly string[];
  readonly envoys: readonly Endpoint[];
  /** The filter's configuration without tenants. */
  readonly standard: PluginConfig;
}

const proxyOf = (name: string): string => `spiffe://${TRUST_DOMAIN}/ns/proxies/sa/${name}`;
const address = (port: number): string => `127.0.0.1:${port}`;

export class Layers {
  readonly said: string[] = [];
  private readonly layers = new Map<string, Layer>();
  private readonly folder = mkdtempSync(join(tmpdir(), 'tidb-mesh-layers-'));
  /** The mesh file. */
  readonly file = join(this.folder, 'mesh.json');
  /** What the filters follow, where that is not the mesh file itself. */
  private copy: string | undefined;
  /** Whose PD has the record. */
  private home = '';
  private stopping = new AbortController();
  private working: Promise<void> | undefined;

  private constructor(readonly tenants: readonly Tenant[]) {}

  /** Whose name need not be given. */
  private get first(): string {
    return this.tenants[0]?.name ?? '';
  }

  /**
   * Starts the layers; the tenants are served by the first one, and added to all.
   * @param options of each layer's stack, by its name
   */
  static async start(
    names: readonly string[],
    tenants: readonly Tenant[],
    options: Readonly<Record<string, StackOptions>> = {},
  ): Promise<Layers> {
    const all = new Layers(tenants);
    try {
      await all.startAll(names, options);
      return all;
    } catch (error) {
      await all.end();
      throw error;
    }
  }

  private async startAll(
    names: readonly string[],
    options: Readonly<Record<string, StackOptions>>,
  ): Promise<void> {
    const all = new Map<string, number[]>();
    for (const name of names) all.set(name, await freePorts(options[name]?.pds ?? 1));
    const portsOf = (name: string): readonly number[] => all.get(name) ?? [];
    writeFileSync(this.file, JSON.stringify(fileOf(names, portsOf, this.tenants), undefined, 2));
    let certs: Stack['certs'] | undefined;
    for (const name of names) {
      let standard!: PluginConfig;
      const stack = await startStack({
        watched: true,
        startTidbs: false,
        boundaries: false,
        pdPort: portsOf(name),
        others: names
          .filter((other) => other !== name)
          .map((other) => ({ name: other, pd: portsOf(other), principal: proxyOf(name) })),
        ...(certs ? { certs } : {}),
        pluginConfig: (made: PluginConfig) => this.configOf(name, (standard = made)),
        ...options[name],
      });
      certs = stack.certs;
      const address = stack.pds.map(({ directUrl }) => directUrl).join(',');
      const pd = new Endpoint({ pd: address });
      const client = await certs.client(SYSTEM_PRINCIPAL);
      const urls = [...stack.pds, stack.store].map(({ meshAddress }) => `https://${meshAddress}`);
      const envoys = urls.map((url) => new Endpoint({ pd: url, ...client }));
      this.layers.set(name, { name, stack, address, pd, urls, envoys, standard });
      for (const tenant of this.tenants)
        await addTenant(pd, tenant, { withData: false, timeoutMs: WAIT_MS, tell: () => undefined });
    }
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
    if (this.copy !== undefined) unwatchFile(this.copy);
    await Promise.all([...this.layers.values()].map(({ stack }) => stack.stop()));
    rmSync(this.folder, { recursive: true, force: true });
  }

  private get text(): string {
    return readFileSync(this.copy ?? this.file, 'utf8');
  }

  /** What the mesh file says of a tenant. */
  entry(name = this.first): PlacedTenant {
    return findTenant(readFileSync(this.file, 'utf8'), this.file, name).tenant as unknown as PlacedTenant;
  }

  /** What the filters of a layer are told, as `render` makes it of the mesh file. */
  private configOf(name: string, standard: PluginConfig): PluginConfig {
    const { tenants, rules } = partOf(readEnvoyMesh(this.text), name).config;
    const own = (rules ?? []) as PluginConfig['rules'];
    return { ...standard, tenants: tenants as PluginConfig['tenants'], rules: own };
  }

  /** Changes a tenant's entry by hand, and brings the file to all Envoys. */
  async edit(change: (entry: Record<string, unknown>) => void, name = this.first): Promise<void> {
    const { whole, tenant } = findTenant(readFileSync(this.file, 'utf8'), this.file, name);
    change(tenant);
    writeFileSync(this.file, JSON.stringify(whole, undefined, 2));
    await this.deliver();
  }

  /** Brings the file as it is to all filters. */
  private readonly deliver = shareNext(async () => {
    const all = [...this.layers.values()];
    await Promise.all(all.map(({ name, stack, standard }) => stack.configure(this.configOf(name, standard))));
  });

  /** Has the filters follow a copy of the file, whoever makes it. @returns where the copy is to be */
  watchCopy(): string {
    this.copy = `${this.file}.copy`;
    writeFileSync(this.copy, readFileSync(this.file));
    watchFile(this.copy, { interval: WATCH_MS }, () => void this.deliver());
    return this.copy;
  }

  private get mesh(): Mesh {
    const others = [...this.layers.values()].filter(({ name }) => name !== this.home);
    const mesh = fileMesh(this.file, undefined, this.homeLayer.envoys, {
      others: new Map(others.map(({ name, envoys, pd }) => [name, { ...filtersAt(envoys), pd }])),
    });
    return {
      ...mesh,
      tell: async (tenant, orders) => {
        await mesh.tell(tenant, orders);
        await this.deliver();
      },
    };
  }

  /** How to reach the layers beside the one with the record. */
  get clusters(): Clusters {
    const others = [...this.layers.values()].filter(({ name }) => name !== this.home);
    return new Map(others.map(({ name, address }) => [name, { pd: address }]));
  }

  private get reach(): { pd: string } {
    return { pd: this.homeLayer.address };
  }

  /** Options by which a command of moves reaches two layers; the first one's PD has the record. */
  async reachOf(home: string, other: string): Promise<string[]> {
    const files = await this.of(home).stack.certs.client(SYSTEM_PRINCIPAL);
    const pdOf = ({ urls }: Layer): string => urls.slice(0, -1).join(',');
    const storages = join(this.folder, 'storages.json');
    const { urls } = this.of(other);
    const reached = { ...files, pd: pdOf(this.of(other)), envoys: urls.join(',') };
    writeFileSync(storages, JSON.stringify({ storages: { [other]: reached } }));
    const { cert, key, ca } = files;
    return [
      ...['--pd', pdOf(this.of(home)), '--cert', cert, '--key', key, '--ca', ca],
      ...['--storages', storages],
    ];
  }

  /** Begins a move, as `tidb-mesh move create` does. */
  async begin(from: string, to: string, name = this.first, throttle?: Rates): Promise<MoveRecord> {
    const tenant = { ...this.entry(name), storage: undefined };
    this.home = to;
    return createBetween({
      tenant: tenant as Tenant,
      from: { name: from, pd: this.of(from).pd },
      to: { name: to, pd: this.of(to).pd },
      ...(throttle ? { throttle } : {}),
    });
  }

  startWorker(tools: Partial<Tools> = {}): void {
    this.stopping = new AbortController();
    this.working = work(
      {
        pd: this.homeLayer.pd,
        mesh: this.mesh,
        id: 'the test',
        isGone: () => true,
        limits: { calmMs: 15_000, obeyMs: 30_000, holdMs: 30_000, maxLagMs: 15_000 },
        engineOf: (record, isMine) => this.engineOf(record, isMine),
        tell: (line) => this.said.push(line),
        ...tools,
      },
      this.stopping.signal,
    );
  }

  readonly engineOf = (
    record: MoveRecord,
    isMine: () => Promise<void>,
    all = new Throttle(),
  ): ReturnType<typeof makeEngine> => makeEngine(this.reach, record, this.clusters, all, isMine);

  async stopWorker(): Promise<void> {
    this.stopping.abort();
    await this.working;
    this.working = undefined;
  }

  /** PD may be down for a while. */
  async record(name = this.first): Promise<MoveRecord> {
    const deadline = Date.now() + WAIT_MS;
    for (;;)
      try {
        return (await moveOf(this.homeLayer.pd, name)).record;
      } catch (error) {
        if (String(error).includes('is not being moved') || Date.now() > deadline) throw error;
        await sleep(LOOK_MS * 4);
      }
  }

  until(
    isWanted: (record: MoveRecord) => boolean,
    name = this.first,
    timeoutMs = WAIT_MS,
  ): Promise<MoveRecord> {
    return recordUntil(isWanted, { read: () => this.record(name), said: this.said, timeoutMs });
  }

  follows(name = this.first): Promise<MoveRecord> {
    return this.until(follows, name);
  }

  /** Asks for a switch, there or back, and waits until it is done. @throws CommandError with why it is not */
  async switches(name = this.first, timeoutMs = WAIT_MS): Promise<MoveRecord> {
    const { from, switches: before } = await this.follows(name);
    // A switch is refused while the target is far behind, as it is right after a copy.
    await this.until(hasCarried(await timestamp(this.of(from.storage ?? '').pd)), name);
    const verb = before % 2 === 0 ? 'switch' : 'reverse';
    const { pd } = this.homeLayer;
    const { switches } = await ask(pd, name, verb);
    const options = { verb, switches, timeoutMs, tell: () => undefined } as const;
    const record = await fulfilled(pd, name, options);
    if (!record) throw new Error('the move has ended');
    return record;
  }

  /** Asks to complete or to cancel, and waits until nothing is left of the move. */
  async finish(verb: 'complete' | 'cancel', name = this.first): Promise<void> {
    const { pd } = this.homeLayer;
    await ask(pd, name, verb);
    await fulfilled(pd, name, { verb, timeoutMs: WAIT_MS, tell: () => undefined });
  }

  async isMoving(name = this.first): Promise<boolean> {
    return (await findMove(this.homeLayer.pd, name)) !== undefined;
  }

  /** How both sides differ, at a timestamp of now. */
  async diff(name = this.first): Promise<readonly Difference[]> {
    const { from } = await this.follows(name);
    const ts = await timestamp(this.of(from.storage ?? '').pd);
    const record = await this.until(hasCarried(ts), name);
    const sides = sidesOf(this.reach, this.clusters, record);
    try {
      return (await diff({ ...sides, ts, throttle: new Throttle() })).differences;
    } finally {
      sides.close();
    }
  }

  /** Number of keys that a layer's store has of a tenant. */
  async keysAt(layer: string, name = this.first): Promise<number> {
    const { start, end } = spaceOf(this.tenants.find((one) => one.name === name)!);
    return (await this.of(layer).stack.store.inspect.values(start, end)).length;
  }

  /** What the VMs of a layer know of moves. */
  async movesAt(layer: string): Promise<readonly Acknowledgement[]> {
    return (await filtersAt(this.of(layer).envoys).vms()).flatMap(({ moves }) => moves);
  }

  /** The certificate of one of the tenant's TiDBs. */
  async clientCerts(): Promise<CertFiles> {
    const [first] = this.layers.values();
    if (!first) throw new Error('there is no storage layer');
    return first.stack.certs.client(`spiffe://${TRUST_DOMAIN}/ns/${this.first}/sa/tidb`);
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
      if (told.tenant === this.first && after > 0) last.set(plain, Math.max(last.get(plain) ?? 0, after));
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

/** `p50 / worst` */
export function spread(values: readonly number[]): string {
  const sorted = [...values].sort((a, b) => a - b);
  return `${sorted[Math.floor(sorted.length / 2)] ?? NaN} / ${sorted.at(-1) ?? NaN}`;
}

/** A mesh file; only names, principals and tenants are read of it here. */
function fileOf(
  names: readonly string[],
  portsOf: (name: string) => readonly number[],
  moving: readonly Tenant[],
): object {
  return {
    target: 'envoy',
    storages: names.map((name, i) => ({
      name,
      principal: proxyOf(name),
      pd: portsOf(name).map((port, n) => ({ advertise: address(port), server: address(100 + 10 * i + n) })),
      tikv: [{ advertise: address(2 + 3 * i), server: address(3 + 3 * i) }],
    })),
    pluginConfig: {
      tenants: [
        ...moving.map((tenant) => ({ ...tenant, storage: names[0] })),
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
