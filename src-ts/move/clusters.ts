/**
 * How to reach what has another PD than `--pd`, by name: clusters outside of the mesh, by the file that `--clusters` gives, and the other
 * storage layers of the mesh file, by that of `--storages`.
 *
 *     clusters:
 *       shop:
 *         pd: https://pd-0.shop:2379,https://pd-1.shop:2379   # all members of PD
 *         ca: shop/ca.pem          # files are looked for beside this one
 *         cert: shop/client.pem
 *         key: shop/client.key
 *
 *     storages:
 *       a:                         # its name in the mesh file
 *         pd: https://pd-a:2379    # PD itself; its stores are reached at the addresses that they advertise
 *         envoys: https://pd-a.mesh:2379,https://tikv-a.mesh:20160   # as --envoy: every PD and store
 */
import { dirname, resolve } from 'node:path';
import { isMap, parseDocument } from 'yaml';
import { nearest } from '../config/suggest.ts';
import { CommandError } from '../errors.ts';
import type { EndpointOptions } from '../pd/endpoint.ts';

export type Clusters = ReadonlyMap<string, EndpointOptions>;

/** A storage layer of the mesh file. */
export interface StorageAccess extends EndpointOptions {
  /** Addresses of all its Envoys. */
  readonly envoys: readonly string[];
}

interface Kind {
  /** What the file calls the list, and one of it. */
  readonly list: 'clusters' | 'storages';
  readonly one: string;
  /** The fields, and which of them name files. */
  readonly fields: Readonly<Record<string, { readonly isFile: boolean }>>;
  readonly page: string;
}

/** The fields of a cluster. */
const FIELDS: Readonly<Record<string, { readonly isFile: boolean }>> = {
  pd: { isFile: false },
  cert: { isFile: true },
  key: { isFile: true },
  ca: { isFile: true },
  serverName: { isFile: false },
};

const CLUSTERS: Kind = { list: 'clusters', one: 'cluster', fields: FIELDS, page: 'docs/import.md' };
const STORAGES: Kind = {
  list: 'storages',
  one: 'storage',
  fields: { ...FIELDS, envoys: { isFile: false } },
  page: 'docs/move.md',
};

/** As a tenant's: it stands in records and texts. */
const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * Reads the file's text.
 * @param path names the file in errors, and its folder is where the files in it are
 * @throws CommandError
 */
export function readClusters(text: string, path: string): Clusters {
  return readServers(text, path, CLUSTERS);
}

/** The same for the storage layers of the mesh file, without that of `--pd`. @throws CommandError */
export function readStorages(text: string, path: string): ReadonlyMap<string, StorageAccess> {
  const found = [...readServers(text, path, STORAGES)].map(([name, { envoys, ...reach }]) => {
    if (envoys === undefined)
      throw new CommandError(
        'INVALID',
        `${path}: ${name} has no envoys`,
        'give the address of every PD and store at which its filter runs, commas between them',
      );
    return [name, { ...reach, envoys: envoys.split(',') }] as const;
  });
  return new Map(found);
}

function readServers(
  text: string,
  path: string,
  { list: listName, one, fields: known, page }: Kind,
): Map<string, { readonly pd: string; readonly envoys?: string }> {
  const no = (why: string, hint = `correct it; ${page} shows one`): CommandError =>
    new CommandError('INVALID', `${path}: ${why}`, hint);
  const document = parseDocument(text);
  const [problem] = document.errors;
  if (problem) throw no(problem.message.split('\n')[0] ?? '');
  const list = document.get(listName);
  if (!isMap(list)) throw no(`it has no \`${listName}\``);
  const found = new Map<string, { readonly pd: string; readonly envoys?: string }>();
  const owners = new Map<string, string>();
  for (const [name, fields] of Object.entries(list.toJSON() as Record<string, unknown>)) {
    if (!NAME.test(name)) throw no(`${name} is no name for a ${one}`, 'use small letters, digits and -');
    if (typeof fields !== 'object' || fields === null) throw no(`${name} is no object`);
    const options: Record<string, string> = {};
    for (const [field, value] of Object.entries(fields)) {
      const kind = known[field];
      if (!kind) {
        const meant = nearest(field, Object.keys(known));
        throw no(
          `${name} has an unknown field ${field}`,
          meant === undefined ? `known are ${Object.keys(known).join(', ')}` : `did you mean ${meant}?`,
        );
      }
      if (typeof value !== 'string') throw no(`${name}: ${field} is no text`);
      options[field] = kind.isFile ? resolve(dirname(path), value) : value;
    }
    const { pd } = options;
    if (pd === undefined) throw no(`${name} has no pd`, 'give the addresses of its PD, commas between them');
    const owner = owners.get(pd);
    if (owner !== undefined) throw no(`${owner} and ${name} have the same PD`, 'leave one of them out');
    owners.set(pd, name);
    found.set(name, { ...options, pd });
  }
  return found;
}

/** How to reach a cluster or a storage layer. @throws CommandError when the file does not have it */
export function clusterNamed(
  clusters: Clusters,
  name: string,
  kind: 'cluster' | 'storage' = 'cluster',
): EndpointOptions {
  const options = clusters.get(name);
  if (options) return options;
  const known = [...clusters.keys()];
  const meant = nearest(name, known);
  const option = kind === 'cluster' ? '--clusters' : '--storages';
  throw new CommandError(
    'REFUSED',
    `${kind} ${name} is not known`,
    meant === undefined
      ? `give the file that describes it: ${option} FILE${known.length > 0 ? `; it knows ${known.join(', ')}` : ''}`
      : `did you mean ${meant}?`,
  );
}
