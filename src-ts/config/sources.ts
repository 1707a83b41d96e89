/**
 * Finds pluginConfigs in a file: JSON in a file of its own, a mesh file, or a manifest (EnvoyFilter, WasmPlugin, TrafficExtension). Finds
 * also where in the file a field of one lies.
 */
import {
  LineCounter,
  isMap,
  isPair,
  isScalar,
  isSeq,
  parseAllDocuments,
  type Document,
  type Node,
  type Scalar,
} from 'yaml';
import { readAnyMesh } from '../manifests/any-mesh.ts';
import { isMeshFile, valueOf, type MeshFile } from '../manifests/mesh-file.ts';
import { filterConfig } from '../manifests/filters.ts';
import { isSeveral, type StorageMesh } from '../manifests/several.ts';
import { ENVOY, type EnvoyMesh } from '../standalone/mesh.ts';
import { pluginConfigOf } from '../standalone/plugin-config.ts';
import { partOf, type Part } from '../storages/plugin-config.ts';

export interface Position {
  /** Line and column count from 1. */
  readonly line: number;
  readonly column: number;
}

export interface ConfigSource {
  /** What contains it, for the user: `mesh file`, `EnvoyFilter tidb-mesh-pd`. */
  readonly kind: string;
  /** The JSON text that the filter gets. */
  readonly text: string;
  /** What a mesh file says of this storage layer; without Istio of all, and the first one has it. */
  readonly mesh?: MeshFile | EnvoyMesh;
  /** The storage that it is for, where a mesh file names several. */
  readonly storage?: string;
  /** Gives tenants and rules in a line of the filter the numbers that they have in the file, where those differ. */
  readonly inFile?: (line: string) => string;
  /** Why nothing reads it at this place. */
  readonly problem?: string;
  /** Finds the field at a path like `rules[0].principal`, or its nearest parent that exists. */
  locate(path: string): Position;
  /** Finds a line and column of `text` in the file. Returns the start of the configuration when the file holds it in another form. */
  place(at: Position): Position;
}

/** Splits `rules[0].principal` into ['rules', 0, 'principal']. */
export function pathOf(text: string): (string | number)[] {
  return [...text.matchAll(/\[(\d+)\]|([^.[\]]+)/g)].map(([, index, name]) =>
    index === undefined ? (name ?? '') : Number(index),
  );
}

function child(
  node: Node | null,
  step: string | number,
): { key: Node | null; value: Node | null } | undefined {
  if (isMap(node)) {
    const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && item.key.value === step);
    return pair === undefined ? undefined : { key: pair.key as Node, value: pair.value as Node | null };
  }
  if (isSeq(node) && typeof step === 'number') {
    const value = node.items[step] as Node | undefined;
    return value === undefined ? undefined : { key: value, value };
  }
  return undefined;
}

function offsetAt(root: Node | null, path: string): number {
  let node = root;
  let offset = root?.range?.[0] ?? 0;
  for (const step of pathOf(path)) {
    const next = child(node, step);
    if (next === undefined) break;
    offset = next.key?.range?.[0] ?? offset;
    node = next.value;
  }
  return offset;
}

const positionIn = (lines: LineCounter, offset: number): Position => {
  const { line, col } = lines.linePos(offset);
  return { line, column: col };
};

/** Finds the field at a path in YAML or JSON, or its nearest parent that exists. */
export function locateIn(source: string, path: string): Position {
  const lines = new LineCounter();
  const [document] = parseAllDocuments(source, { lineCounter: lines }) as Document[];
  return positionIn(lines, offsetAt(document?.contents ?? null, path));
}

/** A pluginConfig in a JSON text of its own. */
function jsonSource(kind: string, text: string, shift: (at: Position) => Position): ConfigSource {
  const lines = new LineCounter();
  const [document] = parseAllDocuments(text, { lineCounter: lines });
  const root = (document as Document | undefined)?.contents ?? null;
  return {
    kind,
    text,
    place: shift,
    locate: (path) => shift(positionIn(lines, offsetAt(root, path))),
  };
}

/** A pluginConfig that is a YAML value. */
function valueSource(kind: string, node: Node, lines: LineCounter, document: Document): ConfigSource {
  const start = positionIn(lines, node.range?.[0] ?? 0);
  return {
    kind,
    text: JSON.stringify(node.toJS(document)),
    place: () => start,
    locate: (path) => positionIn(lines, offsetAt(node, path)),
  };
}

/** Maps a position in a block scalar's text to one in the file. The indentation of the first line counts. */
function blockStart(scalar: Scalar, source: string, lines: LineCounter): (at: Position) => Position {
  const [from = 0] = scalar.range ?? [];
  const start = positionIn(lines, from);
  const isBlock = scalar.type === 'BLOCK_LITERAL';
  if (!isBlock) return () => start;
  const next = source.indexOf('\n', from) + 1;
  const indent = /^ */.exec(source.slice(next))?.[0].length ?? 0;
  return ({ line, column }) => ({ line: start.line + line, column: column + indent });
}

