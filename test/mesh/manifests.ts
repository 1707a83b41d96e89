/** The product's own manifests, made and applied as a user does: a mesh file, `tidb-mesh render`, `kubectl apply -k`. */
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parseAllDocuments, stringify } from 'yaml';
import type { PluginConfig } from '../../src-ts/config/types.ts';
import type { MeshFile } from '../../src-ts/manifests/mesh-file.ts';
import type { Part } from '../../src-ts/manifests/render.ts';
import { ROOT } from '../../src-ts/wasm/builds.ts';
import type { IstioVersion } from '../harness/stack/builds.ts';
import { TRUST_DOMAIN, type ControlPlane } from './control-plane.ts';
import { STORAGE, type KubeObject } from './objects.ts';

/** Of the folders that `render` makes: those that install the filter, each in another way. */
export type Overlay = Exclude<Part, 'base' | 'examples'>;

/** The folder in which the manifests of this repository lie, without the filter's code. */
export const CHECKED_IN = join(ROOT, 'manifests');

export interface Manifests {
  /** The folder of a part, for `-k`; of the latest configuration. */
  folder(part: Part): string;
  /** Renders everything anew for this configuration, and with this image. */
  render(config: PluginConfig, image?: string): Promise<void>;
  /** Applies an overlay as it was rendered last. Throws with what kubectl says. */
  apply(overlay?: Overlay): Promise<void>;
  /** Deletes all that an overlay holds. */
  remove(overlay?: Overlay): Promise<void>;
  /** The EnvoyFilters as rendered last, but with this text as the filter's configuration: one that `render` would not write. */
  withConfiguration(text: string): KubeObject[];
}

const run = promisify(execFile);

/** Manifests in a folder of their own, for the storage layer of the tests; none are rendered yet. */
export function manifestsIn(home: string, controlPlane: ControlPlane, istio: IstioVersion): Manifests {
  mkdirSync(home, { recursive: true });
  const meshFile = join(home, 'mesh.yaml');
  const out = join(home, 'rendered');
  const folder = (part: Part): string => join(out, part);
  return {
    folder,
    async render(config, image) {
      const content: Partial<MeshFile> = {
        target: `istio-${istio}`,
        storage: STORAGE,
        trustDomain: TRUST_DOMAIN,
        pluginConfig: config,
        ...(image === undefined ? {} : { image }),
      };
      writeFileSync(meshFile, stringify(content));
      const command = join(ROOT, 'src-ts/cli/bin.mjs');
      await run(process.execPath, [command, 'render', meshFile, '--out', out], { cwd: ROOT });
    },
    async apply(overlay = 'envoyfilter') {
      // On the server's side: an inlined wasm is too long for the annotation that the client's side leaves.
      await controlPlane.kubectl(['apply', '--server-side', '--force-conflicts', '-k', folder(overlay)]);
    },
    async remove(overlay = 'envoyfilter') {
      await controlPlane.kubectl(['delete', '-k', folder(overlay)]);
    },
    withConfiguration(text) {
      const filters = parseAllDocuments(readFileSync(join(folder('envoyfilter'), 'filter.yaml'), 'utf8'));
      return filters.map((filter) => {
        filter.setIn(PATH_OF_CONFIGURATION, text);
        return filter.toJS() as KubeObject;
      });
    },
  };
}

const PATH_OF_CONFIGURATION = [
  ...['spec', 'configPatches', 1, 'patch', 'value', 'typed_config'],
  ...['config', 'configuration', 'value'],
];
