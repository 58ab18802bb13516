"""Training on tiny models with random weights; no weights are fetched."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.engines.adapt.errors import TrainingError
from sluicegate.engines.adapt.train.log import LOG, read_log
from sluicegate.engines.adapt.train.plan import TrainingPlan, make_plan
from sluicegate.engines.adapt.train.recipe import Stop, TrainingRecipe
from sluicegate.engines.layouts import split_template
from support.chat_template import TEMPLATE
from support.training import labelled_rows, small_base, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.engines.adapt.train.loop import Training
    from sluicegate.engines.adapt.train.plan import TrainingOutcome
    from sluicegate.engines.layouts import Layout

pytestmark = [pytest.mark.adapt, pytest.mark.filterwarnings("default::FutureWarning")]

TOLERANCE = 1e-6
"""Most that a weight of a resumed training may differ from an uninterrupted one's. On one CPU thread none was seen."""


def recipe(**changed: Any) -> TrainingRecipe:
    document = {
        "base": {"bundle": "small"},
        "lora": {"preset": "strong", "r": 4, "dropout": 0.1},
        "data": {"planned_rows": 48, "max_tokens": 256},
        "optimiser": {"learning_rate": 1e-2, "batch_rows": 8, "micro_tokens": 512},
        "dev": {"rows": 9, "every_rows": 16},
        "precision": "float32",
    }
    return TrainingRecipe.model_validate({**document, **changed})


def planned(folder: Path, layout: Layout | None = None, **changed: Any) -> TrainingPlan:
    data = write_rows(folder / "data", labelled_rows(40), labelled_rows(18, prefix="d"))
    return make_plan(recipe(**changed), data, base=small_base(layout))


def tiny_model(kind: str = "llama") -> Any:
    import torch  # noqa: PLC0415 - gigabytes
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM  # noqa: PLC0415

    torch.manual_seed(0)
    torch.set_num_threads(1)
    sizes: dict[str, Any] = {
        "vocab_size": small_base().tokenizer.vocabulary_size,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "initializer_range": 0.2,  # with the usual 0.02 the output could hardly tell two tokens apart
    }
    if kind == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**sizes, head_dim=8, tie_word_embeddings=False))
    return LlamaForCausalLM(LlamaConfig(**sizes, tie_word_embeddings=True))


def training(plan: TrainingPlan, kind: str = "llama") -> Training:
    from sluicegate.engines.adapt.train.loop import Training  # noqa: PLC0415 - loads torch

    return Training(plan, device="cpu", loaded=tiny_model(kind))


def sit(
    plan: TrainingPlan, out: Path, stop: Stop | None = None, kind: str = "llama"
) -> tuple[Training, TrainingOutcome]:
    from sluicegate.engines.adapt.train.loop import sit as sit_down  # noqa: PLC0415 - loads torch

    out.mkdir(exist_ok=True)
    learner = training(plan, kind)
    outcome = sit_down(learner, out, stop=stop or Stop(), checkpoint_minutes=60, report=print)
    return learner, outcome


def weights(learner: Training) -> dict[str, Any]:
    from sluicegate.engines.adapt.train.model import trainable  # noqa: PLC0415 - loads the tokenizer

    return {name: one.detach().clone() for name, one in trainable(learner.model).items()}


class StopAfter(Stop):
    """Ends a sitting after so many answers to whether it should end."""

    def __init__(self, asked: int) -> None:
        super().__init__()
        self._left = asked

    @property
    def reason(self) -> str | None:
        self._left -= 1
        return "enough" if self._left < 0 else None


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    whole, outcome = sit(plan, tmp_path / "whole")
    assert outcome.finished
    sittings = 0
    while True:
        parts, outcome = sit(plan, tmp_path / "parts", StopAfter(4))
        sittings += 1
        if outcome.finished:
            break
    assert sittings >= 3
    assert parts.progress.rows == whole.progress.rows == 48
    for name, one in weights(whole).items():
        assert (weights(parts)[name] - one).abs().max() <= TOLERANCE
    logs = [
        [
            (entry["what"], entry["step"], entry.get("loss"), entry.get("macro_f1"))
            for entry in read_log(out / LOG)
        ]
        for out in (tmp_path / "whole", tmp_path / "parts")
    ]
    assert logs[0] == logs[1]


