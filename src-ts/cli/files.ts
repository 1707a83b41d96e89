/** Reads the files that commands take. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { configSources, type ConfigSource } from '../config/sources.ts';
import { CommandError } from '../errors.ts';
import { MeshFileError } from '../manifests/mesh-file.ts';
import { tenantsIn } from '../tenants/config-file.ts';
import { unknownTenant } from '../tenants/registry.ts';
import type { Tenant } from '../tenants/tenant.ts';

/** What every command that reads a configuration takes. */
export const CONFIG_FILE =
  'a mesh file, a pluginConfig (JSON), or a manifest that holds one; - is the standard input';

/** Adds `--config`, which reads mesh files and pluginConfigs alike. */
export function withConfig(command: Command, use: string, isRequired = false): Command {
  const [flags, description] = ['--config <file>', `${use}: ${CONFIG_FILE}`];
  return isRequired ? command.requiredOption(flags, description) : command.option(flags, description);
}

/** What every command that changes a configuration takes. */
export const CHANGED_FILE = 'a mesh file or a pluginConfig (JSON)';

/** Adds `--config`, the file that the command changes. */
export function withChangedConfig(command: Command, isRequired = false): Command {
  const [flags, description] = ['--config <file>', `the file to change: ${CHANGED_FILE}`];
  return isRequired ? command.requiredOption(flags, description) : command.option(flags, description);
}

/** Reads a file, or the standard input for `-`. */
export function readText(path: string): string {
  try {
    return readFileSync(path === '-' ? 0 : path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'there is no such file' : message;
    throw new CommandError('FILE', `${path}: ${why}`, 'give the path of a file that can be read', {
      cause: error,
    });
  }
}

/** Runs what reads a mesh file, and names the file in its errors. */
export function inFile<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof MeshFileError ? invalid(path, error) : error;
  }
}

function invalid(path: string, cause: Error): CommandError {
  const hint = `correct it; this shows the place: tidb-mesh validate ${path}`;
  return new CommandError('INVALID', `${path}: ${cause.message}`, hint, { cause });
}

/** The first pluginConfig of a file. Of a mesh file with several storages, none is the first. */
export function readConfig(path: string): ConfigSource {
  const text = readText(path);
  const [source, other] = inFile(path, () => configSources(text));
  if (source === undefined) throw noConfig(path);
  if (source.storage !== undefined && other !== undefined)
    throw new CommandError(
      'INVALID',
      `${path}: is for several storages, and each has a configuration of its own`,
      'render it, and give the filter.yaml of one storage',
    );
  return source;
}

export function noConfig(path: string): CommandError {
  return new CommandError('INVALID', `${path}: holds no pluginConfig`, `give ${CONFIG_FILE}`);
}

/** The tenant with this name. @throws CommandError with the name that was probably meant */
export function tenantNamed(all: readonly Tenant[], name: string, path: string): Tenant {
  const found = all.find((one) => one.name === name);
  if (found) return found;
  const known = all.map((one) => one.name);
  throw unknownTenant(name, known, path);
}

/** The tenants of the first pluginConfig of a file. */
export function readTenants(path: string): Tenant[] {
  const { text } = readConfig(path);
  try {
    return tenantsIn(text);
  } catch (error) {
    throw invalid(path, error as Error);
  }
}
