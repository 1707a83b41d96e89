/** Reads mesh files, with Istio and without. */
import { parseDocument } from 'yaml';
import { isEnvoyMesh, readEnvoyMesh, type EnvoyMesh } from '../standalone/mesh.ts';
import { readMeshFile, valueOf, type MeshFile } from './mesh-file.ts';

/** Reads a mesh file (YAML, so JSON too) without checking its pluginConfig. @throws MeshFileError */
export function readAnyMesh(source: string): MeshFile | EnvoyMesh {
  const isForEnvoy = isEnvoyMesh(valueOf(parseDocument(source, { merge: true })));
  return isForEnvoy ? readEnvoyMesh(source) : readMeshFile(source);
}
