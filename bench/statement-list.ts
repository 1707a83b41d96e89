/**
 * The statements whose times are compared. `@` in a statement stands for a number that no other statement nor round has: names of
 * tables, policies and groups end with it.
 */

export interface Statement {
  readonly kind: string;
  /** What the page calls it. */
  readonly name: string;
  /** Not timed: what must be there. */
  readonly before: readonly string[];
  /** Timed, one after the other. */
  readonly run: readonly string[];
  /** Not timed: what must go again. */
  readonly after: readonly string[];
  /** The store keeps back commits of secondary keys from the last statement of `before` on: its transaction's locks stay. */
  readonly leavesLocks?: true;
}

const ROWS = 200;

/** One of a few columns, with this many rows. */
function filled(table: string, rows = ROWS, options = ''): string[] {
  return [
    `CREATE TABLE ${table} (id BIGINT PRIMARY KEY, a INT, b VARCHAR(40), c INT, d DATETIME(3))${options}`,
    ...rowsInto(table, rows),
  ];
}

/** Doubles the rows until there are enough: few statements, whatever their number. */
function rowsInto(table: string, rows: number): string[] {
  const seed = Math.min(rows, 100);
  const values = Array.from({ length: seed }, (_, i) => `(${i}, ${i % 7}, 'row ${i}', ${i}, '2024-05-06')`);
  const sql = [`INSERT INTO ${table} VALUES ${values.join(', ')}`];
  for (let have = seed; have < rows; have *= 2) {
    const more = Math.min(have, rows - have);
    sql.push(
      `INSERT INTO ${table} SELECT id + ${have}, a, b, c + ${have}, d FROM ${table} WHERE id < ${more}`,
    );
  }
  return sql;
}

/** Splits `t@` with these ids; TiDB takes no ranges of less than 1,000. */
function inRegions(rows: number, regions: number): string {
  const boundaries = Array.from(
    { length: regions - 1 },
    (_, i) => `(${Math.round(((i + 1) * rows) / regions)})`,
  );
  return `SPLIT TABLE t@ BY ${boundaries.join(', ')}`;
}

const byRange =
  ' PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (100), PARTITION p1 VALUES LESS THAN (10000))';
const byHash = ' PARTITION BY HASH (id) PARTITIONS 4';
const byList =
  ' PARTITION BY LIST (a) (PARTITION p0 VALUES IN (0, 1, 2), PARTITION p1 VALUES IN (3, 4, 5, 6))';

const list: Statement[] = [];

/** Statements of one kind: name, what is timed, what must be there before. Tables `t@` and others go with their database. */
function kind(name: string, all: readonly [string, string | string[], string[]?, string[]?][]): void {
  for (const [what, run, before = [], after = []] of all)
    list.push({ kind: name, name: what, run: [run].flat(), before, after });
}

/** The same with a table `t@` that is there and filled. */
function onTable(name: string, all: readonly (readonly [string, string | string[]])[], options = ''): void {
  kind(
    name,
    all.map(([what, run]): [string, string | string[], string[]] => [what, run, filled('t@', ROWS, options)]),
  );
}

