/** Writes a pluginConfig so that a change of one tenant or rule is a change of one line. */
import type { PluginConfig } from './types.ts';

/** JSON with one line per field, and one per element where the field is a list. */
export function configText(config: PluginConfig): string {
  const fields = Object.entries(config).map(([name, value]) => {
    const text = Array.isArray(value)
      ? `[\n${value.map((one) => `    ${JSON.stringify(one)}`).join(',\n')}\n  ]`
      : JSON.stringify(value);
    return `  ${JSON.stringify(name)}: ${text}`;
  });
  return `{\n${fields.join(',\n')}\n}\n`;
}
