/** Gives each storage without Istio the configuration of its filter. */
import type { PluginConfig } from '../config/types.ts';
import { partOf } from '../storages/plugin-config.ts';
import type { EnvoyMesh, Storage } from './mesh.ts';

/** The cluster by which the filter asks PD for regions. */
export const PD_HTTP_CLUSTER = 'pd_http';

/** The filter's configuration for one storage. @throws MeshFileError */
export function pluginConfigOf(mesh: EnvoyMesh, { name }: Storage): PluginConfig {
  return { ...partOf(mesh, name).config, pd: { cluster: PD_HTTP_CLUSTER, authority: 'pd' } };
}
