/** Writes a pluginConfig so that a changed tenant or rule changes one line. */
import type { PluginConfig } from './types.ts';

/** Writes JSON with one line per field, or one per element when the field is a list. */
export function configText(config: PluginConfig): string {
  const fields = Object.entries(config).map(([name, value]) => {
    const text = Array.isArray(value)
      ? `[\n${value.map((one) => `    ${JSON.stringify(one)}`).join(',\n')}\n  ]`
      : JSON.stringify(value);
    return `  ${JSON.stringify(name)}: ${text}`;
  });
  return `{\n${fields.join(',\n')}\n}\n`;
}
