/** The mesh as a file and a command: the mover changes the file, and the command brings it to the Envoys. */
import { readFileSync } from 'node:fs';
import { CommandError } from '../../errors.ts';
import type { Endpoint } from '../../pd/endpoint.ts';
import { changeFileAlone } from '../../replace-file.ts';
import { findTenant } from '../../tenants/edit.ts';
import type { State as TenantState } from '../../tenants/tenant.ts';
import { placeOf, type Place } from '../place.ts';
import { serialIn, withOrders } from './config.ts';
import { GONE_AFTER_MS, hiddenBehind, SeenEnvoys } from './envoys.ts';
import { vmsOf, type Filters, type Mesh, type OtherFilters, type Vm } from './mesh.ts';
import { shareNext } from './share-next.ts';
import { shell } from './shell.ts';

const APPLY_MS = 60_000;
/** Of what the command says. */
const MOST_SAID = 300;

async function deliver(apply: string, file: string, timeoutMs: number): Promise<void> {
  try {
    await shell(apply, file, timeoutMs);
  } catch (error) {
    throw new CommandError(
      'REFUSED',
      `--apply ${apply}: ${(error as Error).message.slice(-MOST_SAID)}`,
      'run the command by hand; the move goes on when it succeeds',
      { cause: error },
    );
  }
}

interface FileMeshOptions {
  readonly applyMs?: number;
  /** The Envoys of other storage layers that the file has. */
  readonly others?: ReadonlyMap<string, OtherFilters>;
  /** How long an Envoy counts that does not answer any more. */
  readonly goneAfterMs?: number;
  /** Throws when the file must not be brought to the Envoys, for what it says of other tenants than this one. */
  readonly check?: (text: string, tenant: string) => Promise<void>;
}

/** Envoys at these addresses. */
export function filtersAt(envoys: readonly Endpoint[], goneAfterMs = GONE_AFTER_MS): Filters {
  const hosts = envoys.map(({ url }) => url.host);
  const seen = new SeenEnvoys(goneAfterMs);
  let looked: { readonly at: number; readonly vms: Promise<Vm[]> } | undefined;
  const lookAnew = shareNext(() => {
    looked = { at: Date.now(), vms: vmsOf(envoys, seen) };
    return looked.vms;
  });
  return {
    hosts,
    seen: () => seen.all(),
    recall: (all) => seen.recall(all.filter(({ host }) => hosts.includes(host))),
    vms: (ageMs = 0) => (looked && Date.now() - looked.at < ageMs ? looked.vms : lookAnew()),
    hidden: shareNext(() => hiddenBehind(envoys)),
  };
}

/**
 * @param file a mesh file or pluginConfig
 * @param apply a shell command, which gets the file's path as `$1`; none where the Envoys watch the file itself
 */
export function fileMesh(
  file: string,
  apply: string | undefined,
  envoys: readonly Endpoint[],
  { applyMs = APPLY_MS, others, goneAfterMs, check }: FileMeshOptions = {},
): Mesh {
  /** Brings the file as it is, or later, to the Envoys. */
  const delivered = shareNext(async () => {
    if (apply !== undefined) await deliver(apply, file, applyMs);
  });
  return {
    ...filtersAt(envoys, goneAfterMs),
    ...(others ? { others } : {}),
    tell: async (tenant, orders) => {
      await changeFileAlone(file, (text) => withOrders(text, file, tenant, orders));
      // Behind the change: of two tenants whose places are old, each worker writes its own.
      await check?.(readFileSync(file, 'utf8'), tenant);
      await delivered();
    },
    serialOf: (tenant) => {
      try {
        return serialIn(findTenant(readFileSync(file, 'utf8'), file, tenant).tenant);
      } catch {
        return 0;
      }
    },
    stateOf: (tenant) =>
      (findTenant(readFileSync(file, 'utf8'), file, tenant).tenant as { state?: TenantState }).state ??
      'active',
    placeOf: (tenant) => {
      try {
        const entry = findTenant(readFileSync(file, 'utf8'), file, tenant).tenant as Place;
        return { ...placeOf(entry), ...(entry.storage === undefined ? {} : { storage: entry.storage }) };
      } catch {
        // Whoever edits it may not have finished.
        return undefined;
      }
    },
  };
}
