/** The gRPC or HTTP status that a stream ends with. */
import { Grpc } from '../host/abi';
import { Status } from '../wire/status';

export function grpcStatus(status: Status): i32 {
  switch (status) {
    case Status.KEY_OUTSIDE:
    case Status.NAME_OUTSIDE:
    case Status.SERVICE_ID:
    case Status.WRONG_SPACE:
    case Status.NOT_FOR_TENANTS:
    case Status.RANGES_MISSING:
    case Status.BY_POLICY:
    case Status.READ_SINCE:
    case Status.GROUP_SHARED:
    case Status.FILE_BACKUP:
      return Grpc.PERMISSION_DENIED;
    case Status.HELD_TOO_MUCH:
    case Status.TOO_LONG:
    case Status.TOO_MANY_PENDING:
    case Status.TOO_MANY_CHANGES:
    case Status.TOO_MANY_FIELDS:
      return Grpc.RESOURCE_EXHAUSTED;
    case Status.COMPRESSED:
      return Grpc.UNIMPLEMENTED;
    case Status.UNKNOWN_FIELD:
    case Status.DUPLICATE:
    case Status.GROUP:
    case Status.TOO_DEEP:
    case Status.TIMESTAMP_AHEAD:
    case Status.REGION_NOT_NAMED:
    case Status.GROUP_NAME:
    case Status.GROUP_SETTINGS:
    case Status.TSO_COUNT:
      return Grpc.INVALID_ARGUMENT;
    case Status.REGION_NOT_PROVEN:
    case Status.HELD_BACK:
      return Grpc.FAILED_PRECONDITION;
    default:
      return Grpc.INTERNAL;
  }
}

export function httpStatus(status: Status): u32 {
  switch (status) {
    case Status.KEY_OUTSIDE:
    case Status.NAME_OUTSIDE:
      return 403;
    case Status.TOO_LONG:
    case Status.TOO_MANY_CHANGES:
      return 413;
    case Status.HELD_TOO_MUCH:
      return 503;
    default:
      return 400;
  }
}
