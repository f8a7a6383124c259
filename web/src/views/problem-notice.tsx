/** A problem: what happened, what the server said, what to do. */
import type { Problem } from '../api/problem.js';

export function ProblemNotice({
  problem,
  onRetry,
}: {
  readonly problem: Problem;
  readonly onRetry?: () => void;
}) {
  return (
    <div class="problem" role="alert">
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
