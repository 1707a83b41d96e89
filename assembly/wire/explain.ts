/** What a caller is told: one sentence that says what to do. ASCII. */
import { Status } from './status';

export function explain(status: Status): string {
  switch (status) {
    case Status.MALFORMED:
      return 'the message is not valid protobuf of its type';
    case Status.DUPLICATE:
      return 'a singular field is there twice';
    case Status.GROUP:
      return 'the message holds a protobuf group, which these protocols do not use';
    case Status.UNKNOWN_FIELD:
      return 'a field that this version does not know; the client is newer than tidb-mesh';
    case Status.KEY_OUTSIDE:
      return "a key lies outside of the tenant's key space; only keys of TiDB's own layout can be used";
    case Status.NAME_OUTSIDE:
      return 'a name or lease that is not for tenants';
    case Status.TOO_DEEP:
      return 'the message is nested deeper than 32 levels';
    case Status.COMPRESSED:
      return 'compressed gRPC messages cannot be rewritten; set tikv-client.grpc-compression-type = "none" in the configuration of TiDB';
    case Status.TOO_LONG:
      return 'the message is longer than limits.maxMessageBytes';
    case Status.HELD_TOO_MUCH:
      return 'too many bytes of unfinished messages; raise limits.heldBytesPerVM or limits.heldBytesPerTenant, or send less at once';
    case Status.TRUNCATED:
      return 'the stream ended inside a message';
    case Status.ROW_DATA:
      return 'the partition ids of a coprocessor answer could not be found in its rows';
    case Status.TOO_MANY_PENDING:
      return 'too many coprocessor requests for partition ids in flight on one stream';
    case Status.TOO_MANY_CHANGES:
      return 'the message holds more keys and ranges than can be rewritten at once; send less at once';
    case Status.SERVICE_ID:
      return 'service safe points other than gc_worker are not for tenants';
    case Status.TIMESTAMP_AHEAD:
      return 'a timestamp lies further in the future than limits.maxTsDriftSeconds; check the clocks of the client and of PD';
    case Status.WRONG_SPACE:
      return 'not for a key space of this kind: transactions need mode "txn", RawKV needs mode "raw", the coprocessor needs the table or the keyspace codec';
    case Status.NOT_FOR_TENANTS:
      return 'a request that is not for tenants';
    case Status.REGION_NOT_NAMED:
      return 'a request that acts on a whole region must name the region and its epoch in its context';
    case Status.REGION_NOT_PROVEN:
      return "a request that acts on a whole region, and pluginConfig.pd.cluster does not say where to ask whose region it is; set it to Envoy's cluster of PD";
    case Status.RANGES_MISSING:
      return 'a request without key ranges would act on the whole store; name the ranges';
    case Status.TOO_MANY_FIELDS:
      return 'the message holds more fields than can be read at once; send less at once';
    default:
      return 'refused';
  }
}
