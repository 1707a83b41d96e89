/** Renders what an Envoy without Istio needs: a folder for each storage. */
import { posix } from 'node:path';
import { configText } from '../config/text.ts';
import { file, type RenderedFile } from '../manifests/file.ts';
import { discoveredFilter, inlineCode, wasmFilter, type FilterCode } from '../manifests/filters.ts';
import { bootstrap, type Bootstrap } from './bootstrap.ts';
import { discoveryFile } from './filter.ts';
import { kubernetesObjects, kustomization } from './kubernetes.ts';
import { othersOf, type EnvoyMesh, type Storage } from './mesh.ts';
import { pluginConfigOf } from './plugin-config.ts';
import { systemdUnit } from './systemd.ts';
import { fileSource, secretFiles, tlsOf } from './tls.ts';

export const STANDALONE_PARTS = ['envoy', 'systemd', 'kubernetes'] as const;
export type StandalonePart = (typeof STANDALONE_PARTS)[number];

const EDIT_MESH =
  'Rendered by `tidb-mesh render` from the mesh file. Do not edit it: edit the mesh file and render again.';

/** Where a storage's files are on Envoy's machine. */
export const folderOf = ({ folder }: EnvoyMesh, { name }: Storage): string => posix.join(folder, name);

/** Envoy's configuration in front of a storage. Its filter and its secrets are in files of their own. */
export function bootstrapOf(mesh: EnvoyMesh, storage: Storage): Bootstrap {
  const folder = folderOf(mesh, storage);
  const { listen, accessLog, limits } = mesh;
  const tls = tlsOf(mesh.certificates, folder);
  return bootstrap({
    ...storage,
    storage: storage.name,
    listen,
    accessLog,
    limits,
    tls,
    others: othersOf(mesh, storage).map(({ name, pd }) => ({
      name,
      pd: pd.map(({ advertise }) => advertise),
      tls,
    })),
    filters: [discoveredFilter(fileSource(posix.join(folder, 'filter.yaml')))],
  });
}

function envoy(mesh: EnvoyMesh, storage: Storage, code: FilterCode): RenderedFile[] {
  const { name } = storage;
  const { certificates } = mesh;
  const filter = wasmFilter(configText(pluginConfigOf(mesh, storage)), inlineCode(code), true);
  const secrets = 'sds' in certificates ? {} : secretFiles(certificates);
  return [
    file(
      `${name}/envoy.yaml`,
      [`Envoy's own configuration, for storage "${name}". Envoy reads it at its start only.`, EDIT_MESH],
      [bootstrapOf(mesh, storage)],
    ),
    file(
      `${name}/filter.yaml`,
      ['The filter and its configuration. Envoy reads it again when it is moved into its folder.', EDIT_MESH],
      [discoveryFile(filter)],
    ),
    ...Object.entries(secrets).map(([path, content]) =>
      file(
        `${name}/${path}`,
        ['Says where the PEM files are. Envoy reads those again when they are replaced.', EDIT_MESH],
        [content],
      ),
    ),
  ];
}

function systemd(mesh: EnvoyMesh, storage: Storage): RenderedFile[] {
  return [{ path: `${storage.name}/tidb-mesh-${storage.name}.service`, text: systemdUnit(mesh, storage) }];
}

function kubernetes(mesh: EnvoyMesh, storage: Storage): RenderedFile[] {
  return [
    file(
      `${storage.name}/kustomization.yaml`,
      ['Apply it with: kubectl apply --server-side -k <this folder>', EDIT_MESH],
      [kustomization(mesh, storage)],
    ),
    file(
      `${storage.name}/kubernetes.yaml`,
      [
        `Two Envoys in front of storage "${storage.name}". The names that PD and TiKV advertise must lead to the Service.`,
        EDIT_MESH,
      ],
      kubernetesObjects(mesh, storage),
    ),
  ];
}

export function renderStandalone(
  mesh: EnvoyMesh,
  code: FilterCode,
  parts: readonly StandalonePart[],
): RenderedFile[] {
  const made: Record<StandalonePart, (storage: Storage) => RenderedFile[]> = {
    envoy: (storage) => envoy(mesh, storage, code),
    systemd: (storage) => systemd(mesh, storage),
    kubernetes: (storage) => kubernetes(mesh, storage),
  };
  return mesh.storages.flatMap((storage) =>
    STANDALONE_PARTS.filter((part) => parts.includes(part)).flatMap((part) => made[part](storage)),
  );
}
