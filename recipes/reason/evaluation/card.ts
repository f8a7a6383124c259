/** The model card: what the model is, in words that do not change, and its figures. */
import { generatorFor } from 'looplm/data';
import { drawAt } from '../curriculum.js';
import { replyText, textOf } from '../problem.js';
import { TASKS } from '../tasks/index.js';
import type { Evaluation, Rival } from './evaluation-file.js';
import { cardTables } from './tables.js';

const EXAMPLE_SEED = 4;

/** @param rivals - models to compare with, which had the same problems */
export function modelCard(evaluation: Evaluation, rivals: readonly Rival[]): string {
  const { parameters, numLoops, trainSteps } = evaluation;
  return `---
license: apache-2.0
library_name: looplm
tags: [looped-language-model, adaptive-depth, reasoning, chat]
---

# Small reasoning in plain English

A looped language model of ${(parameters / 1e6).toFixed(1)}M parameters: its layers are run up to ${numLoops} times with the same weights,
and an exit gate decides after each pass whether a token is done. It answers small problems directly, in a short
sentence, without written-out steps: whatever thinking there is happens in the loops. Its chat template is ChatML;
plain text ending in a question is answered as well.

## What it can be asked

${examples()}

It knows ${TASKS.length - 1} kinds of problems, in several phrasings, with or without capitals, and the names of the word list; any other
text is spelled in bytes, and the answer to what it was not trained for is "I don't know." Follow-up questions about
the same facts may be asked in the same chat. Numbers go from 0 to 50, cups from 1 to 5, the clock from 1 to 12.

What it says of countries is in its weights. The list is our own, written from common knowledge
(\`countries.ts\`); "largest neighbour" is by area, with a common land border.

## Training

Stage I with beta 0.1, ${trainSteps.toLocaleString('en')} updates, the running answer labelled wherever there is one; relations begin alone.
A lesson opens when fresh problems of the one before are answered right in 85 of 100 cases, whenever that is.
One problem in sixteen is held out by a hash of what it says, whatever its phrasing, and so is any longer problem that begins with
one; single steps, which are the building blocks, are not. Some phrasings are never trained, and 15 % of the countries begin no
chain of two or more facts. The code is \`recipes/reason\`.

## Figures

${cardTables(evaluation, rivals)}

## Limits

It has seen nothing but these problems. Longer ones, other names in place of those of the list, two questions at once or any
other English may be answered wrongly instead of with "I don't know."
`;
}

/** A question of each task and what it is to be answered. */
function examples(): string {
  const rows = TASKS.map((task, index) => {
    const lesson = task.lessons.at(-1)!;
    const difficulty = Math.min(2, lesson.difficulty[1]);
    const rng = generatorFor(EXAMPLE_SEED, index);
    const [turn] = drawAt(rng, task, { ...lesson, size: [1, 3] }, difficulty).turns;
    return `| ${task.name} | ${textOf(turn!.asked)} | ${replyText(turn!.reply)} |`;
  });
  return ['| task | for example | reply |', '| --- | --- | --- |', ...rows].join('\n');
}
