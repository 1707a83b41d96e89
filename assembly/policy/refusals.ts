/** What a caller is told when a stream ends early: a gRPC status and one sentence that says what to do. */
import { Grpc } from '../host/abi';
import { Status } from '../wire/status';

export function grpcStatus(status: Status): i32 {
  switch (status) {
    case Status.KEY_OUTSIDE:
    case Status.NAME_OUTSIDE:
    case Status.SERVICE_ID:
      return Grpc.PERMISSION_DENIED;
    case Status.HELD_TOO_MUCH:
    case Status.TOO_LONG:
    case Status.TOO_MANY_PENDING:
    case Status.TOO_MANY_CHANGES:
      return Grpc.RESOURCE_EXHAUSTED;
    case Status.COMPRESSED:
      return Grpc.UNIMPLEMENTED;
    case Status.UNKNOWN_FIELD:
    case Status.DUPLICATE:
    case Status.GROUP:
    case Status.TOO_DEEP:
      return Grpc.INVALID_ARGUMENT;
    default:
      return Grpc.INTERNAL;
  }
}

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
      return 'the message holds more than a million keys and ranges that must be rewritten; send less at once';
    case Status.SERVICE_ID:
      return 'service safe points other than gc_worker are not for tenants';
    default:
      return 'refused';
  }
}
