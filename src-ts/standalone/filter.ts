/** The filter in a file of its own, which Envoy reads anew under open streams. */

/** What a file of a discovered filter holds. */
export function discoveryFile(filter: { readonly name: string; readonly typed_config: object }): object {
  const type = 'type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig';
  return { resources: [{ '@type': type, name: filter.name, typed_config: filter.typed_config }] };
}
