/** Judges the pluginConfigs of a file: the filter's verdict, its place in the file, and what was probably meant. */
import type { Judge } from './judge.ts';
import { MeshFileError, type MeshFile } from '../manifests/mesh-file.ts';
import { ENVOY, type EnvoyMesh } from '../standalone/mesh.ts';
import { configSources, locateIn, type ConfigSource, type Position } from './sources.ts';
import { unserved, type Unserved } from './served.ts';
import { suggestion } from './suggest.ts';
import type { PluginConfig } from './types.ts';
import { warningsOf } from './warnings.ts';

export interface Finding extends Position {
  readonly severity: 'error' | 'warning';
  /** For an error, the filter's own line. */
  readonly text: string;
  /** A path like `rules[0].principal`; '' for text that is not JSON. */
  readonly path: string;
  readonly suggestion?: string;
}

export interface Judgement {
  readonly kind: string;
  readonly findings: readonly Finding[];
}

/** The path at the beginning of the filter's line, when it names a field. */
const pathIn = (line: string): string => /^([^\s:]+): /.exec(line)?.[1] ?? '';

/** The place of unreadable JSON, from the filter's line: a position in the filter's own text. */
const placeIn = (line: string): Position | undefined => {
  const found = /line (\d+)[,:]? column (\d+)/.exec(line);
  return found ? { line: Number(found[1]), column: Number(found[2]) } : undefined;
};

function namesIn(text: string): string[] {
  try {
    const { tenants } = JSON.parse(text) as Partial<PluginConfig>;
    return (tenants ?? []).flatMap(({ name }) => (typeof name === 'string' ? [name] : []));
  } catch {
    return [];
  }
}

function findingsOf(source: ConfigSource, judge: Judge): Finding[] {
  if (source.problem !== undefined)
    return [{ severity: 'error', ...source.locate(''), path: '', text: source.problem }];
  const inFile = source.inFile ?? ((text: string) => text);
  const line = inFile(judge.configure(source.text));
  if (line === '') {
    const unmatched = source.mesh ? unservedIn(source.mesh, inFile) : [];
    const known = new Set(unmatched.map(({ path }) => path));
    const warnings = warningsOf(JSON.parse(source.text) as PluginConfig)
      .map(({ path, text }) => ({ path: inFile(path), text }))
      .filter(({ path }) => !known.has(path));
    return [
      ...unmatched.map((one) => ({ ...source.locate(one.path), ...one })),
      ...warnings.map(({ path, text }) => ({
        severity: 'warning' as const,
        ...source.locate(path),
        path,
        text: `${path}: ${text}`,
      })),
    ];
  }
  const place = placeIn(line);
  const path = place ? '' : pathIn(line);
  const meant = suggestion(line, namesIn(source.text), () => judge.refusable());
  return [
    {
      severity: 'error',
      ...(place ? source.place(place) : source.locate(path)),
      path,
      text: line,
      ...(meant === undefined ? {} : { suggestion: meant }),
    },
  ];
}

/** What no rule serves. Without Istio, the mesh is the whole file, and its places are the file's. */
function unservedIn(mesh: MeshFile | EnvoyMesh, inFile: (line: string) => string): Unserved[] {
  if (mesh.target === ENVOY) return unserved(mesh);
  return unserved(mesh).map((one) => ({ ...one, path: inFile(one.path), text: inFile(one.text) }));
}

/** Reports a mesh file or manifest that is broken outside its pluginConfig. */
function brokenFile(text: string, { message, place }: MeshFileError): Judgement {
  const path = place ? '' : pathIn(message);
  const meant = suggestion(message, [], () => []);
  const finding: Finding = {
    severity: 'error',
    ...(place ?? locateIn(text, path)),
    path,
    text: message,
    ...(meant === undefined ? {} : { suggestion: meant }),
  };
  return { kind: 'mesh file', findings: [finding] };
}

/** Judges every pluginConfig in the text of a file. */
export function judgeFile(text: string, judge: Judge): Judgement[] {
  try {
    return configSources(text).map((source) => ({ kind: source.kind, findings: findingsOf(source, judge) }));
  } catch (error) {
    if (error instanceof MeshFileError) return [brokenFile(text, error)];
    throw error;
  }
}
