/**
 * Tokens as text, each with the mark of its depth: as many lines below it as it took loops.
 *
 * One stop of the tab key for all: arrow keys move among the tokens, Enter opens one. While the
 * detail is open, it follows the arrow keys.
 */
import { Component } from 'preact';
import { useRef, useState } from 'preact/hooks';
import type { Token } from '../api/token.js';
import { spoken } from './format.js';
import { depthStyle } from './theme.js';

/** A token with its place in its turn. */
export interface PlacedToken {
  readonly token: Token;
  readonly index: number;
}

export interface TokenStripProps {
  readonly label: string;
  readonly tokens: readonly PlacedToken[];
  readonly numLoops: number;
  readonly selected: number | undefined;
  /** Indices of tokens that the other side lacks. */
  readonly marked?: ReadonlySet<number> | undefined;
  readonly isWriting: boolean;
  /** `byKey` if the focus shall go along. */
  readonly onSelect: (index: number, byKey: boolean) => void;
}

export function TokenStrip(props: TokenStripProps) {
  const { label, tokens, numLoops, selected, marked, isWriting, onSelect } = props;
  const strip = useRef<HTMLDivElement>(null);
  const [focused, setFocused] = useState<number>();
  const first = tokens[0]?.index ?? 0;
  const last = tokens.at(-1)?.index ?? 0;
  const current = Math.min(Math.max(focused ?? selected ?? first, first), last);

  const move = (index: number) => {
    if (index < first || index > last) return;
    setFocused(index);
    strip.current?.querySelector<HTMLElement>(`[data-index="${index}"]`)?.focus();
    if (selected !== undefined) onSelect(index, false);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const target = targetOf(event.key, current, first, last);
    if (target !== undefined) move(target);
    else if (event.key === 'Enter' || event.key === ' ') onSelect(current, true);
    else return;
    event.preventDefault();
  };
  const onClick = ({ target }: MouseEvent) => {
    const index = (target as Element).closest<HTMLElement>('[data-index]')?.dataset['index'];
    if (index === undefined) return;
    setFocused(Number(index));
    onSelect(Number(index), false);
  };
  return (
    <div
      ref={strip}
      class={`strip ${isWriting ? 'is-writing' : ''}`}
      role="listbox"
      aria-label={label}
      aria-orientation="horizontal"
      aria-busy={isWriting}
      onKeyDown={onKeyDown}
      onClick={onClick}
    >
      {tokens.map(({ token, index }) => (
        <TokenMark
          key={index}
          token={token}
          index={index}
          isFirst={index === first}
          numLoops={numLoops}
          isSelected={index === selected}
          isStop={index === current}
          isMarked={marked?.has(index) ?? false}
        />
      ))}
    </div>
  );
}

function targetOf(key: string, at: number, first: number, last: number): number | undefined {
  switch (key) {
    case 'ArrowRight':
    case 'ArrowDown':
      return at + 1;
    case 'ArrowLeft':
    case 'ArrowUp':
      return at - 1;
    case 'Home':
      return first;
    case 'End':
      return last;
    default:
      return undefined;
  }
}

interface TokenMarkProps {
  readonly token: Token;
  readonly index: number;
  readonly isFirst: boolean;
  readonly numLoops: number;
  readonly isSelected: boolean;
  /** Whether the tab key stops here. */
  readonly isStop: boolean;
  readonly isMarked: boolean;
}

/** One token; drawn again only if something of it changed, since there may be thousands. */
class TokenMark extends Component<TokenMarkProps> {
  override shouldComponentUpdate(next: TokenMarkProps): boolean {
    return (Object.keys(next) as (keyof TokenMarkProps)[]).some(
      (key) => next[key] !== this.props[key],
    );
  }

  override render(props: TokenMarkProps) {
    const { token, index, isFirst, numLoops, isSelected, isStop, isMarked } = props;
    const { text, name, exitDepth, channel } = token;
    // a space before a word is no part of its mark, as no line below a word has one
    const [space, word] = splitSpace(text);
    const depth = exitDepth === null ? 'no depth' : `depth ${exitDepth} of ${numLoops}`;
    const classes = ['token', `of-${channel}`, ...(isMarked ? ['is-different'] : [])];
    return (
      <>
        {!isFirst && space}
        <span
          class={classes.join(' ')}
          role="option"
          data-index={index}
          tabIndex={isStop ? 0 : -1}
          aria-selected={isSelected}
          aria-label={`${spoken(name)}, ${depth}${isMarked ? ', only on this side' : ''}`}
          title={depth}
          style={exitDepth === null ? undefined : depthStyle(exitDepth)}
        >
          <Visible text={word} />
        </span>
      </>
    );
  }
}

function splitSpace(text: string): readonly [string, string] {
  const word = text.trimStart();
  const isSpaced = word !== '' && /^ +$/.test(text.slice(0, text.length - word.length));
  return isSpaced ? [text.slice(0, text.length - word.length), word] : ['', text];
}

/** The text, with signs for line ends and for tokens without text. */
function Visible({ text }: { readonly text: string }) {
  if (text === '') return <i class="special" />;
  const [head, ...lines] = text.split('\n');
  return (
    <>
      {head}
      {lines.map((line, index) => (
        <span key={index}>
          <span class="sign">↵</span>
          {`\n${line}`}
        </span>
      ))}
    </>
  );
}
