/** Refuses a mesh file that leaves open which storage layer a tenant is in, or says two things about it. */
import { fail, record } from '../manifests/mesh-file.ts';
import {
  entriesOf,
  SIDE_FIELDS,
  sideOf,
  type NamedStorage,
  type Placed,
  type PlacedTenant,
  type Side,
} from './placed.ts';
import { captured } from './principal.ts';

/** @throws MeshFileError */
export function mustBePlaced(mesh: Placed): void {
  const { storages, pluginConfig } = mesh;
  storagesDiffer(storages);
  for (const [i, { mayActFor }] of (pluginConfig.rules ?? []).entries())
    if (mayActFor !== undefined)
      fail(
        `pluginConfig.rules[${i}].mayActFor`,
        'follows from movedFrom and storages[].principal: leave the rule out',
      );
  const placed = new Map<string, string>();
  for (const [i, tenant] of pluginConfig.tenants.entries()) {
    const where = `pluginConfig.tenants[${i}]`;
    const at = servingStorage(tenant, where, storages);
    const other = placed.get(tenant.name);
    if (other !== undefined && other !== at)
      fail(where, `tenant "${tenant.name}" is served by two storages, "${other}" and "${at}"`);
    placed.set(tenant.name, at);
    sidesFit(tenant, where, storages);
    if (tenant.movedFrom !== undefined)
      envoysAreKnown(mesh, sideOf(tenant.movedFrom).storage, tenant.name, at);
  }
  clusterIdsFit(mesh);
}

function storagesDiffer(storages: readonly NamedStorage[]): void {
  for (const [i, { name, clusterId }] of storages.entries()) {
    const twin = storages.findIndex((other) => other.name === name);
    if (twin !== i) fail(`storages[${i}].name`, `storages[${twin}] is called "${name}", too`);
    const same = storages.findIndex((other) => other.clusterId === clusterId);
    if (clusterId !== undefined && same !== i)
      fail(`storages[${i}].clusterId`, `storages[${same}] has it, too: they would be one PD`);
  }
}

const namesOf = (storages: readonly NamedStorage[]): string[] => storages.map(({ name }) => name);

function mustBeKnown(at: unknown, where: string, storages: readonly NamedStorage[]): void {
  const names = namesOf(storages);
  if (!names.includes(at as string))
    fail(where, `"${String(at)}" is not in storages; known here: ${names.join(', ')}`);
}

/** The storage that serves a tenant. With one storage there is nothing to say. */
function servingStorage(
  { storage, servedBy }: PlacedTenant,
  where: string,
  storages: readonly NamedStorage[],
): string {
  if (servedBy !== undefined)
    fail(
      `${where}.servedBy`,
      `follows from "movedFrom": write storage: ${servedBy} and movedFrom: <the other>`,
    );
  if (storage !== undefined) mustBeKnown(storage, `${where}.storage`, storages);
  else if (storages.length > 1)
    fail(where, `says no storage: add storage: ${namesOf(storages).join(' or ')}`);
  return storage ?? storages[0]?.name ?? '';
}

/** Of the storages of one tenant, each is another. */
function sidesFit(tenant: PlacedTenant, where: string, storages: readonly NamedStorage[]): void {
  const owners = new Map([[tenant.storage ?? storages[0]?.name ?? '', 'serves the tenant']]);
  for (const field of ['movedFrom', 'movesTo'] as const) {
    const value = tenant[field];
    if (value === undefined) continue;
    const side = readSide(value, `${where}.${field}`, storages);
    const owner = owners.get(side.storage);
    if (owner !== undefined)
      fail(`${where}.${field}`, `storage "${side.storage}" ${owner}: name another one`);
    owners.set(side.storage, `is its ${field}`);
    if (field === 'movesTo') mustStayClosed(side, tenant, `${where}.movesTo`);
  }
}

function readSide(value: string | Side, where: string, storages: readonly NamedStorage[]): Side {
  if (typeof value === 'string') mustBeKnown(value, where, storages);
  else {
    record(value, where, SIDE_FIELDS);
    if (value.storage === undefined) fail(where, 'says no storage');
    mustBeKnown(value.storage, `${where}.storage`, storages);
  }
  return sideOf(value);
}

/** What is there of the tenant must not be open beside the storage that serves it. */
function mustStayClosed(side: Side, tenant: PlacedTenant, where: string): void {
  if ((side.number ?? tenant.number) === 0)
    fail(where, 'has number 0, which is for what was there first and is always open: add a number');
  if (side.state !== undefined && side.state !== 'suspended')
    fail(`${where}.state`, 'is suspended until the tenant has moved: leave it out');
}

/** Who hands a tenant over is told by the certificates of its Envoys alone. */
function envoysAreKnown({ storages, pluginConfig }: Placed, from: string, tenant: string, at: string): void {
  const { rules = [], tenants } = pluginConfig;
  const i = storages.findIndex(({ name }) => name === from);
  const where = `storages[${i}].principal`;
  const principal = storages[i]?.principal;
  if (principal === undefined)
    fail(where, `is missing: storage "${at}" serves its tenant "${tenant}", and must know its Envoys by it`);
  const first = rules.findIndex((rule) => captured(rule.principal ?? '', principal) !== undefined);
  const rule = rules[first];
  const owner = rule?.tenant ?? captured(rule?.principal ?? '', principal);
  if (tenants.some(({ name }) => name === owner))
    fail(where, `is tenant "${owner}" by rules[${first}]: give the Envoys certificates of their own`);
}

/** PD has one id, whatever clients are shown. */
function clusterIdsFit({ storages, pluginConfig }: Placed): void {
  const ids = new Map(
    storages.flatMap(({ name, clusterId }, i) =>
      clusterId === undefined ? [] : [[name, { id: clusterId, where: `storages[${i}].clusterId` }]],
    ),
  );
  for (const [i, tenant] of pluginConfig.tenants.entries())
    for (const { storage, where, tenant: there } of entriesOf(
      tenant,
      `pluginConfig.tenants[${i}]`,
      storages,
    )) {
      const id = there.clusterId?.own;
      if (id === undefined) continue;
      const known = ids.get(storage);
      if (known && known.id !== String(id))
        fail(
          `${where}.clusterId.own`,
          `is ${id}, and ${known.where} is ${known.id}: PD of "${storage}" has one id`,
        );
      ids.set(storage, known ?? { id: String(id), where: `${where}.clusterId.own` });
    }
}