kind('Databases and tables', [
  ['CREATE DATABASE', 'CREATE DATABASE d@'],
  ['DROP DATABASE with tables', 'DROP DATABASE d@', ['CREATE DATABASE d@', 'CREATE TABLE d@.a (x INT)']],
  [
    'ALTER DATABASE charset',
    'ALTER DATABASE d@ CHARACTER SET utf8mb4 COLLATE utf8mb4_bin',
    ['CREATE DATABASE d@'],
  ],
  ['CREATE TABLE', 'CREATE TABLE t@ (id INT PRIMARY KEY, a INT, KEY (a))'],
  ['CREATE TABLE, nonclustered', 'CREATE TABLE t@ (id INT PRIMARY KEY NONCLUSTERED, a INT)'],
  [
    'CREATE TABLE, 30 columns and 5 indexes',
    `CREATE TABLE t@ (id BIGINT PRIMARY KEY, ${Array.from({ length: 30 }, (_, i) => `c${i} INT`).join(', ')}, ${[0, 1, 2, 3, 4].map((i) => `KEY (c${i})`).join(', ')})`,
  ],
  ['CREATE TABLE LIKE', 'CREATE TABLE u@ LIKE t@', ['CREATE TABLE t@ (id INT PRIMARY KEY)']],
  ['CREATE TEMPORARY TABLE', 'CREATE TEMPORARY TABLE t@ (id INT PRIMARY KEY)'],
  [
    'CREATE GLOBAL TEMPORARY TABLE',
    'CREATE GLOBAL TEMPORARY TABLE t@ (id INT PRIMARY KEY) ON COMMIT DELETE ROWS',
  ],
  [
    'CREATE TABLE, foreign key',
    'CREATE TABLE u@ (id INT PRIMARY KEY, r INT, FOREIGN KEY (r) REFERENCES t@ (id))',
    ['CREATE TABLE t@ (id INT PRIMARY KEY)'],
  ],
  ['CREATE TABLE, range partitions', `CREATE TABLE t@ (id BIGINT PRIMARY KEY)${byRange}`],
  [
    'CREATE TABLE, 16 hash partitions',
    'CREATE TABLE t@ (id BIGINT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 16',
  ],
  [
    'CREATE TABLE, key partitions',
    'CREATE TABLE t@ (id BIGINT PRIMARY KEY) PARTITION BY KEY (id) PARTITIONS 4',
  ],
  [
    'CREATE TABLE, list partitions',
    'CREATE TABLE t@ (a INT) PARTITION BY LIST (a) (PARTITION p0 VALUES IN (1), PARTITION p1 VALUES IN (2))',
  ],
  ['CREATE VIEW', 'CREATE VIEW v@ AS SELECT id FROM t@', ['CREATE TABLE t@ (id INT PRIMARY KEY)']],
  ['DROP VIEW', 'DROP VIEW v@', ['CREATE TABLE t@ (id INT)', 'CREATE VIEW v@ AS SELECT id FROM t@']],
  ['CREATE SEQUENCE', 'CREATE SEQUENCE s@'],
  ['nextval of a sequence', 'SELECT nextval(s@)', ['CREATE SEQUENCE s@']],
  ['ALTER SEQUENCE', 'ALTER SEQUENCE s@ INCREMENT 2', ['CREATE SEQUENCE s@']],
  ['DROP SEQUENCE', 'DROP SEQUENCE s@', ['CREATE SEQUENCE s@']],
  ['DROP TABLE', 'DROP TABLE t@', filled('t@')],
  [
    'DROP TABLE, three at once',
    'DROP TABLE a@, b@, c@',
    ['CREATE TABLE a@ (x INT)', 'CREATE TABLE b@ (x INT)', 'CREATE TABLE c@ (x INT)'],
  ],
  ['TRUNCATE TABLE', 'TRUNCATE TABLE t@', filled('t@')],
  ['RENAME TABLE', 'RENAME TABLE t@ TO u@', ['CREATE TABLE t@ (id INT)']],
  [
    'RENAME TABLE, to swap two',
    'RENAME TABLE t@ TO x@, u@ TO t@, x@ TO u@',
    ['CREATE TABLE t@ (id INT)', 'CREATE TABLE u@ (id INT)'],
  ],
]);

onTable('Columns', [
  ['ADD COLUMN', 'ALTER TABLE t@ ADD COLUMN e INT DEFAULT 7'],
  ['ADD COLUMN FIRST', 'ALTER TABLE t@ ADD COLUMN e INT FIRST'],
  ['ADD two COLUMNS', 'ALTER TABLE t@ ADD COLUMN e INT, ADD COLUMN f VARCHAR(10)'],
  ['ADD generated COLUMN', 'ALTER TABLE t@ ADD COLUMN e INT AS (a + 1) VIRTUAL'],
  ['DROP COLUMN', 'ALTER TABLE t@ DROP COLUMN c'],
  ['MODIFY COLUMN, wider', 'ALTER TABLE t@ MODIFY COLUMN b VARCHAR(80)'],
  ['MODIFY COLUMN, rows rewritten', 'ALTER TABLE t@ MODIFY COLUMN c VARCHAR(20)'],
  ['CHANGE COLUMN', 'ALTER TABLE t@ CHANGE COLUMN c e INT'],
  ['RENAME COLUMN', 'ALTER TABLE t@ RENAME COLUMN c TO e'],
  ['ALTER COLUMN SET DEFAULT', 'ALTER TABLE t@ ALTER COLUMN a SET DEFAULT 5'],
]);

