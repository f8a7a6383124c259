/**
 * Text between two marker comments of a markdown file, replaced by generated text.
 */

/**
 * The text with new content between `<!-- marker -->` and `<!-- /marker -->`, which stay; undefined
 * if either is missing or they stand in the wrong order. Replacing twice changes nothing more.
 */
export function replaceMarked(text: string, marker: string, content: string): string | undefined {
  const [open, close] = [`<!-- ${marker} -->`, `<!-- /${marker} -->`];
  const start = text.indexOf(open);
  const end = text.indexOf(close);
  if (start < 0 || end < start) return undefined;
  return `${text.slice(0, start + open.length)}\n\n${content.trim()}\n\n${text.slice(end)}`;
}
