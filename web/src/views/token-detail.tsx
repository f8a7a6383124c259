/** One token: what each loop would have said, and what the gate thought of stopping there. */
import { useLayoutEffect } from 'preact/hooks';
import type { Candidate, LoopReading, Token } from '../api/token.js';
import { exitCdf } from '../state/figures.js';
import { gateThreshold } from '../state/policies.js';
import type { Settings } from '../state/settings.js';
import { percent, seen } from './format.js';
import { Strata } from './legend.js';
import { depthStyle } from './theme.js';

interface TokenDetailProps {
  readonly token: Token;
  /** Those that it was made with. */
  readonly settings: Settings;
  readonly numLoops: number;
  readonly onClose: () => void;
}

export function TokenDetail({ token, settings, numLoops, onClose }: TokenDetailProps) {
  const { exitDepth, logprob, loops, top } = token;
  // on a small screen the detail would lie on its token
  useLayoutEffect(() => {
    document.querySelector('.token[aria-selected="true"]')?.scrollIntoView({ block: 'nearest' });
  }, [token]);
  const cdf = exitCdf(loops.map(({ exitProb }) => exitProb));
  return (
    <section id="detail" class="detail" aria-labelledby="detail-name" tabIndex={-1}>
      <header class="detail-head">
        <h2 id="detail-name">
          <span class="unseen-text">Token </span>
          {seen(token.name)}
        </h2>
        <button type="button" class="close" aria-label="Close" onClick={onClose}>
          <span aria-hidden="true">×</span>
        </button>
      </header>
      <p class="detail-line">
        {exitDepth === null ? (
          'No loop decided this token: it was given.'
        ) : (
          <>
            <Strata depth={exitDepth} /> depth {exitDepth} of {numLoops}
            {logprob !== null && <>, probability {percent(Math.exp(logprob))}</>}
          </>
        )}
      </p>
      {loops.length > 0 ? (
        <ol class="loops">
          {loops.map((loop, index) => (
            <Loop
              key={index}
              depth={index + 1}
              isExit={index + 1 === exitDepth}
              isLast={index + 1 === numLoops}
              loop={loop}
              token={token}
              cdf={cdf[index]!}
              threshold={gateThreshold(settings.exitPolicy)}
            />
          ))}
        </ol>
      ) : (
        exitDepth !== null && (
          <>
            <p class="about">
              {token.channel === 'prompt'
                ? 'It stands in the prompt. The model would have gone this deep for it, and have said:'
                : 'The server reported no loops of it. At its depth:'}
            </p>
            <Candidates candidates={top} taken={{ token: token.name, logprob: logprob ?? NaN }} />
          </>
        )
      )}
      {loops.length > 0 && exitDepth !== null && (
        <p class="skipped">{restOfLoops(exitDepth, loops.length, numLoops)}</p>
      )}
    </section>
  );
}

/** What became of the loops after the exit. */
function restOfLoops(exitDepth: number, numRun: number, numLoops: number): string {
  if (numRun > exitDepth) {
    return 'It follows the prompt, whose last token runs every loop; those after the exit changed nothing.';
  }
  if (numRun === numLoops) return '';
  if (numRun === numLoops - 1) return `Loop ${numLoops} was not needed.`;
  return `Loops ${numRun + 1} to ${numLoops} were not needed.`;
}

interface LoopProps {
  readonly depth: number;
  readonly isExit: boolean;
  readonly isLast: boolean;
  readonly loop: LoopReading;
  readonly token: Token;
  readonly cdf: number;
  readonly threshold: number | undefined;
}

function Loop({ depth, isExit, isLast, loop, token, cdf, threshold }: LoopProps) {
  return (
    <li class="loop" style={depthStyle(depth)}>
      <h3>
        <Strata depth={depth} /> Loop {depth} {isExit && <small>token taken here</small>}
      </h3>
      <Candidates candidates={loop.top} taken={{ token: token.name, logprob: loop.logprob }} />
      {loop.exitProb !== null && (
        <Gate
          exitProb={loop.exitProb}
          cdf={isLast ? 1 : cdf}
          isLast={isLast}
          threshold={threshold}
        />
      )}
    </li>
  );
}

/** The likeliest tokens; the one that was taken is added where it is not among them. */
function Candidates({
  candidates,
  taken,
}: {
  readonly candidates: readonly Candidate[];
  readonly taken: Candidate;
}) {
  const isTaken = ({ token }: Candidate) => token === taken.token;
  const isListed = candidates.some(isTaken) || Number.isNaN(taken.logprob);
  return (
    <table class="candidates">
      <thead class="unseen-text">
        <tr>
          <th scope="col">Token</th>
          <th scope="col">Probability</th>
        </tr>
      </thead>
      <tbody>
        {[...candidates, ...(isListed ? [] : [taken])].map((candidate, index) => (
          <tr key={index} class={isTaken(candidate) ? 'is-taken' : ''}>
            <th scope="row">
              {seen(candidate.token)}
              {isTaken(candidate) && <span class="unseen-text"> (taken)</span>}
            </th>
            <td>
              <i class="share" style={{ '--share': String(Math.exp(candidate.logprob)) }} />
              <span>{percent(Math.exp(candidate.logprob))}</span>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Gate({
  exitProb,
  cdf,
  isLast,
  threshold,
}: {
  readonly exitProb: number;
  readonly cdf: number;
  readonly isLast: boolean;
  readonly threshold: number | undefined;
}) {
  return (
    <div class="gate">
      <span class="gate-name">Gate</span>
      <i
        class="gate-bar"
        aria-hidden="true"
        style={{ '--share': String(cdf), '--threshold': String(threshold ?? 0) }}
        data-threshold={threshold === undefined ? undefined : ''}
      />
      <span class="gate-text">
        {isLast ? (
          'stops at the last loop'
        ) : (
          <>
            stop {percent(exitProb)} · so far <b>{percent(cdf)}</b>
          </>
        )}
        {!isLast && threshold !== undefined && (
          <span class="unseen-text">
            , {cdf >= threshold ? 'at least' : 'less than'} the threshold of {percent(threshold)}
          </span>
        )}
      </span>
    </div>
  );
}
