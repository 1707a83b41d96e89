/** A mesh file with Istio for several storage layers: a mesh file for each is made of it. */
import { parseDocument } from 'yaml';
import { NAMED_FIELDS, readNamed } from '../storages/named.ts';
import type { NamedStorage, PlacedConfig } from '../storages/placed.ts';
import { partOf, type Part } from '../storages/plugin-config.ts';
import { mustBePlaced } from '../storages/unambiguous.ts';
import { fail, list, meshFileOf, mustBeObjects, record, valueOf, type MeshFile } from './mesh-file.ts';
import type { Target } from './target.ts';

/** A storage layer, and all that is rendered for it. */
export interface StorageMesh {
  readonly name: string;
  readonly mesh: MeshFile;
  readonly part: Part;
}

export interface SeveralMeshFiles {
  readonly target: Target;
  readonly storages: readonly StorageMesh[];
  /** Of all storages together. */
  readonly pluginConfig: PlacedConfig;
}

interface Given extends NamedStorage {
  readonly layer: { readonly namespace: unknown; readonly cluster: unknown };
}

export function isSeveral(mesh: object): mesh is SeveralMeshFiles {
  return 'storages' in mesh && 'target' in mesh && mesh.target !== 'envoy';
}

/** @throws MeshFileError */
export function readSeveral(source: string): SeveralMeshFiles {
  const root = valueOf(parseDocument(source, { merge: true })) as Record<string, unknown>;
  const { storages, ...common } = root;
  if (common['storage'] !== undefined) fail('storage', 'is one of "storages": leave it out');
  if (common['operator'] === 'v2')
    fail(
      'operator',
      'v2 has a layer\'s tenants in its namespace: write a mesh file for each, with "storage"',
    );
  const given = list(storages, 'storages').map((one, i) => readStorage(one, `storages[${i}]`));
  const read = given.map(({ name, layer }, i) => ({
    name,
    mesh: meshFileOf({ ...common, storage: layer }, `storages[${i}]`),
  }));
  const [first] = read;
  if (!first) return fail('storages', 'must be a list with at least one element');
  const { pluginConfig, target } = first.mesh;
  if (pluginConfig.requirePrincipal === false)
    fail('pluginConfig.requirePrincipal', 'must stay true: in front of PD and TiKV nobody is believed');
  mustBeObjects(pluginConfig.tenants, 'pluginConfig.tenants');
  mustBeObjects(pluginConfig.rules, 'pluginConfig.rules');
  mustBePlaced({ storages: given, pluginConfig });
  for (const [i, { mesh }] of read.entries()) {
    const { namespace } = mesh.storage;
    const twin = read.findIndex((other) => other.mesh.storage.namespace === namespace);
    if (twin !== i) fail(`storages[${i}].namespace`, `storages[${twin}] is in "${namespace}", too`);
  }
  return {
    target,
    pluginConfig,
    storages: read.map(({ name, mesh }, i) => {
      const part = partOf({ storages: given, pluginConfig: mesh.pluginConfig }, name);
      const others = read.filter((other) => other.name !== name);
      const handsOverTo =
        given[i]?.principal === undefined
          ? []
          : others.map((other) => ({ name: other.name, ...other.mesh.storage }));
      return { name, part, mesh: { ...mesh, pluginConfig: part.config, handsOverTo } };
    }),
  };
}

function readStorage(value: unknown, where: string): Given {
  const given = record(value, where, [...NAMED_FIELDS, 'namespace', 'cluster']);
  const { namespace, cluster } = given;
  return { ...readNamed(given, where), layer: { namespace, cluster } };
}