onTable('Indexes', [
  ['ADD INDEX', 'ALTER TABLE t@ ADD INDEX i (a)'],
  ['ADD UNIQUE INDEX', 'ALTER TABLE t@ ADD UNIQUE INDEX i (c)'],
  ['ADD two INDEXES', 'ALTER TABLE t@ ADD INDEX i (a), ADD INDEX j (c)'],
  ['ADD INDEX, on an expression', 'ALTER TABLE t@ ADD INDEX i ((a + c))'],
  ['CREATE INDEX, of a prefix', 'CREATE INDEX i ON t@ (b(5))'],
  [
    'ADD INDEX, without fast reorg',
    ['SET SESSION tidb_ddl_reorg_worker_cnt = 2', 'ALTER TABLE t@ ADD INDEX i (a, c)'],
  ],
]);
kind('Indexes', [
  ['DROP INDEX', 'ALTER TABLE t@ DROP INDEX i', [...filled('t@'), 'ALTER TABLE t@ ADD INDEX i (a)']],
  ['RENAME INDEX', 'ALTER TABLE t@ RENAME INDEX i TO j', [...filled('t@'), 'ALTER TABLE t@ ADD INDEX i (a)']],
  [
    'ALTER INDEX INVISIBLE',
    'ALTER TABLE t@ ALTER INDEX i INVISIBLE',
    [...filled('t@'), 'ALTER TABLE t@ ADD INDEX i (a)'],
  ],
  [
    'ADD PRIMARY KEY',
    'ALTER TABLE t@ ADD PRIMARY KEY (a) NONCLUSTERED',
    ['CREATE TABLE t@ (a INT NOT NULL)', 'INSERT INTO t@ VALUES (1), (2)'],
  ],
  [
    'DROP PRIMARY KEY',
    'ALTER TABLE t@ DROP PRIMARY KEY',
    ['CREATE TABLE t@ (a INT PRIMARY KEY NONCLUSTERED)'],
  ],
  [
    'ADD FOREIGN KEY',
    'ALTER TABLE u@ ADD FOREIGN KEY (r) REFERENCES t@ (id)',
    ['CREATE TABLE t@ (id INT PRIMARY KEY)', 'CREATE TABLE u@ (r INT)'],
  ],
  ['ADD INDEX, 20,000 rows', 'ALTER TABLE t@ ADD INDEX i (c, a)', filled('t@', 20_000)],
  ['ADD UNIQUE INDEX that fails', 'ALTER TABLE t@ ADD UNIQUE INDEX i (a)', filled('t@')],
  ['ADD INDEX of a partitioned table', 'ALTER TABLE t@ ADD INDEX i (c)', filled('t@', ROWS, byHash)],
  ['ADD UNIQUE INDEX GLOBAL', 'ALTER TABLE t@ ADD UNIQUE INDEX i (c, id) GLOBAL', filled('t@', ROWS, byHash)],
]);

onTable('Table options', [
  ['COMMENT', "ALTER TABLE t@ COMMENT 'so'"],
  ['AUTO_INCREMENT', 'ALTER TABLE t@ AUTO_ID_CACHE 100'],
  ['CONVERT TO CHARACTER SET', 'ALTER TABLE t@ CONVERT TO CHARACTER SET utf8mb4'],
  ['TTL', 'ALTER TABLE t@ TTL = d + INTERVAL 1000 DAY TTL_ENABLE = "OFF"'],
  ['REMOVE TTL', ['ALTER TABLE t@ TTL = d + INTERVAL 1000 DAY', 'ALTER TABLE t@ REMOVE TTL']],
  [
    'ADD CHECK',
    ['SET GLOBAL tidb_enable_check_constraint = ON', 'ALTER TABLE t@ ADD CONSTRAINT k@ CHECK (c >= 0)'],
  ],
  ['CACHE and NOCACHE', ['ALTER TABLE t@ CACHE', 'ALTER TABLE t@ NOCACHE']],
  ['ATTRIBUTES', "ALTER TABLE t@ ATTRIBUTES 'merge_option=deny'"],
  ['LOCK TABLE and UNLOCK', ['LOCK TABLES t@ WRITE', 'UNLOCK TABLES']],
]);

