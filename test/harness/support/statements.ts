/**
 * TiDB's statements that lead to something the storage layer refuses, or that lead near it: what a tenant is told, and what is left
 * behind. The list follows TiDB 8.5's parser and its uses of PD's HTTP API, of PD's and TiKV's gRPC and of PD's etcd.
 */

/**
 * refused: the error holds our sentence.
 * warned: TiDB goes on, and its warning holds our sentence.
 * done: it works.
 * own: TiDB's own error or silence; nothing reaches the storage layer.
 */
export type Outcome = 'refused' | 'warned' | 'done' | 'own';

export interface Statement {
  /** For people; also its row in the docs. */
  readonly name: string;
  readonly sql: string;
  readonly outcome: Outcome;
  /** Of the error or of the warnings. */
  readonly says?: RegExp;
  readonly before?: readonly string[];
  readonly after?: readonly string[];
  /** Why no unshared cluster of the tests can show it. */
  readonly notDirect?: string;
}

/** Where its tables lie. */
export const DATABASE = 'refusals';
const NOT_IN_STORE = "the tests' store has none";
const BACKUP = /BACKUP and RESTORE are the storage layer's own/;
const SHARED = /it changes or shows what all tenants share/;
const NAMES = /the body holds a name, label or index that is not for tenants/;
const MACHINES = /the machines of the store are not the tenants' to inspect/;

const tiflash = (table: string, count: number): string => `ALTER TABLE ${table} SET TIFLASH REPLICA ${count}`;
const POLICY = "CREATE PLACEMENT POLICY IF NOT EXISTS apart CONSTRAINTS = '[+exclusive=yes]'";

