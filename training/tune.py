"""The search for better values of a training: Optuna proposes, Ray Tune runs, unpromising trials are stopped early.

The sampler is the multivariate tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011; Falkner et al., ICML
2018), trials are stopped by ASHA (Li et al., MLSys 2020) or Hyperband (Li et al., JMLR 2018). The study is an SQLite
file: a search that was killed goes on with it, and repeats only the trials that were running.
"""

import logging
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import ray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from data.artifacts import StageConfig
from data.errors import InputError
from training.config import SpreadConfig
from training.tune_config import Config, Range, TuneConfig, inner_values, with_values
from training.tune_trials import TrialLog, TrialRuns

logger = logging.getLogger("catena")

STUDY = "study.db"  # in the artifact's folder
TRIALS = "trials"  # likewise, what Ray Tune writes as long as the search runs
BEST, SEEN = "best", "seen"  # in a trial's report: the highest figure so far, and the epoch
ATTEMPTS = 3  # to bring all trials to an end: those that Ray Tune lost are repeated
REPEATED = "repeats"  # attribute of a trial that a killed search left half done

OnRow = Callable[[Mapping[str, float]], None]
Train = Callable[[Config, OnRow], None]


def search(
    train: "Train[Config]",
    config: Config,
    tuning: TuneConfig,
    spread: SpreadConfig,
    epochs: int,
    out: Path,
    runs: TrialRuns | None = None,
) -> optuna.Study:
    """Try as many trainings as are asked for; a search that was killed continues in the same folder.

    Args:
        train: trains with a config and calls its argument with what each epoch measured; it runs on a worker.
        config: where every key that is not searched comes from; tried first as it is.
        tuning: space, trials, scheduler.
        spread: of each training: a trial with several workers only waits for them.
        epochs: most of a trial.
        out: receives ``study.db``.
        runs: the trials in MLflow.

    Returns:
        The study.

    Raises:
        InputError: if no trial ends well, with the error of the last.
    """
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # else Ray Tune prints where its own files are, which go away
    storage = optuna.storages.RDBStorage(f"sqlite:///{out / STUDY}")
    space = {key: _distribution(allowed) for key, allowed in tuning.space.items()}
    study = optuna.create_study(storage=storage, study_name="tune", direction="maximize", load_if_exists=True)
    defaults = {key: inner_values(config)[key] for key in space}
    log = TrialLog(tuning.trials, tuning.metric, runs)
    with log, warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        for attempt in range(ATTEMPTS):
            done, killed = _continued(study, defaults, space)
            if killed or (done and not attempt):
                logger.info("tune: continuing with %d trials done; %d that were running are repeated", done, killed)
            if done >= tuning.trials:
                break
            log.start(done)
            sampler = optuna.samplers.TPESampler(
                seed=tuning.seed + done, multivariate=True, n_startup_trials=max(3, min(10, tuning.trials // 4))
            )
            tune.Tuner(
                tune.with_resources(_trainable(train, config, tuning.metric), _resources(tuning, spread)),
                tune_config=tune.TuneConfig(
                    search_alg=OptunaSearch(
                        space, metric=BEST, mode="max", sampler=sampler, storage=storage, study_name="tune"
                    ),
                    scheduler=_scheduler(tuning, epochs),
                    num_samples=tuning.trials - done,
                    max_concurrent_trials=_concurrent(tuning, spread),
                    reuse_actors=spread.workers == 1,  # one that waits for workers is not free when it is stopped
                ),
                run_config=tune.RunConfig(name=TRIALS, storage_path=str(out), verbose=0, callbacks=[log]),
            ).fit()
            shutil.rmtree(out / TRIALS, ignore_errors=True)
    if not study.get_trials(states=[TrialState.COMPLETE], deepcopy=False):
        raise InputError(
            f"none of {tuning.trials} trials ended well; the last error: {log.last_error}", "Correct what it names."
        )
    return study


def _trainable(train: "Train[Config]", config: Config, metric: str) -> Callable[[dict[str, Any]], None]:
    def trial(values: dict[str, Any]) -> None:
        best = -float("inf")

        def report(row: Mapping[str, float]) -> None:
            nonlocal best
            if metric not in row:
                raise InputError(f"tune.metric: an epoch has no figure {metric!r}", f"It has {', '.join(row)}.")
            best = max(best, row[metric])
            if row["epoch"] > 0:
                tune.report({BEST: best, SEEN: row["epoch"], **row})

        train(with_values(config, values), report)

    return trial


def _continued(
    study: optuna.Study, defaults: Mapping[str, Any], space: Mapping[str, BaseDistribution]
) -> tuple[int, int]:
    """Make a new or a killed study ready; how many of its trials are over, and how many were running."""
    trials = study.get_trials(deepcopy=False)
    if not trials:
        within = all(allowed._contains(allowed.to_internal_repr(defaults[key])) for key, allowed in space.items())
        if within:
            study.enqueue_trial(dict(defaults))
    running = [trial for trial in trials if trial.state == TrialState.RUNNING]
    for trial in running:
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params, user_attrs={REPEATED: trial.number})
    repeated = {
        trial.user_attrs[REPEATED] for trial in study.get_trials(deepcopy=False) if REPEATED in trial.user_attrs
    }
    over = [trial for trial in trials if trial.state.is_finished() and trial.number not in repeated]
    return len(over), len(running)


def _distribution(allowed: Any) -> BaseDistribution:  # noqa: ANN401 - Range or Choice
    if not isinstance(allowed, Range):
        return CategoricalDistribution(allowed.choice)
    if allowed.whole:
        return IntDistribution(int(allowed.low), int(allowed.high), log=allowed.log)
    return FloatDistribution(allowed.low, allowed.high, log=allowed.log)


def _scheduler(tuning: TuneConfig, epochs: int) -> TrialScheduler:
    if tuning.scheduler == "none" or epochs == 1:
        return FIFOScheduler()
    # Both without waiting for other trials: a paused one would have to start again.
    brackets = 1 if tuning.scheduler == "asha" else 3
    return ASHAScheduler(metric=BEST, mode="max", max_t=epochs, reduction_factor=3, brackets=brackets)


def _concurrent(tuning: TuneConfig, spread: SpreadConfig) -> int:
    """Trials at a time: no more than the cluster has cores, or GPUs, for."""
    have = ray.cluster_resources()
    room = int(have.get("GPU", 0) if spread.use_gpu else have.get("CPU", 1)) // spread.workers
    return max(1, min(tuning.concurrent or room, room, tuning.trials))


def _resources(tuning: TuneConfig, spread: SpreadConfig) -> dict[str, float]:
    """What a trial takes: an equal share; one of several workers waits for them and takes no core itself."""
    if spread.workers > 1:
        return {"CPU": 0, "memory": 1}  # a byte: Ray Tune never starts a trial that takes nothing at all
    share = max(1, int(ray.cluster_resources().get("CPU", 1)) // _concurrent(tuning, spread))
    return {"CPU": share, **({"GPU": 1} if spread.use_gpu else {})}


def changed(config: StageConfig, study: optuna.Study) -> dict[str, tuple[Any, Any]]:
    """The searched keys, each with its value before and in the best trial."""
    before = inner_values(config)
    return {key: (before[key], value) for key, value in study.best_trial.params.items()}


def first_value(study: optuna.Study, before: Mapping[str, Any]) -> float | None:
    """The score with the values of the run file; None where they are not within the space, or that trial failed."""
    done = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    return next((trial.value for trial in done if trial.params == dict(before)), None)