kind('Splits and scattering', [
  ['SPLIT TABLE, 4 regions', 'SPLIT TABLE t@ BETWEEN (0) AND (1000000) REGIONS 4', filled('t@')],
  ['SPLIT TABLE, 8 regions', 'SPLIT TABLE t@ BETWEEN (0) AND (1000000) REGIONS 8', filled('t@')],
  ['SPLIT TABLE, 16 regions', 'SPLIT TABLE t@ BETWEEN (0) AND (1000000) REGIONS 16', filled('t@')],
  ['SPLIT TABLE, 64 regions', 'SPLIT TABLE t@ BETWEEN (0) AND (1000000) REGIONS 64', filled('t@')],
  ['SPLIT TABLE BY, three values', 'SPLIT TABLE t@ BY (10), (20), (30)', filled('t@')],
  [
    'SPLIT TABLE INDEX',
    'SPLIT TABLE t@ INDEX i BETWEEN (0) AND (100000) REGIONS 8',
    [...filled('t@'), 'ALTER TABLE t@ ADD INDEX i (a)'],
  ],
  [
    'SPLIT TABLE INDEX BY',
    'SPLIT TABLE t@ INDEX i BY (1), (2)',
    [...filled('t@'), 'ALTER TABLE t@ ADD INDEX i (a)'],
  ],
  [
    'SPLIT PARTITION TABLE',
    'SPLIT PARTITION TABLE t@ PARTITION (p0, p1) BETWEEN (0) AND (100000) REGIONS 4',
    filled('t@', ROWS, byRange),
  ],
  [
    'SPLIT TABLE again',
    ['SPLIT TABLE t@ BETWEEN (0) AND (1000000) REGIONS 8'],
    [...filled('t@'), 'SPLIT TABLE t@ BETWEEN (0) AND (1000000) REGIONS 8'],
  ],
  [
    'CREATE TABLE PRE_SPLIT_REGIONS = 2',
    'CREATE TABLE t@ (a INT) SHARD_ROW_ID_BITS = 4 PRE_SPLIT_REGIONS = 2',
  ],
  [
    'CREATE TABLE PRE_SPLIT_REGIONS = 4',
    'CREATE TABLE t@ (a INT) SHARD_ROW_ID_BITS = 4 PRE_SPLIT_REGIONS = 4',
  ],
  [
    'CREATE TABLE AUTO_RANDOM, pre-split',
    'CREATE TABLE t@ (id BIGINT PRIMARY KEY AUTO_RANDOM(5)) PRE_SPLIT_REGIONS = 3',
  ],
  [
    'CREATE TABLE, scattered as a table',
    [
      "SET SESSION tidb_scatter_region = 'table'",
      'CREATE TABLE t@ (a INT) SHARD_ROW_ID_BITS = 4 PRE_SPLIT_REGIONS = 3',
      "SET SESSION tidb_scatter_region = ''",
    ],
  ],
  [
    'CREATE TABLE, scattered globally',
    [
      "SET SESSION tidb_scatter_region = 'global'",
      'CREATE TABLE t@ (a INT) SHARD_ROW_ID_BITS = 4 PRE_SPLIT_REGIONS = 3',
      "SET SESSION tidb_scatter_region = ''",
    ],
  ],
  [
    'CREATE TABLE, pre-split, not waited for',
    [
      'SET SESSION tidb_wait_split_region_finish = 0',
      'CREATE TABLE t@ (a INT) SHARD_ROW_ID_BITS = 4 PRE_SPLIT_REGIONS = 4',
      'SET SESSION tidb_wait_split_region_finish = 1',
    ],
  ],
  [
    'TRUNCATE a pre-split table',
    'TRUNCATE TABLE t@',
    ['CREATE TABLE t@ (a INT) SHARD_ROW_ID_BITS = 4 PRE_SPLIT_REGIONS = 3'],
  ],
  ['ALTER TABLE SHARD_ROW_ID_BITS', 'ALTER TABLE t@ SHARD_ROW_ID_BITS = 4', ['CREATE TABLE t@ (a INT)']],
  [
    'SHOW TABLE REGIONS of 16',
    'SHOW TABLE t@ REGIONS',
    [...filled('t@'), 'SPLIT TABLE t@ BETWEEN (0) AND (1000000) REGIONS 16'],
  ],
  [
    'SHOW TABLE INDEX REGIONS',
    'SHOW TABLE t@ INDEX i REGIONS',
    [...filled('t@'), 'ALTER TABLE t@ ADD INDEX i (a)'],
  ],
  ['SHOW TABLE PARTITION REGIONS', 'SHOW TABLE t@ PARTITION (p0) REGIONS', filled('t@', ROWS, byRange)],
  ['SHOW TABLE DISTRIBUTIONS', 'SHOW TABLE t@ DISTRIBUTIONS', filled('t@')],
  [
    'Full scan of 16 regions',
    'SELECT COUNT(*), SUM(c) FROM t@',
    [...filled('t@', 2000), inRegions(2000, 16)],
  ],
  [
    'ADD INDEX over 16 regions',
    'ALTER TABLE t@ ADD INDEX i (a)',
    [...filled('t@', 2000), inRegions(2000, 16)],
  ],
  [
    'DROP TABLE of 16 regions',
    'DROP TABLE t@',
    [...filled('t@'), 'SPLIT TABLE t@ BETWEEN (0) AND (1000000) REGIONS 16'],
  ],
]);

