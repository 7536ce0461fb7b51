"""BERTScore with the options of M3D's evaluation: no idf weights, no rescaling, the layer that bert-score names."""

from collections.abc import Callable, Iterable

from harness.metrics.family import Family, Protocol
from harness.metrics.metric import EmptyCases, Metric, Outcome, Pair, Parameter, Resource, Stats
from harness.metrics.ratios import ratio
from harness.metrics.reports.bert_encoder import DEFAULT_MODEL, Texts, describe, find_model, load, missing
from harness.records import Prediction, Sample
from harness.text.reply import answer_text


def prepare(
    pairs: Iterable[Pair], *, model: str = DEFAULT_MODEL, num_layers: int = 0
) -> Callable[[Sample, Prediction], Outcome]:
    """Return a score that looks up values computed for all `pairs` in batches; other pairs are computed one by one.

    Args:
        pairs: Samples with their predictions; read once.
        model: A folder, or the name of a model in the local hub cache.
        num_layers: Layer whose embeddings are compared; 0 for the layer that bert-score names.
    Raises:
        ModelError: The model is not on this machine or cannot be read.
    """
    encoder = load(*find_model(model, num_layers))
    known = encoder.scores(texts for sample, prediction in pairs for texts in _texts(sample, prediction))

    def score(sample: Sample, prediction: Prediction) -> Outcome:
        if not sample.target.answers:
            return Outcome("undefined")
        texts = _texts(sample, prediction)
        known.update(encoder.scores(pair for pair in texts if pair not in known))
        found = [known[pair] for pair in texts] or [(0.0, 0.0, 0.0)]
        return Outcome("ok", (*(max(values) for values in zip(*found, strict=True)), 1.0))

    return score


def _texts(sample: Sample, prediction: Prediction) -> list[Texts]:
    """Return the texts to compare; none for a blank text, which scores 0 against anything."""
    reply = answer_text(prediction.text or "").strip()
    answers = (answer_text(answer).strip() for answer in sample.target.answers)
    return [(answer, reply) for answer in answers if reply and answer]


def _score(sample: Sample, prediction: Prediction, *, model: str = DEFAULT_MODEL, num_layers: int = 0) -> Outcome:
    """Return F1, precision and recall; of several answers the best of each, as in bert-score."""
    return prepare([(sample, prediction)], model=model, num_layers=num_layers)(sample, prediction)


def _worst(sample: Sample) -> Stats:
    return (0.0, 0.0, 0.0, 1.0 if sample.target.answers else 0.0)


def _ceiling(sample: Sample) -> float | None:
    """Return 1; 0 if every answer is blank, which bert-score scores 0 whatever the reply."""
    if not sample.target.answers:
        return None
    return 1.0 if any(answer_text(answer).strip() for answer in sample.target.answers) else 0.0


BERTSCORE = Family(
    name="bertscore",
    values=("f1", "precision", "recall"),
    stats=("f1", "precision", "recall", "samples"),
    line="text",
    suits=frozenset({"text"}),
    combine=ratio,
    protocols=(
        Protocol(
            name="standard",
            version=2,
            score=_score,
            worst=_worst,
            ceiling=_ceiling,
            prepare=prepare,
            parameters=(
                Parameter(
                    name="model",
                    default=DEFAULT_MODEL,
                    summary="A folder, or a hub name that is in the local cache; nothing is downloaded.",
                ),
                Parameter(
                    name="num_layers",
                    default=0,
                    summary="Layer whose embeddings are compared, 1 or more; 0: the one bert-score names for a hub "
                    "name.",
                ),
            ),
            resource=Resource(name="bert-score model", missing=missing, describe=describe),
            certificate="An overlap of words: frequent words, several answers and repeated words earn a part.",
            summary="BERTScore of bert-score, reasoning cut: cosine of contextual embeddings, matched greedily; no idf "
            "weights, no rescaling.",
            formula="P = mean over the reply's tokens of the largest cosine with a token of the answer, R the reverse, "
            "F1 = 2 P R / (P + R). The best answer counts, for each value on its own.",
            range=(-1.0, 1.0),
            empty=EmptyCases(prediction=0.0, target=0.0, both=0.0),
            source="Zhang et al., arXiv:1904.09675; bert-score with the options of M3D, arXiv:2404.00578",
        ),
    ),
)

METRICS: tuple[Metric, ...] = BERTSCORE.rows()
