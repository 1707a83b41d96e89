/** Times of statements that were over their budget in the kept results, and were measured again. */

export interface Again {
  readonly rounds: number;
  /** Medians in milliseconds. */
  readonly direct: number;
  readonly filter: number;
}

/** By name, on 27 November 2026, with `TIDB_MESH_STATEMENTS` to choose them. */
export const AGAIN: Readonly<Record<string, Again>> = {
  'ADD INDEX, without fast reorg': { rounds: 5, direct: 2175, filter: 2191 },
  'CREATE and DROP BINDING': { rounds: 5, direct: 43.2, filter: 54.3 },
  'CREATE, GRANT and DROP USER': { rounds: 5, direct: 154, filter: 136 },
  tikv_region_peers: { rounds: 5, direct: 4.6, filter: 6.04 },
  '5,000 rows in 16 regions': { rounds: 5, direct: 66.5, filter: 82.9 },
  'Reading over the locks of another, 1 region': { rounds: 5, direct: 6875, filter: 6696 },
  'IMPORT INTO ... FROM SELECT': { rounds: 11, direct: 176, filter: 215 },
};