onTable(
  'Partitions by range',
  [
    ['ADD PARTITION', 'ALTER TABLE t@ ADD PARTITION (PARTITION p2 VALUES LESS THAN (20000))'],
    ['DROP PARTITION', 'ALTER TABLE t@ DROP PARTITION p0'],
    ['TRUNCATE PARTITION', 'ALTER TABLE t@ TRUNCATE PARTITION p0'],
    [
      'REORGANIZE PARTITION',
      'ALTER TABLE t@ REORGANIZE PARTITION p1 INTO (PARTITION a VALUES LESS THAN (150), PARTITION b VALUES LESS THAN (10000))',
    ],
    ['REMOVE PARTITIONING', 'ALTER TABLE t@ REMOVE PARTITIONING'],
    ['PARTITION BY HASH', 'ALTER TABLE t@ PARTITION BY HASH (id) PARTITIONS 3'],
    ['ANALYZE PARTITION', 'ALTER TABLE t@ ANALYZE PARTITION p0'],
    ['SELECT from one PARTITION', 'SELECT COUNT(*) FROM t@ PARTITION (p0)'],
  ],
  byRange,
);
onTable(
  'Partitions by hash and list',
  [
    ['ADD PARTITION PARTITIONS 2', 'ALTER TABLE t@ ADD PARTITION PARTITIONS 2'],
    ['COALESCE PARTITION', 'ALTER TABLE t@ COALESCE PARTITION 2'],
    ['TRUNCATE PARTITION ALL', 'ALTER TABLE t@ TRUNCATE PARTITION ALL'],
  ],
  byHash,
);
kind('Partitions by hash and list', [
  [
    'CREATE and DROP a list partition',
    ['ALTER TABLE t@ ADD PARTITION (PARTITION p2 VALUES IN (9))', 'ALTER TABLE t@ DROP PARTITION p2'],
    [`CREATE TABLE t@ (a INT)${byList}`],
  ],
  [
    'PARTITION BY, of a plain table',
    'ALTER TABLE t@ PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (100), PARTITION p1 VALUES LESS THAN (MAXVALUE))',
    filled('t@'),
  ],
  [
    'EXCHANGE PARTITION',
    'ALTER TABLE t@ EXCHANGE PARTITION p0 WITH TABLE u@',
    [
      ...filled('t@', ROWS, byRange),
      'CREATE TABLE u@ (id BIGINT PRIMARY KEY, a INT, b VARCHAR(40), c INT, d DATETIME(3))',
      "INSERT INTO u@ VALUES (5, 1, 'x', 1, NULL)",
    ],
  ],
  [
    'Global index, then DROP PARTITION',
    'ALTER TABLE t@ DROP PARTITION p0',
    [...filled('t@', ROWS, byRange), 'ALTER TABLE t@ ADD UNIQUE INDEX i (c) GLOBAL'],
  ],
  [
    'Partition placement',
    ['CREATE PLACEMENT POLICY q@ FOLLOWERS = 1', 'ALTER TABLE t@ PARTITION p0 PLACEMENT POLICY = q@'],
    filled('t@', ROWS, byRange),
    ['ALTER TABLE t@ PARTITION p0 PLACEMENT POLICY = DEFAULT', 'DROP PLACEMENT POLICY q@'],
  ],
]);

kind('Placement and resources', [
  ['CREATE PLACEMENT POLICY', 'CREATE PLACEMENT POLICY q@ FOLLOWERS = 1', [], ['DROP PLACEMENT POLICY q@']],
  [
    'ALTER PLACEMENT POLICY',
    'ALTER PLACEMENT POLICY q@ FOLLOWERS = 2',
    ['CREATE PLACEMENT POLICY q@ FOLLOWERS = 1'],
    ['DROP PLACEMENT POLICY q@'],
  ],
  ['DROP PLACEMENT POLICY', 'DROP PLACEMENT POLICY q@', ['CREATE PLACEMENT POLICY q@ FOLLOWERS = 1']],
  [
    'CREATE TABLE with a policy',
    'CREATE TABLE t@ (a INT) PLACEMENT POLICY = q@',
    ['CREATE PLACEMENT POLICY q@ FOLLOWERS = 1'],
    ['DROP TABLE t@', 'DROP PLACEMENT POLICY q@'],
  ],
  [
    'ALTER TABLE PLACEMENT POLICY',
    'ALTER TABLE t@ PLACEMENT POLICY = q@',
    ['CREATE PLACEMENT POLICY q@ FOLLOWERS = 1', 'CREATE TABLE t@ (a INT)'],
    ['DROP TABLE t@', 'DROP PLACEMENT POLICY q@'],
  ],
  ['SHOW PLACEMENT', 'SHOW PLACEMENT'],
  ['SHOW PLACEMENT LABELS', 'SHOW PLACEMENT LABELS'],
  ['CREATE RESOURCE GROUP', 'CREATE RESOURCE GROUP g@ RU_PER_SEC = 100000', [], ['DROP RESOURCE GROUP g@']],
  [
    'ALTER RESOURCE GROUP',
    'ALTER RESOURCE GROUP g@ RU_PER_SEC = 200000',
    ['CREATE RESOURCE GROUP g@ RU_PER_SEC = 100000'],
    ['DROP RESOURCE GROUP g@'],
  ],
  ['DROP RESOURCE GROUP', 'DROP RESOURCE GROUP g@', ['CREATE RESOURCE GROUP g@ RU_PER_SEC = 100000']],
  [
    'SET RESOURCE GROUP and a query',
    ['SET RESOURCE GROUP g@', 'SELECT COUNT(*) FROM t@', 'SET RESOURCE GROUP `default`'],
    ['CREATE RESOURCE GROUP g@ RU_PER_SEC = 100000', ...filled('t@')],
    ['DROP RESOURCE GROUP g@'],
  ],
  ['CALIBRATE RESOURCE', 'CALIBRATE RESOURCE'],
]);

