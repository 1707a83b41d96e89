/** Tells the filters of the mesh where a tenant is and which phase its move is in, and waits until every one of them has obeyed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError } from '../../errors.ts';
import type { Endpoint } from '../../pd/endpoint.ts';
import type { Acknowledgement } from '../../tenants/mesh-status.ts';
import type { State as TenantState } from '../../tenants/tenant.ts';
import type { Place } from '../place.ts';
import { missingText, statusesOf, type Answers, type SeenEnvoy, type SeenEnvoys } from './envoys.ts';

/** What the filter does with a tenant that is being moved (docs/move.md#phases). */
export const PHASES = ['prepare', 'calm', 'drain', 'fence', 'final', 'over'] as const;
export type Phase = (typeof PHASES)[number];

export interface Order {
  readonly serial: number;
  readonly phase: Phase;
  /** When the filter stops to hold requests by itself, ms since 1970. */
  readonly until?: number;
}

/** What the configuration says of a tenant, as far as moves are concerned. */
export interface Orders {
  /** In the mesh, never a cluster outside of it. */
  readonly place: Place;
  /** What the move sets. Without one, the operator's stays as it is. */
  readonly state?: TenantState;
  readonly move?: Order;
  /** What the filters of the other storage layer are told, when the tenant moves between two. */
  readonly other?: OtherSide;
}

/** The tenant's entry at a storage layer that does not serve it, as the mesh file names it. */
export interface OtherSide {
  /** `movesTo`: nothing passes there. `movedFrom`: its calls are handed over to the storage layer that serves the tenant. */
  readonly as: 'movesTo' | 'movedFrom';
  readonly place: Place;
  readonly move?: Order;
}

export interface Vm {
  /** `host:port (VM 3)` */
  readonly name: string;
  /** It has told nothing for ten seconds. */
  readonly stale: boolean;
  readonly moves: readonly Acknowledgement[];
  /** Of a whole Envoy that does not answer any more and may live: in words. */
  readonly missing?: string;
}

/** The Envoys in front of one storage layer. */
export interface Filters {
  /** `host:port` of the Envoys that are asked. */
  readonly hosts: readonly string[];
  /**
   * All VMs of all of them.
   * @param ageMs how old the answer may be; moves beside each other share it
   */
  vms(ageMs?: number): Promise<Vm[]>;
  /** Addresses at which Envoys answer that `vms` does not ask: clients reach them, and nobody would wait for them. */
  hidden?(): Promise<string[]>;
  /** The Envoys that have answered so far, and may live. */
  seen?(): readonly SeenEnvoy[];
  /** Waits for these as well, which another worker has seen. */
  recall?(seen: readonly SeenEnvoy[]): void;
}

/** The Envoys in front of a storage layer that has another PD than the record of the move. */
export interface OtherFilters extends Filters {
  readonly pd: Endpoint;
}

/** The configuration of all filters, and the Envoys in front of the storage layer whose PD has the records. */
export interface Mesh extends Filters {
  /** Those of other storage layers, by their names. */
  readonly others?: ReadonlyMap<string, OtherFilters>;
  /** Changes what the configuration says of a tenant. Resolves when it is on its way. */
  tell(tenant: string, orders: Orders): Promise<void>;
  /** Where the configuration has the tenant, as far as it can be read; what others write there shows. */
  placeOf?(tenant: string): Place | undefined;
  /** The highest serial of a move of the tenant there; 0 without one. */
  serialOf?(tenant: string): number;
  /** The tenant's state there. @throws CommandError when that cannot be read */
  stateOf?(tenant: string): TenantState;
}

/** The VMs of these Envoys, and of those that were seen there before. @throws CommandError when one does not answer */
export async function vmsOf(envoys: readonly Endpoint[], seen?: SeenEnvoys): Promise<Vm[]> {
  const answers = await Promise.all(
    envoys.map(async (envoy): Promise<Answers> => ({ envoy, all: await statusesOf(envoy) })),
  );
  const vms = answers.flatMap(({ envoy, all }) =>
    all.flatMap(({ address, status }) =>
      status.vms.map(({ id, stale, moves = [] }) => ({
        name: `${envoy.url.host} (${all.length > 1 ? `${address}, ` : ''}VM ${id})`,
        stale,
        moves,
      })),
    ),
  );
  const missing = seen?.note(answers) ?? [];
  return [...vms, ...missing.map(missingVm)];
}

function missingVm(envoy: SeenEnvoy): Vm {
  return {
    name: `${envoy.host} (${envoy.at.join(', ')})`,
    stale: true,
    moves: [],
    missing: missingText(envoy),
  };
}