def test_training_lowers_the_loss_and_leaves_the_base_alone(tmp_path: Path) -> None:
    plan = planned(tmp_path, data={"planned_rows": 160})
    learner, _ = sit(plan, tmp_path / "out")
    losses = [entry["loss"] for entry in read_log(tmp_path / "out" / LOG) if entry["what"] == "step"]
    assert sum(losses[-4:]) < 0.7 * sum(losses[:4])
    fresh = dict(tiny_model().named_parameters())
    for name, one in learner.model.get_base_model().named_parameters():
        plain = name.replace(".base_layer", "")
        if plain in fresh:
            assert (one == fresh[plain]).all()


def test_how_a_step_is_cut_into_micro_batches_does_not_change_its_gradient(tmp_path: Path) -> None:
    steady = {"preset": "strong", "r": 4}
    found = []
    for micro_tokens in (64, 4096):
        plan = planned(
            tmp_path,
            lora=steady,
            optimiser={"batch_rows": 8, "micro_tokens": micro_tokens, "learning_rate": 1e-2},
        )
        learner = training(plan)
        learner.step()
        found.append((len(plan.steps[0]), weights(learner)))
    assert found[0][0] > found[1][0]
    for name, one in found[0][1].items():
        # Adam's first step is the gradient's sign: where it is next to nothing, rounding may turn it.
        assert ((found[1][1][name] - one).abs() > 1e-4).float().mean() < 0.02


def test_only_completions_are_learnt_and_the_labels_first_token_weighs_more(tmp_path: Path) -> None:
    import torch  # noqa: PLC0415 - gigabytes

    from sluicegate.engines.adapt.train.model import collate, loss_sum  # noqa: PLC0415 - loads torch

    plan = planned(tmp_path)
    examples = sorted(plan.train[:3], key=lambda one: one.tokens)
    learner = training(plan)
    learner.model.eval()
    with torch.no_grad():
        found = float(loss_sum(learner.model, collate(examples, label_weight=4.0, device="cpu")))
        expected = 0.0
        for one in examples:
            ids = torch.tensor([[*one.prompt_ids, *one.completion_ids]])
            logs = learner.model.get_base_model()(input_ids=ids).logits[0].log_softmax(-1)
            for place, token in enumerate(one.completion_ids):
                weight = 4.0 if place == 0 else 1.0
                expected -= weight * float(logs[len(one.prompt_ids) - 1 + place, token])
    assert found == pytest.approx(expected, rel=1e-4)


def test_measuring_gives_the_label_probabilities_that_serving_takes_and_changes_nothing(
    tmp_path: Path,
) -> None:
    import torch  # noqa: PLC0415 - gigabytes

    from sluicegate.engines.adapt.evaluate.scored import SEVERITIES  # noqa: PLC0415 - the same
    from sluicegate.engines.adapt.train.model import judge  # noqa: PLC0415 - loads the tokenizer

    plan = planned(tmp_path)
    learner = training(plan)
    state = torch.get_rng_state()
    first = plan.base.labels.first_ids()
    judged = judge(learner.model, plan.dev[:1], first, micro_tokens=512, device="cpu")
    assert learner.model.training
    assert torch.equal(state, torch.get_rng_state())
    learner.model.eval()
    with torch.no_grad():
        last = learner.model(input_ids=torch.tensor([plan.dev[0].prompt_ids])).logits[0, -1]
    expected = last[[first[severity] for severity in SEVERITIES]].softmax(0).tolist()
    assert judged[0].probabilities == pytest.approx(expected, abs=1e-5)


