"""Scores of a model on the labels that are known; DeepChem's own evaluation counts every label, whatever its weight."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from deepchem.data import Dataset
from deepchem.metrics import Metric
from deepchem.trans import Transformer, undo_transforms

from ..data.datasets import records_of
from ..errors import LabelError, OptionError, an_object, counted
from .inputs import check_dataset
from .labels import LabelReader

Scores = dict[str, float] | tuple[dict[str, float], dict[str, Any]]


class ScoredOnKnownLabels:
    """The part of a DeepChem model with labels that evaluates it.

    Attributes
    ----------
    labels : LabelReader
        Says which labels are known.
    """

    labels: LabelReader
    predict: Callable[..., Any]
    predict_on_generator: Callable[..., Any]

    def evaluate(
        self,
        dataset: Dataset,
        metrics: Any,
        transformers: Sequence[Transformer] = (),
        per_task_metrics: bool = False,
        use_sample_weights: bool = False,
        n_classes: int = 2,
    ) -> Scores:
        """Scores on a data set, over the labels that are known.

        A label that is NaN or infinite, or has the weight 0, has no part in any score, as it has none in the training.

        Parameters
        ----------
        dataset : dc.data.Dataset
        metrics : dc.metrics.Metric, function, or list of them
        transformers : sequence of dc.trans.Transformer
            Those that the data set was transformed by; they are undone.
        per_task_metrics : bool
            Whether the scores of each task are returned too.
        use_sample_weights : bool
            Whether the weights of the known labels enter the metrics. By default they all count alike.
        n_classes : int
            Of a classification, if it is more than that of the model.

        Returns
        -------
        dict from str to float
            The score by the name of each metric. With several tasks it is their mean; a task without a known label is
            left out of it with a warning.
        dict
            With ``per_task_metrics`` also the scores of each task, NaN where no label is known.

        Raises
        ------
        LabelError
            If no label is known at all, or labels do not fit the model.
        OptionError
            If weights are to be used with a metric that takes none.
        """
        check_dataset(dataset)
        undone = [transformer for transformer in transformers if transformer.transform_y]
        sites = [graph.num_nodes for graph in records_of(dataset)] if self.labels.level == "site" else None
        known = self.labels.read_arrays(undo_transforms(dataset.y, undone), dataset.w, sites)
        checked, prediction = _checked(metrics, use_sample_weights), self.predict(dataset, undone)
        return _scores(checked, *known, prediction, self.labels, per_task_metrics, use_sample_weights, n_classes)

    def evaluate_generator(
        self,
        generator: Iterable[tuple[Any, Any, Any]],
        metrics: Any,
        transformers: Sequence[Transformer] = (),
        per_task_metrics: bool = False,
    ) -> Scores:
        """The same on batches (inputs, labels, weights); see :meth:`evaluate`."""
        undone = [transformer for transformer in transformers if transformer.transform_y]
        nothing = np.empty((0, self.labels.n_tasks))
        parts = [(nothing, nothing)]

        def read() -> Iterator[tuple[Any, Any, Any]]:
            for inputs, labels, weights in generator:
                sites = [graph.num_nodes for graph in inputs[0]] if self.labels.level == "site" else None
                parts.append(self.labels.read_arrays(undo_transforms(labels[0], undone), weights[0], sites))
                yield inputs, labels, weights

        prediction = self.predict_on_generator(read(), undone)
        values, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
        return _scores(_checked(metrics, False), values, weights, prediction, self.labels, per_task_metrics, False, 2)


def _checked(metrics: Any, use_sample_weights: bool) -> list[Metric]:
    """The metrics as a list; functions are named as DeepChem names them."""
    given = metrics if isinstance(metrics, list) else [metrics]
    for metric in given:
        if not isinstance(metric, Metric) and not callable(metric):
            rule = "a metric is a dc.metrics.Metric or a function of labels and predictions"
            raise OptionError("metrics", an_object(metric), rule, "Pass dc.metrics.Metric(...), or a list of them.")
    made = [metric if isinstance(metric, Metric) else Metric(metric, name=f"metric-{k}")
            for k, metric in enumerate(given, 1)]  # fmt: skip
    for metric in made if use_sample_weights else []:
        if not _takes_weights(metric.metric):
            raise OptionError(
                "use_sample_weights",
                f"True with the metric {metric.name}",
                "weights enter only a metric that takes sample_weight",
                "Leave it out (labels of weight 0 have no part anyway), or use a metric of scikit-learn.",
            )
    return made


def _takes_weights(function: Callable) -> bool:
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # compiled: it must be tried
        return True
    return "sample_weight" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _scores(
    metrics: list[Metric],
    values: np.ndarray,
    weights: np.ndarray,
    prediction: np.ndarray,
    labels: LabelReader,
    per_task_metrics: bool,
    use_sample_weights: bool,
    n_classes: int,
) -> Scores:
    is_known = weights > 0
    tasks = np.flatnonzero(is_known.any(axis=0))
    if not len(tasks):
        raise LabelError(
            "dataset",
            "no label is known",
            "an evaluation needs at least one label that is a number and has a weight above 0",
            "Give the data set labels.",
        )
    if unknown := sorted(set(range(labels.n_tasks)) - set(tasks.tolist())):
        names = ", ".join(map(str, unknown))
        text = f"{counted(len(unknown), 'task')} of {labels.n_tasks} without a known label ({names}, counted from 0)"
        warnings.warn(f"{text}: the scores are those of the other tasks", UserWarning, stacklevel=4)
    options = {"n_tasks": 1, "n_classes": max(n_classes, labels.n_classes), "use_sample_weights": use_sample_weights}
    means, of_tasks = {}, {}
    for metric in metrics:
        scores: list[Any] = [np.nan] * labels.n_tasks
        for task in tasks:
            rows = is_known[:, task]
            predicted = prediction[rows] if labels.n_tasks == 1 else prediction[rows, task : task + 1]
            _, scores[task] = metric.compute_metric(
                values[rows, task], predicted, weights[rows, task], per_task_metrics=True, **options
            )
        is_one = labels.n_tasks == 1
        means[metric.name] = metric.task_averager(scores[0] if is_one else [scores[task] for task in tasks])
        of_tasks[metric.name] = scores[0] if is_one else scores
    return (means, of_tasks) if per_task_metrics else means
