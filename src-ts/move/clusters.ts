/**
 * Clusters outside of the mesh, by name: the file that `--clusters` gives.
 *
 *     clusters:
 *       shop:
 *         pd: https://pd-0.shop:2379,https://pd-1.shop:2379   # all members of PD
 *         ca: shop/ca.pem          # files are looked for beside this one
 *         cert: shop/client.pem
 *         key: shop/client.key
 */
import { dirname, resolve } from 'node:path';
import { isMap, parseDocument } from 'yaml';
import { nearest } from '../config/suggest.ts';
import { CommandError } from '../errors.ts';
import type { EndpointOptions } from '../pd/endpoint.ts';

export type Clusters = ReadonlyMap<string, EndpointOptions>;

/** The fields of a cluster, and which of them name files. */
const FIELDS: Readonly<Record<string, { readonly isFile: boolean }>> = {
  pd: { isFile: false },
  cert: { isFile: true },
  key: { isFile: true },
  ca: { isFile: true },
  serverName: { isFile: false },
};

/** As a tenant's: it stands in records and texts. */
const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * Reads the file's text.
 * @param path names the file in errors, and its folder is where the files in it are
 * @throws CommandError
 */
export function readClusters(text: string, path: string): Clusters {
  const no = (why: string, hint = 'correct it; docs/import.md shows one'): CommandError =>
    new CommandError('INVALID', `${path}: ${why}`, hint);
  const document = parseDocument(text);
  const [problem] = document.errors;
  if (problem) throw no(problem.message.split('\n')[0] ?? '');
  const list = document.get('clusters');
  if (!isMap(list)) throw no('it has no `clusters`');
  const found = new Map<string, EndpointOptions>();
  const owners = new Map<string, string>();
  for (const [name, fields] of Object.entries(list.toJSON() as Record<string, unknown>)) {
    if (!NAME.test(name)) throw no(`${name} is no name for a cluster`, 'use small letters, digits and -');
    if (typeof fields !== 'object' || fields === null) throw no(`${name} is no object`);
    const options: Record<string, string> = {};
    for (const [field, value] of Object.entries(fields)) {
      const kind = FIELDS[field];
      if (!kind) {
        const meant = nearest(field, Object.keys(FIELDS));
        throw no(
          `${name} has an unknown field ${field}`,
          meant === undefined ? `known are ${Object.keys(FIELDS).join(', ')}` : `did you mean ${meant}?`,
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

/** How to reach a cluster. @throws CommandError when the file does not have it */
export function clusterNamed(clusters: Clusters, name: string): EndpointOptions {
  const options = clusters.get(name);
  if (options) return options;
  const known = [...clusters.keys()];
  const meant = nearest(name, known);
  throw new CommandError(
    'REFUSED',
    `cluster ${name} is not known`,
    meant === undefined
      ? `give the file that describes it: --clusters FILE${known.length > 0 ? `; it knows ${known.join(', ')}` : ''}`
      : `did you mean ${meant}?`,
  );
}
