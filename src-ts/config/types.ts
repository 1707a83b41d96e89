/** The pluginConfig as its users write it. What each field means is in fields.ts; the filter's own reader decides. */

export interface KeyspaceConfig {
  id: number;
  mode: 'txn' | 'raw';
}

export interface PrefixConfig {
  text?: string;
  hex?: string;
  mode: 'txn' | 'raw';
}

export interface TenantConfig {
  name: string;
  number: number;
  keyspace?: KeyspaceConfig;
  prefix?: PrefixConfig;
}

export interface RuleConfig {
  principal: string;
  tenant?: string;
  system?: boolean;
}

export interface LimitsConfig {
  maxMessageBytes?: number;
  heldBytesPerVM?: number;
  heldBytesPerTenant?: number;
  maxTsDriftSeconds?: number;
  maxHoldBackSeconds?: number;
  drainTimeoutSeconds?: number;
}

export interface PdConfig {
  cluster: string;
  authority?: string;
}

export interface PluginConfig {
  $schema?: string;
  tenants: TenantConfig[];
  rules: RuleConfig[];
  requirePrincipal?: true;
  limits?: LimitsConfig;
  pd?: PdConfig;
}
