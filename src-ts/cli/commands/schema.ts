/** `tidb-mesh schema`: prints the JSON schema of the pluginConfig. */
import { PLUGIN_CONFIG_SCHEMA, schemaText } from '../../config/schema.ts';
import type { Definition } from '../definition.ts';

export const schema: Definition<object, []> = {
  name: 'schema',
  summary: 'print the JSON schema of the pluginConfig, for editors',
  about: `An editor completes and checks a pluginConfig that begins with {"$schema": "<path or URL>", …}.
\`tidb-mesh validate\` also finds what a schema cannot say, such as a number that two tenants share.
Both forms of --output are JSON.`,
  examples: ['tidb-mesh schema > plugin-config.schema.json'],
  run: () => ({ value: PLUGIN_CONFIG_SCHEMA, text: schemaText().trimEnd() }),
};