/** Not every VM has obeyed in time. */
export class NotObeyed extends CommandError {
  constructor(tenant: string, order: Order | undefined, names: readonly string[]) {
    const what = order ? `phase ${order.phase} of serial ${order.serial}` : 'the end of the move';
    super(
      'REFUSED',
      `${tenant}: ${what} is not acknowledged by ${names.join(', ')}`,
      'see if the configuration reaches that Envoy in time, if its clock is right, and if its worker still runs',
    );
    this.name = 'NotObeyed';
  }
}

/** A VM has obeyed a higher serial of the tenant, of a former move. It holds the tenant, and would for ever. */
export class Outdated extends CommandError {
  constructor(
    tenant: string,
    vm: string,
    { serial }: Order,
    /** The highest one that a VM has obeyed. */
    readonly latestSerial: number,
  ) {
    super(
      'REFUSED',
      `${tenant}: serial ${serial} of its move is below ${latestSerial}, which ${vm} has obeyed; it holds the tenant`,
      'see where the tenant is served, and end the move that is right: docs/move.md#to-tell-the-end-of-a-move-by-hand',
    );
    this.name = 'Outdated';
  }
}

/** @throws Outdated when a VM that has got this order knows a later one */
function mustNotBeOutdated(vms: readonly Vm[], tenant: string, order: Order): void {
  let latest = 0;
  let where = '';
  for (const { name, moves } of vms)
    for (const { tenant: one, serial, latestSerial = 0 } of moves)
      if (one === tenant && serial === order.serial && latestSerial > Math.max(latest, serial))
        [latest, where] = [latestSerial, name];
  if (latest > 0) throw new Outdated(tenant, where, order, latest);
}

/** What must be over at a VM before the next step. */
export interface Quiet {
  readonly writes?: boolean;
  readonly finishes?: boolean;
  /** What no change feed shows, and was let through before. */
  readonly bulk?: boolean;
}

/** How an order is to be obeyed. */
export interface Terms extends Quiet {
  readonly timeoutMs: number;
  /** A VM may have got the order when its time was over already: it is where the order says, and holds nothing. */
  readonly mayBeOver?: boolean;
}

/** A hold has an end by the worker's clock. A VM that gets it later, or whose clock is ahead, lets everything go on. */
function isOver({ moves }: Vm, tenant: string, order: Order | undefined): boolean {
  return moves.some((one) => one.tenant === tenant && one.serial === order?.serial && one.lifted);
}

function obeys(
  { moves }: Vm,
  tenant: string,
  order: Order | undefined,
  quiet: Omit<Terms, 'timeoutMs'>,
): boolean {
  // One for each plugin that the VM runs.
  const said = moves.filter((one) => one.tenant === tenant);
  if (!order) return said.length === 0;
  const isObeyed = (one: Acknowledgement): boolean =>
    one.serial === order.serial &&
    one.phase === order.phase &&
    (!one.lifted || quiet.mayBeOver === true) &&
    (!quiet.writes || one.writesOutstanding === 0) &&
    (!quiet.finishes || one.finishesOutstanding === 0) &&
    (!quiet.bulk || one.bulkOutstanding === 0);
  return said.length > 0 && said.every(isObeyed);
}

const PAUSE_MS = 20;

/**
 * Waits until every VM says that it obeys the order, and that nothing is outstanding there of what must be over. Without an order: that no
 * VM knows of a move any more.
 * @throws NotObeyed with the names of the others at the timeout
 * @throws Outdated at once, where no waiting helps
 */
export async function obeyed(
  filters: Pick<Filters, 'vms'>,
  tenant: string,
  order: Order | undefined,
  { timeoutMs, ...quiet }: Terms,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const { writes, finishes, bulk } = quiet;
    // One that does not answer learns nothing new. It counts where something must be over there.
    const counts = [writes, finishes, bulk].includes(true);
    const vms = (await filters.vms()).filter(({ missing }) => counts || missing === undefined);
    const isQuiet = (vm: Vm): boolean => obeys(vm, tenant, order, quiet);
    const { mayBeOver = false } = quiet;
    const text = (vm: Vm): string => {
      if (vm.missing !== undefined) return `${vm.name}, which ${vm.missing}`;
      if (obeys(vm, tenant, order, { mayBeOver })) return `${vm.name}, where requests are still on their way`;
      return isOver(vm, tenant, order) ? `${vm.name}, where it was over already` : vm.name;
    };
    const others = vms.filter((vm) => !isQuiet(vm)).map(text);
    if (others.length === 0 && vms.length > 0) return;
    if (order) mustNotBeOutdated(vms, tenant, order);
    if (Date.now() > deadline) throw new NotObeyed(tenant, order, others.length > 0 ? others : ['any VM']);
    await sleep(PAUSE_MS);
  }
}

/** Tells the filters, and waits until all obey. */
export async function order(mesh: Mesh, tenant: string, orders: Orders, terms: Terms): Promise<void> {
  await mesh.tell(tenant, orders);
  await obeyed(mesh, tenant, orders.move, terms);
}
