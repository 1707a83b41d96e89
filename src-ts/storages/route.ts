/** How Envoy knows a call that goes to another storage, and how a server knows which storage serves it. */

/** What the filter puts in front of the path of a call that it hands over (assembly/streams/hand-over.ts). */
export const handOverPrefix = (storage: string): string => `/.tidb-mesh/${storage}/`;

/** A member of a route: tells the server which storage serves the call, whatever the caller has said. */
export const storageHeader = (storage: string): { readonly request_headers_to_add: readonly object[] } => ({
  request_headers_to_add: [
    {
      header: { key: 'x-tidb-mesh-storage', value: storage },
      append_action: 'OVERWRITE_IF_EXISTS_OR_ADD',
    },
  ],
});
