/** Reads mesh files, with Istio and without, for one storage layer and for several. */
import { parseDocument } from 'yaml';
import { isEnvoyMesh, readEnvoyMesh, type EnvoyMesh } from '../standalone/mesh.ts';
import { readMeshFile, valueOf, type MeshFile } from './mesh-file.ts';
import { readSeveral, type SeveralMeshFiles } from './several.ts';

export type AnyMesh = MeshFile | SeveralMeshFiles | EnvoyMesh;

/** Reads a mesh file (YAML, so JSON too) without checking its pluginConfig. @throws MeshFileError */
export function readAnyMesh(source: string): AnyMesh {
  const value = valueOf(parseDocument(source, { merge: true }));
  if (isEnvoyMesh(value)) return readEnvoyMesh(source);
  const hasSeveral = typeof value === 'object' && value !== null && 'storages' in value;
  return hasSeveral ? readSeveral(source) : readMeshFile(source);
}