kind('Bringing back', [
  ['FLASHBACK TABLE', 'FLASHBACK TABLE t@ TO u@', [...filled('t@'), 'DROP TABLE t@']],
  ['FLASHBACK a truncated TABLE', 'FLASHBACK TABLE t@ TO u@', [...filled('t@'), 'TRUNCATE TABLE t@']],
  ['RECOVER TABLE', 'RECOVER TABLE t@', [...filled('t@'), 'DROP TABLE t@']],
  [
    'FLASHBACK DATABASE',
    'FLASHBACK DATABASE d@ TO e@',
    ['CREATE DATABASE d@', 'CREATE TABLE d@.x (a INT)', 'DROP DATABASE d@'],
  ],
  [
    'Stale read',
    'SELECT COUNT(*) FROM t@ AS OF TIMESTAMP NOW() - INTERVAL 1 SECOND',
    // NOW() leaves out parts of a second: the table must be two seconds old.
    [...filled('t@'), 'DO SLEEP(2.5)'],
  ],
]);

onTable('Statistics', [
  ['ANALYZE TABLE', 'ANALYZE TABLE t@'],
  ['ANALYZE TABLE ALL COLUMNS', 'ANALYZE TABLE t@ ALL COLUMNS'],
  ['ANALYZE TABLE with samples', 'ANALYZE TABLE t@ WITH 0.5 SAMPLERATE'],
  ['DROP STATS', 'DROP STATS t@'],
  ['LOCK and UNLOCK STATS', ['LOCK STATS t@', 'UNLOCK STATS t@']],
  ['SHOW STATS_META', "SHOW STATS_META WHERE table_name = 't@'"],
  ['SHOW STATS_HISTOGRAMS', "SHOW STATS_HISTOGRAMS WHERE table_name = 't@'"],
  ['SHOW STATS_HEALTHY', 'SHOW STATS_HEALTHY'],
]);
kind('Statistics', [
  ['ANALYZE an INDEX', 'ANALYZE TABLE t@ INDEX i', [...filled('t@'), 'ALTER TABLE t@ ADD INDEX i (a)']],
  ['ANALYZE a partitioned table', 'ANALYZE TABLE t@', filled('t@', ROWS, byHash)],
  ['ANALYZE 20,000 rows', 'ANALYZE TABLE t@', filled('t@', 20_000)],
]);

onTable('Administration', [
  ['ADMIN CHECK TABLE', 'ADMIN CHECK TABLE t@'],
  ['ADMIN CHECKSUM TABLE', 'ADMIN CHECKSUM TABLE t@'],
  ['ADMIN SHOW NEXT_ROW_ID', 'ADMIN SHOW t@ NEXT_ROW_ID'],
  ['SHOW CREATE TABLE', 'SHOW CREATE TABLE t@'],
  ['SHOW TABLE STATUS', "SHOW TABLE STATUS LIKE 't@'"],
  ['SHOW INDEX', 'SHOW INDEX FROM t@'],
  ['EXPLAIN ANALYZE', 'EXPLAIN ANALYZE SELECT a, COUNT(*) FROM t@ GROUP BY a'],
  ['TRACE', 'TRACE SELECT COUNT(*) FROM t@'],
]);
kind('Administration', [
  ['ADMIN CHECK INDEX', 'ADMIN CHECK INDEX t@ i', [...filled('t@'), 'ALTER TABLE t@ ADD INDEX i (a)']],
  ['ADMIN RECOVER INDEX', 'ADMIN RECOVER INDEX t@ i', [...filled('t@'), 'ALTER TABLE t@ ADD INDEX i (a)']],
  ['ADMIN CLEANUP INDEX', 'ADMIN CLEANUP INDEX t@ i', [...filled('t@'), 'ALTER TABLE t@ ADD INDEX i (a)']],
  ['ADMIN SHOW DDL', 'ADMIN SHOW DDL'],
  ['ADMIN SHOW DDL JOBS', 'ADMIN SHOW DDL JOBS 5'],
  ['ADMIN SHOW DDL JOB QUERIES', 'ADMIN SHOW DDL JOB QUERIES LIMIT 5'],
  ['ADMIN RELOAD BINDINGS', 'ADMIN RELOAD BINDINGS'],
  ['ADMIN FLUSH PLAN_CACHE', 'ADMIN FLUSH SESSION PLAN_CACHE'],
  [
    'CREATE and DROP BINDING',
    [
      'CREATE GLOBAL BINDING FOR SELECT * FROM t@ WHERE a = 1 USING SELECT * FROM t@ USE INDEX (i) WHERE a = 1',
      'DROP GLOBAL BINDING FOR SELECT * FROM t@ WHERE a = 1',
    ],
    [...filled('t@'), 'ALTER TABLE t@ ADD INDEX i (a)'],
  ],
  ['SET GLOBAL', 'SET GLOBAL tidb_distsql_scan_concurrency = 15'],
  ['SHOW CONFIG', "SHOW CONFIG WHERE type = 'tidb' AND name = 'port'"],
  ['SHOW PROCESSLIST', 'SHOW PROCESSLIST'],
  ['CREATE, GRANT and DROP USER', ["CREATE USER 'u@'", "GRANT SELECT ON *.* TO 'u@'", "DROP USER 'u@'"]],
  ['CREATE and DROP ROLE', ["CREATE ROLE 'r@'", "DROP ROLE 'r@'"]],
  ['FLUSH PRIVILEGES', 'FLUSH PRIVILEGES'],
  ['SHOW MASTER STATUS', 'SHOW MASTER STATUS'],
  ['SHOW BUILTINS', 'SHOW BUILTINS'],
]);

