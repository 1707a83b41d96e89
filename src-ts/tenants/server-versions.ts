/** `tidb-mesh doctor --versions`: which versions run here, and whether TiDB Mesh was tested with them. */
import { stores, version } from '../pd/cluster.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { entries } from '../pd/etcd.ts';
import { VERSION } from '../version.ts';
import { judgeVersion, readVersions, type Known } from '../versions/versions.ts';
import { etcdPrefix } from './belongings.ts';
import { registered } from './registry.ts';

/** TiDB: pkg/domain/infosync ServerInformationPath. */
const SERVERS = '/tidb/server/info/';

export interface ServerVersion {
  readonly what: string;
  /** As the server says it. */
  readonly version: string;
  /** `mesh` for TiDB Mesh itself, which is judged by nothing. */
  readonly known: Known | 'mesh';
  /** The version that it is judged by. */
  readonly by: string | undefined;
}

/** PD's, the stores', the TiDBs' and our own. A TiDB is known by what it has written into PD's etcd. */
export async function serverVersions(pd: Endpoint): Promise<ServerVersion[]> {
  const known = readVersions();
  const [pdVersion, all, tidbs] = await Promise.all([version(pd), stores(pd), tidbVersions(pd)]);
  const row = (program: 'TiDB' | 'PD' | 'TiKV', what: string, said: string): ServerVersion => ({
    what,
    version: said,
    ...judgeVersion(program, said, known),
  });
  return [
    { what: 'TiDB Mesh', version: VERSION, known: 'mesh', by: undefined },
    row('PD', 'PD', pdVersion),
    ...all
      .filter(({ state }) => state !== 'Tombstone')
      .map((store) => row('TiKV', `store ${store.id} (${store.address})`, store.version)),
    ...tidbs.map(({ what, said }) => row('TiDB', what, said)),
  ];
}

async function tidbVersions(pd: Endpoint): Promise<{ what: string; said: string }[]> {
  const places = [
    { prefix: SERVERS, whose: 'the storage layer' },
    ...(await registered(pd)).map(({ name }) => ({
      prefix: etcdPrefix(name) + SERVERS,
      whose: `tenant ${name}`,
    })),
  ];
  const found = await Promise.all(
    places.map(async ({ prefix, whose }) =>
      (await entries(pd, prefix)).map(({ value }) => {
        const { ip, listening_port: port, version: said } = serverInfo(value);
        return { what: `TiDB ${ip ?? '?'}:${port ?? '?'} of ${whose}`, said: said ?? '' };
      }),
    ),
  );
  return found.flat();
}

interface ServerInfo {
  readonly ip?: string;
  readonly listening_port?: number;
  readonly version?: string;
}

function serverInfo(text: string): ServerInfo {
  try {
    return (JSON.parse(text) as ServerInfo | null) ?? {};
  } catch {
    return {};
  }
}
