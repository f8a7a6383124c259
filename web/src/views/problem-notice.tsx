/** A problem: what happened, what the server said, what to do. */
import type { Problem } from '../api/problem.js';

export function ProblemNotice({
  problem,
  isCalm = false,
  onRetry,
}: {
  readonly problem: Problem;
  /** Whether it is no fault of anybody. */
  readonly isCalm?: boolean;
  readonly onRetry?: () => void;
}) {
  return (
    <div class={`problem ${isCalm ? 'is-calm' : ''}`} role="alert">
      <p class="problem-title">{problem.title}</p>
      {problem.detail !== undefined && <p class="problem-detail">{problem.detail}</p>}
      <p>{problem.todo}</p>
      {onRetry && (
        <button type="button" onClick={onRetry}>
          Try again
        </button>
      )}
    </div>
  );
}