kind('information_schema', [
  ['tables', "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'bench'"],
  ['columns', "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = 'bench'"],
  ['partitions', "SELECT COUNT(*) FROM information_schema.partitions WHERE table_schema = 'bench'"],
  ['statistics', "SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = 'bench'"],
  ['tikv_region_status', 'SELECT COUNT(*) >= 0 FROM information_schema.tikv_region_status'],
  ['tikv_region_peers', 'SELECT COUNT(*) >= 0 FROM information_schema.tikv_region_peers'],
  ['tikv_store_status', 'SELECT COUNT(*) FROM information_schema.tikv_store_status'],
  [
    'table_storage_stats',
    "SELECT * FROM information_schema.table_storage_stats WHERE table_schema = 'mysql' AND table_name = 'user'",
  ],
  ['placement_policies', 'SELECT COUNT(*) FROM information_schema.placement_policies'],
  ['resource_groups', 'SELECT COUNT(*) FROM information_schema.resource_groups'],
  ['ddl_jobs', 'SELECT COUNT(*) > 0 FROM information_schema.ddl_jobs WHERE state = "queueing"'],
  ['slow_query', 'SELECT COUNT(*) FROM information_schema.slow_query'],
  ['statements_summary', 'SELECT COUNT(*) > 0 FROM information_schema.statements_summary'],
  ['cluster_info', 'SELECT COUNT(*) > 0 FROM information_schema.cluster_info'],
  ['cluster_processlist', 'SELECT COUNT(*) > 0 FROM information_schema.cluster_processlist'],
  ['tidb_trx', 'SELECT COUNT(*) FROM information_schema.tidb_trx'],
  ['data_lock_waits', 'SELECT COUNT(*) FROM information_schema.data_lock_waits'],
  ['deadlocks', 'SELECT COUNT(*) FROM information_schema.deadlocks'],
  ['tidb_servers_info', 'SELECT COUNT(*) > 0 FROM information_schema.tidb_servers_info'],
  ['attributes', 'SELECT COUNT(*) FROM information_schema.attributes'],
  ['sequences', 'SELECT COUNT(*) FROM information_schema.sequences'],
  ['memory_usage', 'SELECT COUNT(*) > 0 FROM information_schema.memory_usage'],
  ['tiflash_replica', 'SELECT COUNT(*) FROM information_schema.tiflash_replica'],
]);

onTable('Reading', [
  ['Point select', 'SELECT * FROM t@ WHERE id = 7'],
  [
    'Batch of 50 points',
    `SELECT * FROM t@ WHERE id IN (${Array.from({ length: 50 }, (_, i) => i * 3).join(', ')})`,
  ],
  ['Range', 'SELECT * FROM t@ WHERE id BETWEEN 10 AND 150'],
  ['Backwards with a limit', 'SELECT * FROM t@ ORDER BY id DESC LIMIT 10'],
  ['Aggregation', 'SELECT a, COUNT(*), AVG(c), MAX(b) FROM t@ GROUP BY a'],
  ['Join with itself', 'SELECT COUNT(*) FROM t@ x JOIN t@ y ON x.c = y.id'],
  ['Window', 'SELECT id, ROW_NUMBER() OVER (PARTITION BY a ORDER BY id) FROM t@'],
  [
    'Recursive CTE',
    'WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 50) SELECT COUNT(*) FROM n JOIN t@ ON id = i',
  ],
  ['FOR UPDATE', ['BEGIN', 'SELECT * FROM t@ WHERE id < 50 FOR UPDATE', 'ROLLBACK']],
  ['SET TRANSACTION READ ONLY', ['START TRANSACTION READ ONLY', 'SELECT COUNT(*) FROM t@', 'COMMIT']],
]);

const values = (from: number, count: number): string =>
  Array.from({ length: count }, (_, i) => `(${from + i}, 1, 'new', ${from + i}, NULL)`).join(', ');