function inEnvoyFilter(kind: string, document: Document, source: string, lines: LineCounter): ConfigSource[] {
  const found: ConfigSource[] = [];
  const patches = document.getIn(['spec', 'configPatches'], true);
  for (const patch of isSeq(patches) ? patches.items : []) {
    if (!isMap(patch)) continue;
    for (const path of [
      ['patch', 'value', 'typed_config', 'config', 'configuration', 'value'],
      ['patch', 'value', 'typed_config', 'value', 'config', 'configuration', 'value'],
    ]) {
      const scalar = patch.getIn(path, true);
      if (isScalar(scalar) && typeof scalar.value === 'string')
        found.push(jsonSource(kind, scalar.value, blockStart(scalar, source, lines)));
    }
  }
  return found;
}

/** The filter in a file of its own, as it is rendered without Istio. */
function inDiscoveryFile(document: Document, source: string, lines: LineCounter): ConfigSource[] {
  const resources = document.get('resources', true) as unknown;
  return (isSeq(resources) ? resources.items : []).flatMap((resource) => {
    const at = ['typed_config', 'config', 'configuration', 'value'];
    const scalar = isMap(resource) ? resource.getIn(at, true) : undefined;
    return isScalar(scalar) && typeof scalar.value === 'string'
      ? [jsonSource('filter of Envoy', scalar.value, blockStart(scalar, source, lines))]
      : [];
  });
}

/** Says where in the mesh file the tenants and rules of a line of the filter are. */
const inFileOf =
  (part: Part): ((line: string) => string) =>
  (line) =>
    line.replaceAll(
      /\b(tenants|rules)\[(\d+)\](\.principal)?/g,
      (found: string, list: 'tenants' | 'rules', place: string, field = '') => {
        const there = part[list][Number(place)];
        if (there === undefined) return found;
        return there.endsWith('.principal') ? there : there + field;
      },
    );

/** The configuration of each storage. */
function storageSources(mesh: EnvoyMesh, whole: ConfigSource): ConfigSource[] {
  return mesh.storages.map((storage, i) => {
    return {
      ...whole,
      kind: `mesh file, storage ${storage.name}`,
      storage: storage.name,
      text: JSON.stringify(pluginConfigOf(mesh, storage)),
      inFile: inFileOf(partOf(mesh, storage.name)),
      ...(i === 0 ? { mesh } : {}),
    };
  });
}

/** The configuration of one storage layer of several with Istio. */
function layerSource({ name, mesh, part }: StorageMesh, whole: ConfigSource): ConfigSource {
  return {
    ...whole,
    kind: `mesh file, storage ${name}`,
    storage: name,
    text: JSON.stringify(filterConfig(mesh)),
    inFile: inFileOf(part),
    mesh,
  };
}

const CONFIG_AT: Record<string, readonly string[]> = {
  WasmPlugin: ['spec', 'pluginConfig'],
  TrafficExtension: ['spec', 'wasm', 'pluginConfig'],
};

/** Finds the pluginConfigs of a file. Throws a MeshFileError for a broken mesh file, and for a manifest that is not YAML. */
export function configSources(source: string): ConfigSource[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(source, { lineCounter: lines, merge: true }) as Document[];
  // Of broken JSON, the filter itself says where it ends.
  const isJson = /^\s*\{/.test(source);
  if (!isJson) documents.forEach(valueOf);
  const objects = documents.filter((document) => isMap(document.contents) && document.has('kind'));
  if (objects.length === 0) {
    const [document] = documents;
    if (document && document.errors.length === 0 && isMeshFile(document.toJS())) {
      const mesh = readAnyMesh(source);
      const node = document.get('pluginConfig', true) as unknown as Node;
      const whole = valueSource('mesh file', node, lines, document);
      if (mesh.target === ENVOY) return storageSources(mesh, whole);
      if (isSeveral(mesh)) return mesh.storages.map((one) => layerSource(one, whole));
      return [{ ...whole, text: JSON.stringify(filterConfig(mesh)), mesh }];
    }
    if (document?.has('resources') === true) return inDiscoveryFile(document, source, lines);
    return [jsonSource('pluginConfig', source, (at) => at)];
  }
  return objects.flatMap((document) => {
    const kind = String(document.get('kind'));
    const name = `${kind} ${String(document.getIn(['metadata', 'name']) ?? '')}`.trim();
    if (kind === 'EnvoyFilter') return inEnvoyFilter(name, document, source, lines);
    const at = CONFIG_AT[kind];
    const node = at && (document.getIn(at, true) as Node | undefined);
    if (isScalar(node) && node.value !== null) {
      const problem = `${at?.join('.')}: must be an object, not a text: Istio takes no other form`;
      return [{ ...valueSource(name, node, lines, document), problem }];
    }
    return isMap(node) ? [valueSource(name, node, lines, document)] : [];
  });
}
