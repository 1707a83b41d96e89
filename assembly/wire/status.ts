/** How the rewriting of one message or stream ended. */
export const enum Status {
  OK = 0,
  /** Internal to the walker: this message lies outside the tenant and leaves the answer. */
  DROP,
  /** Bytes that are not a protobuf message of the expected type. */
  MALFORMED,
  /** A singular field twice. */
  DUPLICATE,
  /** A group (wire types 3 and 4), which none of these protocols uses. */
  GROUP,
  /** A length-delimited field that the schema does not know, in a request. */
  UNKNOWN_FIELD,
  /** An exact key outside the tenant's key space. */
  KEY_OUTSIDE,
  /** A range or name that no tenant may reach. */
  NAME_OUTSIDE,
  /** Messages nested deeper than MAX_DEPTH. */
  TOO_DEEP,
  /** A gRPC frame with the compressed flag. */
  COMPRESSED,
  /** A frame longer than limits.maxMessageBytes. */
  TOO_LONG,
  /** Partial frames beyond limits.heldBytesPerVM or heldBytesPerTenant. */
  HELD_TOO_MUCH,
  /** The stream ended inside a frame. */
  TRUNCATED,
  /** A coprocessor answer whose `_tidb_tid` column could not be found in the row data. */
  ROW_DATA,
  /** More coprocessor requests in flight on one stream than MAX_PENDING. */
  TOO_MANY_PENDING,
  /** A service safe point without a name that can be kept. */
  SERVICE_ID,
  /** More changes to one message than MAX_PATCHES. */
  TOO_MANY_CHANGES,
  /** More fields in one message than MAX_FIELDS. */
  TOO_MANY_FIELDS,
  /** A timestamp further in the future than limits.maxTsDriftSeconds. */
  TIMESTAMP_AHEAD,
  /** A request for another kind of key space: RawKV in a transactional one, a coprocessor request in a prefix. */
  WRONG_SPACE,
  /** A request inside a batch that no tenant may send. */
  NOT_FOR_TENANTS,
  /** A request that acts on a whole region but does not say which one in which version. */
  REGION_NOT_NAMED,
  /** A request that acts on a whole region, and no way to ask PD whose it is. */
  REGION_NOT_PROVEN,
  /** A request whose list of ranges is absent, which upstream reads as the whole store. */
  RANGES_MISSING,
  /** A TiDB says since when it reads, but not as a number with a lease. */
  READ_SINCE,
  /** A service safe point further back than limits.maxHoldBackSeconds. */
  HELD_BACK,
  /** A resource group whose name PD would not keep. */
  GROUP_NAME,
  /** A change to the resource group that all tenants share. */
  GROUP_SHARED,
  /** A resource group without the settings that PD relies on. */
  GROUP_SETTINGS,
  /** More timestamps wanted at once than MAX_TSO_COUNT. */
  TSO_COUNT,
  /** What BACKUP and RESTORE ask for before anything else. */
  FILE_BACKUP,
  /** A command of a batch that pluginConfig.policy refuses. */
  BY_POLICY,
}