def test_sigterm_writes_a_checkpoint_and_ends(tmp_path: Path) -> None:
    from sluicegate.engines.adapt.train.loop import sit as sit_down  # noqa: PLC0415 - loads torch

    plan, out = planned(tmp_path), tmp_path / "out"
    out.mkdir()
    stop, learner = Stop(), training(plan)
    stepped = learner.step

    def step_and_be_told_to_end() -> float:
        if learner.progress.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return stepped()

    learner.step = step_and_be_told_to_end  # type: ignore[method-assign] # a signal in the middle of a step
    with stop.on_signals():
        outcome = sit_down(learner, out, stop=stop, checkpoint_minutes=60, report=print)
    assert (outcome.reason, outcome.finished, outcome.progress.step) == ("SIGTERM", False, 2)
    later, outcome = sit(plan, out)
    assert outcome.finished
    assert later.progress.rows == 48
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    sit(planned(tmp_path), tmp_path / "out", StopAfter(2))
    with pytest.raises(TrainingError, match="of another recipe, base or data"):
        sit(planned(tmp_path, seed=2), tmp_path / "out")
    (tmp_path / "out" / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(TrainingError, match="cannot be read"):
        sit(planned(tmp_path), tmp_path / "out")


def test_it_stops_early_when_dev_gets_no_better_and_keeps_the_best(tmp_path: Path) -> None:
    plan = planned(
        tmp_path,
        dev={"rows": 9, "every_rows": 8, "patience": 2},
        optimiser={"batch_rows": 8, "learning_rate": 1e-9},
        data={"planned_rows": 400},
    )
    _, outcome = sit(plan, tmp_path / "out")
    assert (outcome.reason, outcome.progress.best_rows) == ("dev got no better", 8)
    assert outcome.progress.strikes == 2
    assert (tmp_path / "out" / "best" / "adapter_config.json").is_file()


def test_the_written_adapter_is_one_that_peft_loads_and_a_training_can_begin_with(tmp_path: Path) -> None:
    import torch  # noqa: PLC0415 - gigabytes
    from peft import PeftModel  # noqa: PLC0415 - the same

    from sluicegate.engines.adapt.train.model import adapter_weights  # noqa: PLC0415 - loads torch

    learner, _ = sit(planned(tmp_path), tmp_path / "out")
    adapter = tmp_path / "out" / "adapter"
    loaded = PeftModel.from_pretrained(tiny_model(), adapter)
    ids = torch.tensor([learner.plan.dev[0].prompt_ids])
    learner.model.eval()
    with torch.no_grad():
        difference = (loaded(input_ids=ids).logits - learner.model(input_ids=ids).logits).abs().max()
    assert difference < 1e-2
    begun = training(planned(tmp_path, start_from=str(adapter)))
    for name, one in adapter_weights(learner.model).items():
        assert (adapter_weights(begun.model)[name] - one).abs().max() < 1e-2
    with pytest.raises(TrainingError, match="another r"):
        training(planned(tmp_path, start_from=str(adapter), lora={"preset": "strong", "r": 2}))


def test_a_target_that_the_model_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"lora\.targets"):
        training(planned(tmp_path, lora={"r": 4, "alpha": 8, "targets": ["no_such_proj"]}))


def test_the_same_code_trains_qwen3_on_the_vendor_layout(tmp_path: Path) -> None:
    plan = planned(tmp_path, split_template(TEMPLATE), data={"planned_rows": 24, "max_tokens": 1200})
    learner, outcome = sit(plan, tmp_path / "out", kind="qwen3")
    assert outcome.finished
    targets = {name.split(".lora_")[0].rsplit(".", 1)[-1] for name in weights(learner)}
    assert targets == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.mark.parametrize("precision", ["bf16_autocast", "bf16"])
def test_bf16_changes_the_loss_little(tmp_path: Path, precision: str) -> None:
    from sluicegate.engines.adapt.train.loop import Training  # noqa: PLC0415 - loads torch
    from sluicegate.engines.adapt.train.model import load_base  # noqa: PLC0415 - loads the tokenizer

    checkpoint = tmp_path / "checkpoint"
    tiny_model().save_pretrained(checkpoint)
    losses = []
    for wanted in ("float32", precision):
        plan = planned(tmp_path, precision=wanted, lora={"preset": "strong", "r": 4})
        loaded = load_base(small_base(folder=checkpoint), plan.recipe, "cpu")
        losses.append(Training(plan, device="cpu", loaded=loaded).step())
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_an_estimate_names_memory_and_time_and_measures_the_longest_step(tmp_path: Path) -> None:
    from sluicegate.engines.adapt.train.loop import measure  # noqa: PLC0415 - loads torch

    found = measure(training(planned(tmp_path)))
    assert found.peak_mib > 50
    assert found.tokens_per_s > 0
    assert found.train_hours > 0
    assert found.dev_hours > 0
