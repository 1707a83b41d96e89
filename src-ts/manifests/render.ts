/** Renders all files that a user applies from one mesh file. */
import { accessPolicies, portDeclarations } from './access.ts';
import { clientSide } from './client-side.ts';
import { examplesFor } from './examples.ts';
import { file, type RenderedFile } from './file.ts';
import type { AnyMesh } from './any-mesh.ts';
import {
  bothProtocols,
  envoyFilters,
  handOver,
  trafficExtensions,
  wasmPlugins,
  type FilterCode,
} from './filters.ts';
import { dashboardObject, monitors, rulesObject, telemetry } from '../observability/objects.ts';
import { MeshFileError, type MeshFile } from './mesh-file.ts';
import type { KubeObject } from './storage.ts';
import { isSeveral } from './several.ts';
import { ENVOY } from '../standalone/mesh.ts';
import { renderStandalone, STANDALONE_PARTS, type StandalonePart } from '../standalone/render.ts';
import { hasTrafficExtension } from './target.ts';

const ISTIO_PARTS = [
  'base',
  'envoyfilter',
  'wasmplugin',
  'trafficextension',
  'clientside',
  'observability',
  'examples',
] as const;
type IstioPart = (typeof ISTIO_PARTS)[number];
/** With Istio, and without. */
export const PARTS = [...ISTIO_PARTS, ...STANDALONE_PARTS] as const;
export type Part = (typeof PARTS)[number];

const EDIT_MESH =
  'Rendered by `tidb-mesh render` from mesh.yaml. Do not edit it: edit mesh.yaml and render again.';

function kustomization(part: Part, header: readonly string[], resources: readonly string[]): RenderedFile {
  return file(
    `${part}/kustomization.yaml`,
    [...header, EDIT_MESH],
    [{ apiVersion: 'kustomize.config.k8s.io/v1beta1', kind: 'Kustomization', resources }],
  );
}

function base(mesh: MeshFile): RenderedFile[] {
  const handsOver = (mesh.handsOverTo ?? []).length > 0;
  return [
    kustomization(
      'base',
      ['Every overlay includes this. It installs no filter: apply one of the overlays.'],
      ['access.yaml', 'ports.yaml', 'pd-protocols.yaml', ...(handsOver ? ['hand-over.yaml'] : [])],
    ),
    file(
      'base/access.yaml',
      [
        "Only mTLS reaches the storage layer, and only its own workloads reach PD's and TiKV's other ports.",
        EDIT_MESH,
      ],
      accessPolicies(mesh),
    ),
    file(
      'base/ports.yaml',
      [
        "Declares the protocols of the filtered ports. Without it, Istio follows TiDB Operator's Services and makes TCP chains, which skip the filter.",
        EDIT_MESH,
      ],
      portDeclarations(mesh),
    ),
    file(
      'base/pd-protocols.yaml',
      ["Lets gRPC and PD's HTTP API share PD's port.", EDIT_MESH],
      [bothProtocols(mesh)],
    ),
    ...(handsOver
      ? [
          file(
            'base/hand-over.yaml',
            ['Leads calls of tenants that have moved to the storage layers that serve them.', EDIT_MESH],
            [handOver(mesh)],
          ),
        ]
      : []),
  ];
}

/** An overlay that adds the filter to the base. */
function overlay(part: Part, header: readonly string[], objects: readonly KubeObject[]): RenderedFile[] {
  return [
    kustomization(part, header, ['../base', 'filter.yaml']),
    file(`${part}/filter.yaml`, [...header, EDIT_MESH], objects),
  ];
}

function examples(mesh: MeshFile): RenderedFile[] {
  return examplesFor(mesh).map(({ path, header, objects }) => file(`examples/${path}`, header, objects));
}

function observability(mesh: MeshFile): RenderedFile[] {
  const folder = 'observability';
  return [
    kustomization(
      folder,
      [
        'Metrics, rules, dashboard and telemetry. Leave out of the list what your cluster has no operator for.',
      ],
      ['monitors.yaml', 'rules.yaml', 'dashboard.yaml', 'telemetry.yaml'],
    ),
    file(
      `${folder}/monitors.yaml`,
      ['Tells the Prometheus operator where the metrics of the filter are: at the sidecars.', EDIT_MESH],
      monitors(mesh),
    ),
    file(
      `${folder}/rules.yaml`,
      ['Rules of Prometheus. docs/operations.md says what to do about each alert.', EDIT_MESH],
      [rulesObject(mesh)],
    ),
    file(
      `${folder}/dashboard.yaml`,
      ["The dashboard, as a ConfigMap that Grafana's sidecar loads.", EDIT_MESH],
      [dashboardObject(mesh)],
    ),
    file(
      `${folder}/telemetry.yaml`,
      [
        "Access logs with the tenant. They need the provider in Istio's MeshConfig, see docs/operations.md.",
        EDIT_MESH,
      ],
      [telemetry(mesh)],
    ),
  ];
}