onTable('Writing', [
  ['INSERT', "INSERT INTO t@ VALUES (100001, 1, 'x', 1, NOW())"],
  ['INSERT, 1,000 rows', `INSERT INTO t@ VALUES ${values(200_000, 1000)}`],
  ['INSERT IGNORE', "INSERT IGNORE INTO t@ VALUES (1, 1, 'x', 1, NULL)"],
  ['REPLACE', "REPLACE INTO t@ VALUES (1, 1, 'x', 1, NULL)"],
  ['ON DUPLICATE KEY UPDATE', "INSERT INTO t@ VALUES (1, 1, 'x', 1, NULL) ON DUPLICATE KEY UPDATE a = a + 1"],
  ['INSERT SELECT', 'INSERT INTO t@ SELECT id + 300000, a, b, c, d FROM t@'],
  ['UPDATE of one', 'UPDATE t@ SET a = a + 1 WHERE id = 5'],
  ['UPDATE of all', 'UPDATE t@ SET a = a + 1'],
  ['DELETE of one', 'DELETE FROM t@ WHERE id = 9'],
  ['DELETE of all', 'DELETE FROM t@'],
  ['BATCH DELETE', 'BATCH ON id LIMIT 50 DELETE FROM t@'],
  ['BATCH UPDATE', 'BATCH ON id LIMIT 50 UPDATE t@ SET a = 3'],
  ['Optimistic transaction', ['BEGIN OPTIMISTIC', 'UPDATE t@ SET a = 1 WHERE id < 100', 'COMMIT']],
  ['Pessimistic transaction', ['BEGIN PESSIMISTIC', 'UPDATE t@ SET a = 1 WHERE id < 100', 'COMMIT']],
  [
    'SAVEPOINT',
    [
      'BEGIN',
      'UPDATE t@ SET a = 1 WHERE id = 1',
      'SAVEPOINT s',
      'UPDATE t@ SET a = 2',
      'ROLLBACK TO s',
      'COMMIT',
    ],
  ],
  [
    'Causal consistency only',
    ['START TRANSACTION WITH CAUSAL CONSISTENCY ONLY', 'UPDATE t@ SET a = 1', 'COMMIT'],
  ],
]);

const LARGE = 5000;
kind('Large transactions', [
  ['COMMIT of 5,000 rows', 'UPDATE t@ SET c = c + 1', filled('t@', LARGE)],
  ['ROLLBACK of 5,000 rows', 'ROLLBACK', [...filled('t@', LARGE), 'BEGIN', 'UPDATE t@ SET c = c + 1']],
  ['5,000 rows in 16 regions', 'UPDATE t@ SET c = c + 1', [...filled('t@', LARGE), inRegions(LARGE, 16)]],
  [
    'ROLLBACK in 16 regions',
    'ROLLBACK',
    [...filled('t@', LARGE), inRegions(LARGE, 16), 'BEGIN', 'UPDATE t@ SET c = c + 1'],
  ],
  [
    'Pipelined, 5,000 rows',
    [
      "SET SESSION tidb_dml_type = 'bulk'",
      'UPDATE t@ SET c = c + 1',
      "SET SESSION tidb_dml_type = 'standard'",
    ],
    filled('t@', LARGE),
  ],
  [
    'INSERT SELECT of 5,000 rows',
    'INSERT INTO t@ SELECT id + 100000, a, b, c, d FROM t@',
    filled('t@', LARGE),
  ],
  ['DELETE of 5,000 rows', 'DELETE FROM t@', filled('t@', LARGE)],
]);
for (const regions of [1, 16])
  list.push({
    kind: 'Large transactions',
    name: `Reading over the locks of another, ${regions} region${regions === 1 ? '' : 's'}`,
    before: [
      ...filled('t@', LARGE),
      ...(regions > 1 ? [inRegions(LARGE, regions)] : []),
      'UPDATE t@ SET c = c + 1',
    ],
    run: ['SELECT SUM(c) FROM t@'],
    after: [],
    leavesLocks: true,
  });

kind('Loads', [
  [
    'LOAD DATA, 5,000 rows',
    "LOAD DATA LOCAL INFILE 'rows' INTO TABLE t@ FIELDS TERMINATED BY ','",
    ['CREATE TABLE t@ (id BIGINT PRIMARY KEY, a INT, b VARCHAR(40))'],
  ],
  [
    'INSERT, 10 times 500 rows',
    Array.from({ length: 10 }, (_, i) => `INSERT INTO t@ VALUES ${values(i * 500, 500)}`),
    ['CREATE TABLE t@ (id BIGINT PRIMARY KEY, a INT, b VARCHAR(40), c INT, d DATETIME(3))'],
  ],
  [
    'INSERT into a pre-split table',
    `INSERT INTO t@ (a) VALUES ${Array.from({ length: 1000 }, (_, i) => `(${i})`).join(', ')}`,
    ['CREATE TABLE t@ (a INT) SHARD_ROW_ID_BITS = 4 PRE_SPLIT_REGIONS = 4'],
  ],
  [
    'IMPORT INTO ... FROM SELECT',
    'IMPORT INTO u@ FROM SELECT * FROM t@',
    [
      ...filled('t@', 2000),
      'CREATE TABLE u@ (id BIGINT PRIMARY KEY, a INT, b VARCHAR(40), c INT, d DATETIME(3))',
    ],
  ],
]);

export const STATEMENTS: readonly Statement[] = list;
