/** Reads the tenants of a configuration file: a pluginConfig as JSON, or a mesh file or manifest that holds one. */
import { readFileSync } from 'node:fs';
import { configSources } from '../config/sources.ts';
import { readTenant, type Tenant } from './tenant.ts';

/** The paths of a pluginConfig in Envoy's wasm plugin, Istio's WasmPlugin and a mesh file. */
const PLACES: readonly (readonly string[])[] = [
  [],
  ['pluginConfig'],
  ['spec', 'pluginConfig'],
  ['configuration'],
];

function at(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (found, name) =>
      typeof found === 'object' && found !== null ? (found as Record<string, unknown>)[name] : undefined,
    value,
  );
}

/** Returns JSON unchanged; of YAML, the first pluginConfig in it. */
function valueOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return JSON.parse(configSources(text)[0]?.text ?? text);
  }
}

/**
 * Reads the tenants in a file.
 * @throws Error that names the file and the reason
 */
export function tenantsOfFile(file: string): Tenant[] {
  let root: unknown;
  try {
    root = valueOf(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new Error(`--config ${file}: ${(error as Error).message}; it must hold the pluginConfig as JSON`, {
      cause: error,
    });
  }
  for (const place of PLACES) {
    const tenants = at(root, [...place, 'tenants']);
    if (!Array.isArray(tenants)) continue;
    const read = tenants.map((value, i) => {
      try {
        return readTenant(value, `tenants[${i}]`);
      } catch (error) {
        throw new Error(`--config ${file}: ${(error as Error).message}`, { cause: error });
      }
    });
    for (const [i, { name, number }] of read.entries()) {
      const twin = read.findIndex((other) => other.name === name || other.number === number);
      if (twin !== i)
        throw new Error(`--config ${file}: tenants[${i}] has the name or the number of tenants[${twin}]`);
    }
    return read;
  }
  throw new Error(`--config ${file}: holds no "tenants"; give it the pluginConfig as JSON`);
}