const OVERLAYS: Record<Exclude<IstioPart, 'base' | 'observability' | 'examples'>, readonly string[]> = {
  envoyfilter: [
    'The filter, inlined: nothing is fetched. Apply with: kubectl apply --server-side -k <this folder>',
  ],
  wasmplugin: [
    'The filter as a WasmPlugin: Istio fetches it from a registry by its digest. Until then, every request gets 503.',
  ],
  trafficextension: [
    'The filter as a TrafficExtension: Istio fetches it from a registry by its digest. Until then, every request gets 503.',
  ],
  clientside: [
    "The filter in the sidecars of the tenants' own TiDBs. It protects nobody: whoever controls a tenant's pod can go round it and reach every tenant's rows.",
    'For tenants that trust each other. Never apply it beside another overlay: keys would be mapped twice.',
  ],
};

/** Why a part cannot be rendered from this mesh file; undefined where it can. */
function lacking(mesh: AnyMesh, part: Part): string | undefined {
  if (mesh.target === ENVOY)
    return isStandalone(part)
      ? undefined
      : `${part}: needs Istio, and the mesh file's target is envoy; render ${STANDALONE_PARTS.join(', ')}`;
  if (isStandalone(part)) return `${part}: is for an Envoy without Istio; its mesh file has "target: envoy"`;
  if (!isSeveral(mesh)) return lackingInIstio(mesh, part);
  if (part === 'clientside' || part === 'examples')
    return `${part}: is for a tenant of one storage layer; render it from a mesh file with "storage"`;
  return mesh.storages.map((one) => lackingInIstio(one.mesh, part))[0];
}

const isStandalone = (part: Part): part is StandalonePart =>
  (STANDALONE_PARTS as readonly Part[]).includes(part);

function lackingInIstio({ target, operator }: MeshFile, part: IstioPart): string | undefined {
  if (part === 'trafficextension' && !hasTrafficExtension(target))
    return `trafficextension: target ${target} does not know TrafficExtension, which is new in istio-1.30; render envoyfilter or wasmplugin, or change "target"`;
  if (part === 'wasmplugin' && hasTrafficExtension(target))
    return `wasmplugin: TrafficExtension supersedes it in target ${target}; render trafficextension`;
  if (part === 'clientside' && operator === 'v2')
    return 'clientside: it knows a tenant by its namespace, and operator v2 has all tenants in one; render envoyfilter';
  return undefined;
}

/** What can be rendered from a mesh file. */
export function partsOf(mesh: AnyMesh): Part[] {
  return PARTS.filter((part) => lacking(mesh, part) === undefined);
}

/**
 * Renders all files, or those of the given parts, in a fixed order.
 * @throws MeshFileError when a given part needs another target or operator
 */
export function render(
  mesh: AnyMesh,
  code: FilterCode,
  parts: readonly Part[] = partsOf(mesh),
): RenderedFile[] {
  for (const part of parts) {
    const reason = lacking(mesh, part);
    if (reason !== undefined) throw new MeshFileError(reason);
  }
  if (mesh.target === ENVOY) return renderStandalone(mesh, code, parts.filter(isStandalone));
  if (!isSeveral(mesh)) return renderIstio(mesh, code, parts);
  return mesh.storages.flatMap(({ name, mesh: own }) =>
    renderIstio(own, code, parts).map(({ path, text }) => ({ path: `${name}/${path}`, text })),
  );
}

function renderIstio(mesh: MeshFile, code: FilterCode, parts: readonly Part[]): RenderedFile[] {
  const made: Record<IstioPart, () => RenderedFile[]> = {
    base: () => base(mesh),
    envoyfilter: () => overlay('envoyfilter', OVERLAYS.envoyfilter, envoyFilters(mesh, code)),
    wasmplugin: () => overlay('wasmplugin', OVERLAYS.wasmplugin, wasmPlugins(mesh, code)),
    trafficextension: () =>
      overlay('trafficextension', OVERLAYS.trafficextension, trafficExtensions(mesh, code)),
    clientside: () => overlay('clientside', OVERLAYS.clientside, clientSide(mesh, code)),
    observability: () => observability(mesh),
    examples: () => examples(mesh),
  };
  return ISTIO_PARTS.filter((part) => parts.includes(part)).flatMap((part) => made[part]());
}
