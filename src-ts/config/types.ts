/** The pluginConfig as users write it. schema.ts says what each field means; the filter's own reader decides. */

export interface KeyspaceConfig {
  id: number;
  mode: 'txn' | 'raw';
}

export interface PrefixConfig {
  text?: string;
  hex?: string;
  mode: 'txn' | 'raw';
  ttl?: boolean;
}

export interface TenantLimitsConfig {
  maxStreams?: number;
  requestsPerSecond?: number;
  bytesPerSecond?: number;
  pdRequestsPerSecond?: number;
  etcdWatches?: number;
  etcdKeys?: number;
  etcdLeases?: number;
  resourceGroups?: number;
  pdRecords?: number;
}

export interface MoveConfig {
  serial: number;
  phase: 'prepare' | 'calm' | 'drain' | 'fence' | 'final' | 'over';
  /** For `calm`, `drain` and `fence`: ms since 1970. */
  until?: number;
}

export interface TenantConfig {
  name: string;
  number: number;
  state?: 'active' | 'read-only' | 'suspended';
  limits?: TenantLimitsConfig;
  keyspace?: KeyspaceConfig;
  prefix?: PrefixConfig;
  ownDefaultGroup?: boolean;
  keyNumber?: number;
  epochOffset?: number;
  confVerOffset?: number;
  clusterId?: { seen: string; own: string };
  latestSeen?: string;
  servedBy?: string;
  readableSince?: string;
  move?: MoveConfig;
}

/** Patterns for the facts about a workload. */
export interface FactsConfig {
  workload?: string;
  namespace?: string;
  cluster?: string;
  app?: string;
  labels?: Record<string, string>;
}

export interface RuleConfig {
  principal?: string;
  peer?: FactsConfig;
  node?: FactsConfig;
  tenant?: string;
  system?: boolean;
  mayActFor?: string[];
}

export interface LimitsConfig {
  maxMessageBytes?: number;
  heldBytesPerVM?: number;
  heldBytesPerTenant?: number;
  maxTsDriftSeconds?: number;
  maxHoldBackSeconds?: number;
  maxEtcdLeaseSeconds?: number;
  drainTimeoutSeconds?: number;
  maxStreamsPerTenant?: number;
  requestsPerSecondPerTenant?: number;
  bytesPerSecondPerTenant?: number;
  pdRequestsPerSecondPerTenant?: number;
  etcdWatchesPerTenant?: number;
  etcdKeysPerTenant?: number;
  etcdLeasesPerTenant?: number;
  resourceGroupsPerTenant?: number;
  pdRecordsPerTenant?: number;
}

export interface PdConfig {
  cluster: string;
  authority?: string;
}

/** Names of operations, as in docs/surface.md. `/*` at the end means all below. */
export interface RefuseConfig {
  refuse?: string[];
}

export interface PolicyConfig extends RefuseConfig {
  tenants?: Record<string, RefuseConfig>;
}

export interface PluginConfig {
  $schema?: string;
  tenants: TenantConfig[];
  rules?: RuleConfig[];
  requirePrincipal?: boolean;
  limits?: LimitsConfig;
  pd?: PdConfig;
  policy?: PolicyConfig;
  dryRun?: boolean;
  observability?: { maxTenants?: number; latency?: boolean };
}