export const STATEMENTS: readonly Statement[] = [
  {
    name: 'FLASHBACK CLUSTER TO TIMESTAMP',
    sql: 'FLASHBACK CLUSTER TO TIMESTAMP {a second ago}',
    outcome: 'refused',
    says: /FLASHBACK CLUSTER needs it, and is not served/,
    notDirect: "the tests' store tells no resolved timestamp, which TiDB waits for",
  },
  {
    name: 'FLASHBACK CLUSTER TO TSO',
    sql: 'FLASHBACK CLUSTER TO TSO {a second ago as TSO}',
    outcome: 'refused',
    says: /FLASHBACK CLUSTER needs it, and is not served/,
    notDirect: "the tests' store tells no resolved timestamp, which TiDB waits for",
  },
  {
    name: 'BACKUP DATABASE',
    sql: `BACKUP DATABASE ${DATABASE} TO 'local://{folder}/database'`,
    outcome: 'refused',
    says: BACKUP,
    notDirect: NOT_IN_STORE,
  },
  {
    name: 'BACKUP TABLE to nowhere',
    sql: `BACKUP TABLE ${DATABASE}.t TO 'noop://'`,
    outcome: 'refused',
    says: BACKUP,
    notDirect: NOT_IN_STORE,
  },
  {
    name: 'RESTORE DATABASE',
    sql: `RESTORE DATABASE ${DATABASE} FROM 'local://{folder}/database'`,
    outcome: 'refused',
    says: BACKUP,
    notDirect: NOT_IN_STORE,
  },
  { name: 'SHOW BACKUPS', sql: 'SHOW BACKUPS', outcome: 'done' },
  { name: 'SHOW RESTORES', sql: 'SHOW RESTORES', outcome: 'done' },
  { name: 'BACKUP LOGS', sql: "BACKUP LOGS TO 'local://{folder}/logs'", outcome: 'own' },
  { name: 'RESTORE POINT', sql: "RESTORE POINT FROM 'local://{folder}/logs'", outcome: 'own' },
  {
    name: 'SET GLOBAL tidb_external_ts',
    sql: 'SET GLOBAL tidb_external_ts = 449999999999999999',
    outcome: 'refused',
    says: /this setting is one for the whole store/,
    after: ['SET GLOBAL tidb_external_ts = 0'],
  },
  { name: 'SET CONFIG PD', sql: "SET CONFIG pd `log.level` = 'info'", outcome: 'warned', says: SHARED },
  { name: 'SHOW CONFIG', sql: "SHOW CONFIG WHERE type = 'pd'", outcome: 'done' },
  {
    name: 'TIDB_HOT_REGIONS',
    sql: 'SELECT * FROM information_schema.tidb_hot_regions',
    outcome: 'refused',
    says: /it names regions by id only/,
  },
  {
    name: 'TIDB_HOT_REGIONS_HISTORY',
    sql: 'SELECT * FROM information_schema.tidb_hot_regions_history WHERE update_time > {an hour ago} AND update_time < {a second ago}',
    outcome: 'done',
  },
  {
    name: 'CLUSTER_HARDWARE',
    sql: 'SELECT COUNT(*) FROM information_schema.cluster_hardware',
    outcome: 'warned',
    says: MACHINES,
  },
  {
    name: 'CLUSTER_SYSTEMINFO',
    sql: 'SELECT COUNT(*) FROM information_schema.cluster_systeminfo',
    outcome: 'warned',
    says: MACHINES,
  },
  {
    name: 'CLUSTER_LOAD',
    sql: 'SELECT COUNT(*) FROM information_schema.cluster_load',
    outcome: 'warned',
    says: MACHINES,
  },
  {
    name: 'CLUSTER_LOG',
    sql: "SELECT COUNT(*) FROM information_schema.cluster_log WHERE time > {an hour ago} AND time < {a second ago} AND message LIKE '%x%'",
    outcome: 'warned',
    says: /the store's log holds every tenant's keys/,
  },
  {
    name: 'INSPECTION_RESULT',
    sql: 'SELECT COUNT(*) FROM information_schema.inspection_result',
    outcome: 'warned',
    says: MACHINES,
  },
  { name: 'CLUSTER_CONFIG', sql: 'SELECT COUNT(*) FROM information_schema.cluster_config', outcome: 'done' },
  { name: 'CLUSTER_INFO', sql: 'SELECT COUNT(*) FROM information_schema.cluster_info', outcome: 'done' },
  {
    name: 'TIKV_STORE_STATUS',
    sql: 'SELECT COUNT(*) FROM information_schema.tikv_store_status',
    outcome: 'done',
  },
  {
    name: 'TIKV_REGION_STATUS',
    sql: 'SELECT COUNT(*) FROM information_schema.tikv_region_status',
    outcome: 'done',
  },
  {
    name: 'TIKV_REGION_PEERS',
    sql: 'SELECT COUNT(*) FROM information_schema.tikv_region_peers',
    outcome: 'done',
  },
  { name: 'metrics_schema', sql: 'SELECT COUNT(*) FROM metrics_schema.up', outcome: 'own' },
  {
    name: 'DISTRIBUTE TABLE',
    sql: "DISTRIBUTE TABLE t RULE = 'leader-scatter' ENGINE = 'tikv'",
    outcome: 'refused',
    says: SHARED,
  },
  { name: 'SHOW DISTRIBUTION JOBS', sql: 'SHOW DISTRIBUTION JOBS', outcome: 'refused', says: SHARED },
  { name: 'CANCEL DISTRIBUTION JOB', sql: 'CANCEL DISTRIBUTION JOB 1', outcome: 'refused', says: SHARED },
  { name: 'SHOW TABLE DISTRIBUTIONS', sql: 'SHOW TABLE t DISTRIBUTIONS', outcome: 'done' },
  { name: 'SET TIFLASH REPLICA 1', sql: tiflash('t', 1), outcome: 'own' },
  { name: 'SET TIFLASH REPLICA 0', sql: tiflash('t', 0), outcome: 'done' },
  { name: 'ALTER TABLE COMPACT', sql: 'ALTER TABLE t COMPACT', outcome: 'own' },
  {
    name: 'ALTER RESOURCE GROUP default',
    sql: 'ALTER RESOURCE GROUP `default` RU_PER_SEC = 1000',
    outcome: 'refused',
    says: /sets the resource group `default`/,
  },
  {
    name: 'CREATE RESOURCE GROUP',
    sql: 'CREATE RESOURCE GROUP refusals_group RU_PER_SEC = 1000',
    outcome: 'done',
    after: ['DROP RESOURCE GROUP refusals_group'],
  },
  { name: 'CALIBRATE RESOURCE', sql: 'CALIBRATE RESOURCE', outcome: 'own' },
  { name: 'QUERY WATCH REMOVE', sql: 'QUERY WATCH REMOVE 1', outcome: 'own' },
  {
    name: 'CREATE TABLE with a policy that is not for tenants',
    before: [POLICY],
    sql: 'CREATE TABLE apart (a INT) PLACEMENT POLICY apart',
    outcome: 'refused',
    says: NAMES,
  },
  {
    name: 'ALTER TABLE to such a policy',
    sql: 'ALTER TABLE t PLACEMENT POLICY apart',
    outcome: 'refused',
    says: NAMES,
  },
  {
    name: 'ALTER TABLE ADD PARTITION with such a policy',
    sql: 'ALTER TABLE p ADD PARTITION (PARTITION p1 VALUES LESS THAN (20) PLACEMENT POLICY apart)',
    outcome: 'refused',
    says: NAMES,
  },
  {
    name: 'ALTER TABLE REORGANIZE PARTITION with such a policy',
    sql: 'ALTER TABLE p REORGANIZE PARTITION p0 INTO (PARTITION p1 VALUES LESS THAN (5) PLACEMENT POLICY apart, PARTITION p2 VALUES LESS THAN (10))',
    outcome: 'refused',
    says: NAMES,
  },
  {
    name: 'ALTER PLACEMENT POLICY in use to such constraints',
    before: [
      'CREATE PLACEMENT POLICY IF NOT EXISTS plain FOLLOWERS = 1',
      'CREATE TABLE IF NOT EXISTS placed (a INT) PLACEMENT POLICY plain',
    ],
    sql: "ALTER PLACEMENT POLICY plain CONSTRAINTS = '[+exclusive=yes]'",
    outcome: 'refused',
    says: NAMES,
    after: ['DROP TABLE placed', 'DROP PLACEMENT POLICY plain'],
  },
  {
    name: 'ALTER RANGE global with such a policy',
    sql: 'ALTER RANGE global PLACEMENT POLICY apart',
    outcome: 'refused',
    says: NAMES,
    after: ['ALTER RANGE global PLACEMENT POLICY `default`', 'DROP PLACEMENT POLICY apart'],
  },
  {
    name: 'ALTER TABLE ATTRIBUTES with a label of the mesh',
    sql: "ALTER TABLE t ATTRIBUTES 'tidb-mesh-border=yes'",
    outcome: 'refused',
    says: NAMES,
  },
  {
    name: 'ALTER TABLE ATTRIBUTES',
    sql: "ALTER TABLE t ATTRIBUTES 'merge_option=deny'",
    outcome: 'done',
    after: ['ALTER TABLE t ATTRIBUTES DEFAULT'],
  },
  { name: 'IMPORT INTO from a file', sql: "IMPORT INTO imported FROM '{file}'", outcome: 'done' },
  {
    name: 'IMPORT INTO from S3 that is not there',
    sql: "IMPORT INTO t FROM 's3://nowhere/x.csv?access-key=a&secret-access-key=b&endpoint=http://127.0.0.1:9'",
    outcome: 'own',
  },
  { name: 'ADMIN CHECKSUM TABLE', sql: 'ADMIN CHECKSUM TABLE t', outcome: 'done' },
  { name: 'SPLIT TABLE', sql: 'SPLIT TABLE t BY (10)', outcome: 'done' },
  {
    name: 'RECOVER TABLE',
    before: ['CREATE TABLE gone (a INT)', 'DROP TABLE gone'],
    sql: 'RECOVER TABLE gone',
    outcome: 'done',
    after: ['DROP TABLE gone'],
  },
  {
    name: 'FLASHBACK DATABASE',
    before: ['CREATE DATABASE refusals_gone', 'DROP DATABASE refusals_gone'],
    sql: 'FLASHBACK DATABASE refusals_gone',
    outcome: 'done',
    after: ['DROP DATABASE refusals_gone'],
  },
  { name: 'KILL TIDB', sql: 'KILL TIDB 4294967295123', outcome: 'done' },
  { name: 'ALTER INSTANCE', sql: 'ALTER INSTANCE RELOAD TLS', outcome: 'done' },
  { name: 'PLAN REPLAYER', sql: 'PLAN REPLAYER DUMP EXPLAIN SELECT * FROM t', outcome: 'done' },
];

/** Makes what the statements need. */
export const SETUP: readonly string[] = [
  `CREATE DATABASE ${DATABASE}`,
  `USE ${DATABASE}`,
  'CREATE TABLE t (a INT PRIMARY KEY, b INT)',
  'INSERT INTO t VALUES (1, 1)',
  'CREATE TABLE p (a INT) PARTITION BY RANGE (a) (PARTITION p0 VALUES LESS THAN (10))',
  'CREATE TABLE imported (a INT PRIMARY KEY, b INT)',
];
