/** Numbers of the proxy-wasm ABI 0.2.1, as in Envoy's host. https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1 */

export const enum HeaderMap {
  REQUEST_HEADERS = 0,
  REQUEST_TRAILERS = 1,
  RESPONSE_HEADERS = 2,
  RESPONSE_TRAILERS = 3,
}

export const enum Buffer {
  REQUEST_BODY = 0,
  RESPONSE_BODY = 1,
  HTTP_CALL_RESPONSE_BODY = 4,
  PLUGIN_CONFIGURATION = 7,
}

export const enum Action {
  CONTINUE = 0,
  PAUSE = 1,
}

export const enum LogLevel {
  TRACE = 0,
  DEBUG = 1,
  INFO = 2,
  WARN = 3,
  ERROR = 4,
  CRITICAL = 5,
}

export const enum MetricType {
  COUNTER = 0,
  GAUGE = 1,
}

/** gRPC status codes that the filter sends. */
export const enum Grpc {
  NONE = -1,
  INVALID_ARGUMENT = 3,
  PERMISSION_DENIED = 7,
  RESOURCE_EXHAUSTED = 8,
  FAILED_PRECONDITION = 9,
  UNIMPLEMENTED = 12,
  INTERNAL = 13,
}
