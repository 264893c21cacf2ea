"""Training against sums by hand: momentum, schedule, snapshots, metrics, streams, divergence."""

import numpy as np
import pytest
import small_runs
import torch
import torch.nn.functional as F
from small_runs import EPOCHS, SNAPSHOT_EPOCHS, STEPS, Steps

from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.training import networks, optimisers, sgd
from limitcycles.training.augmentation import augment
from limitcycles.training.trajectories import recording

pytestmark = pytest.mark.usefixtures("one_thread")
LINEAR = {"builder": "small_runs:linear", "weights": 650}
MOMENTA = {
    "none": small_runs.sgd(),
    "heavy-ball": small_runs.sgd(0.9),
    "nesterov": small_runs.sgd(0.7, nesterov=True),
}


def updated(x, velocity, gradient, rate, momentum, decay):
    """One step of SGD as the textbooks have it: the new x and the new velocity."""
    mu, nesterov = momentum["options"].values()
    gradient = gradient + decay * x
    velocity = mu * velocity + gradient
    ahead = gradient + mu * velocity if nesterov else velocity
    return x - rate * ahead, velocity


@pytest.mark.parametrize("momentum", MOMENTA.values(), ids=MOMENTA)
@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_optimizer_follows_the_textbook(momentum, decay):
    matrix = np.array([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]])
    module = torch.nn.Module()
    module.x = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    settings = small_runs.run(optimiser=momentum, weight_decay=decay)["training"]
    optimizer = optimisers.of(settings).torch(module.parameters(), 0.1)
    x, velocity = np.array([1.0, -2.0, 0.5]), np.zeros(3)
    for _ in range(8):
        optimizer.zero_grad()
        (0.5 * module.x @ torch.from_numpy(matrix) @ module.x).backward()
        optimizer.step()
        x, velocity = updated(x, velocity, matrix @ x, 0.1, momentum, decay)
        np.testing.assert_allclose(module.x.detach().numpy(), x, rtol=1e-12)


def softmax_regression(images, labels, weights):
    """Mean cross-entropy, its gradient and the predictions, in float64."""
    matrix, bias = weights[:640].reshape(10, 64), weights[640:]
    logits = images @ matrix.T + bias
    logits = logits - logits.max(1, keepdims=True)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    loss = -np.log(p[np.arange(len(labels)), labels]).mean()
    residual = (p - np.eye(10)[labels]) / len(labels)
    return loss, np.concatenate([(residual.T @ images).ravel(), residual.sum(0)]), logits.argmax(1)


@pytest.mark.parametrize("momentum", MOMENTA.values(), ids=MOMENTA)
def test_whole_runs_of_softmax_regression_by_hand(digits, plans, tmp_path, momentum):
    """Batches, schedule, momentum, decay, snapshots and metrics are put together rightly."""
    settings = small_runs.run(LINEAR, optimiser=momentum, weight_decay=0.01)
    result = sgd.train(digits, settings, 3, tmp_path)
    images = {
        part: digits[f"{part}_image"].values.reshape(-1, 64).astype(float)
        for part in ("train", "test")
    }
    labels = {part: digits[f"{part}_label"].values for part in images}
    weights = result["weights"].values[0].astype(float)
    velocity = np.zeros_like(weights)
    by_epoch = [weights]
    assert [len(plan) for plan in plans] == [STEPS] * EPOCHS
    for plan, rate in zip(plans, [0.1, 0.1, 0.02, 0.02, 0.004], strict=True):
        for index in plan:
            batch = images["train"][index], labels["train"][index]
            gradient = softmax_regression(*batch, weights)[1]
            weights, velocity = updated(weights, velocity, gradient, rate, momentum, 0.01)
        by_epoch.append(weights)
    np.testing.assert_allclose(
        result["weights"], [by_epoch[e] for e in SNAPSHOT_EPOCHS], rtol=0, atol=2e-6
    )
    for part in images:
        found = [softmax_regression(images[part], labels[part], w) for w in by_epoch]
        losses = [loss for loss, _, _ in found]
        errors = [100 * np.mean(guess != labels[part]) for _, _, guess in found]
        np.testing.assert_allclose(result[f"{part}_loss"], losses, rtol=1e-5)
        np.testing.assert_allclose(result[f"{part}_error"], errors, atol=1e-9)
        assert errors[-1] < 40 < 80 < errors[0]


def test_augmentation_by_hand(digits, plans, tmp_path):
    """Each step takes new changes from a stream of their own; metrics are of the images alone."""
    how, momentum = {"flip": True, "pad": 1}, MOMENTA["none"]
    settings = small_runs.run(LINEAR, optimiser=momentum, epochs=2, snapshots=[0, 100])
    plain = sgd.train(digits, settings, 3, tmp_path / "plain")
    settings["training"]["augmentation"] = how
    result = sgd.train(digits, settings, 3, tmp_path / "augmented")
    orders = [torch.cat(plan) for plan in plans]
    assert all(map(torch.equal, orders[:2], orders[2:]))
    np.testing.assert_array_equal(result["weights"][0], plain["weights"][0])

    images, labels = (digits[f"train_{what}"].values for what in ("image", "label"))
    weights = result["weights"].values[0].astype(float)
    velocity = np.zeros_like(weights)
    source = torch.Generator().manual_seed(sgd.stream(3, "augmentation"))
    for plan, rate in zip(plans[2:], [0.1, 0.02], strict=True):
        for index in plan:
            changed = augment(torch.from_numpy(images)[index], source, **how)
            batch = changed.numpy().reshape(-1, 64).astype(float), labels[index]
            gradient = softmax_regression(*batch, weights)[1]
            weights, velocity = updated(weights, velocity, gradient, rate, momentum, 0.0)
    np.testing.assert_allclose(result["weights"][1], weights, rtol=0, atol=2e-6)
    loss = softmax_regression(images.reshape(-1, 64).astype(float), labels, weights)[0]
    np.testing.assert_allclose(result["train_loss"][-1], loss, rtol=1e-5)
    assert np.abs(result["weights"][1] - plain["weights"][1]).max() > 1e-2


def test_learning_rate_falls_at_the_epochs_of_the_authors():
    schedule = {"start": 0.1, "factor": 0.2, "at": [0.3, 0.6]}
    rates = [sgd.learning_rate(schedule, epoch, 100) for epoch in range(100)]
    np.testing.assert_allclose(rates, [0.1] * 30 + [0.02] * 30 + [0.004] * 40, rtol=1e-12)


def test_learning_rate_in_a_run_and_across_a_resume(digits, tmp_path):
    expected = np.repeat([0.1, 0.1, 0.02, 0.02, 0.004], STEPS)
    with Steps() as steps:
        sgd.train(digits, small_runs.run(), 0, tmp_path / "whole")
    resumed = small_runs.run(checkpoint_seconds=0)
    np.testing.assert_allclose(steps.rates, expected, rtol=1e-12)
    with Steps() as steps:
        for _ in range(25):
            with pytest.raises(TimeoutError):
                sgd.train(digits, resumed, 0, tmp_path / "parts", limit_seconds=0)
        sgd.train(digits, resumed, 0, tmp_path / "parts")
    np.testing.assert_allclose(steps.rates, expected, rtol=1e-12)


def test_snapshots_are_the_weights_after_the_right_epochs(digits, tmp_path):
    with Steps() as steps:
        result = sgd.train(digits, small_runs.run(), 0, tmp_path)
    assert len(steps) == EPOCHS * STEPS
    assert result["percent"].values.tolist() == [0, 20, 40, 100]
    assert result["epoch"].values.tolist() == SNAPSHOT_EPOCHS
    for epoch, weights in zip(SNAPSHOT_EPOCHS[1:], result["weights"].values[1:], strict=True):
        np.testing.assert_array_equal(weights, steps.weights[epoch * STEPS - 1])
    assert not np.array_equal(result["weights"].values[0], steps.weights[0])


def test_frozen_layers_and_layers_that_nobody_calls(digits, tmp_path, plans):
    spec = {"builder": "small_runs:partly_frozen", "options": {"spare": True}, "weights": 662}
    run = small_runs.run(spec, weight_decay=0.01, optimiser=small_runs.sgd())
    result = sgd.train(digits, run, 0, tmp_path)
    first, last = result["weights"].values[0], result["weights"].values[-1]
    assert result.sizes["weight"] == 662
    assert result.sizes["buffer"] == 64 * 65
    assert (result["buffers"].values == result["buffers"].values[0]).all()
    np.testing.assert_array_equal(first[650:], last[650:])  # no gradient, hence no weight decay

    network = networks.restore(networks.build(spec), first, result["buffers"].values[0]).double()
    images, labels = (part.double() if part.is_floating_point() else part
                      for part in sgd.tensors(digits, "train", "cpu"))  # fmt: skip
    moved = [network.b.weight, network.b.bias]
    for epoch, plan in enumerate(plans):
        rate = sgd.learning_rate(run["training"]["learning_rate"], epoch, EPOCHS)
        for index in plan:
            loss = F.cross_entropy(network(images[index]), labels[index])
            with torch.no_grad():
                for x, g in zip(moved, torch.autograd.grad(loss, moved), strict=True):
                    x -= rate * (g + 0.01 * x)
    expected = torch.cat([x.detach().ravel() for x in moved])
    np.testing.assert_allclose(last[:650], expected, atol=1e-5)
    assert np.abs(last - first).max() > 0.05


def test_a_network_that_freezes_layers_while_it_runs(digits, tmp_path):
    run = small_runs.run({"builder": "small_runs:freezing", "weights": 650})
    with pytest.raises(networks.NetworkError, match=r"changes requires_grad of b\.weight.*builder"):
        sgd.train(digits, run, 0, tmp_path)


def test_metrics_are_those_of_the_snapshots_in_evaluation_mode(large_digits, tmp_path):
    spec = small_runs.lenet(dropout=0.3)
    result = sgd.train(large_digits, small_runs.run(spec), 0, tmp_path)
    assert result.sizes["epoch_end"] == EPOCHS + 1
    for part in ("train", "test"):
        images = torch.from_numpy(large_digits[f"{part}_image"].values).double()
        labels = torch.from_numpy(large_digits[f"{part}_label"].values)
        for i, epoch in enumerate(SNAPSHOT_EPOCHS):
            network = networks.build(spec).double()
            networks.restore(network, result["weights"][i].values, result["buffers"][i].values)
            logits = network.eval()(images)
            loss = F.cross_entropy(logits, labels).item()
            error = 100 * np.mean(logits.detach().numpy().argmax(1) != labels.numpy())
            assert result[f"{part}_loss"].values[epoch] == pytest.approx(loss, rel=1e-4)
            assert result[f"{part}_error"].values[epoch] == pytest.approx(error)


def test_evaluation_changes_nothing(large_digits):
    network = networks.build(small_runs.lenet(dropout=0.3)).train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    random = torch.get_rng_state()
    sgd.evaluate(network, *sgd.tensors(large_digits, "train", "cpu"))
    assert network.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


def test_error_percent():
    truth = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7])
    assert sgd.error_percent(truth, truth) == 0
    assert sgd.error_percent(torch.tensor([0, 1, 2, 9, 9, 9, 6, 7]), truth) == 37.5
    assert sgd.error_percent(truth + 1, truth) == 100


def test_result_says_what_it_is(digits, tmp_path):
    result = sgd.train(digits, small_runs.run(), 7, tmp_path, name="small-fc-text")
    assert result.attrs["run"] == "small-fc-text"
    assert result.attrs["seed"] == 7
    assert result["weights"].dtype == np.float32
    assert result["weights"].shape == (4, 64 * 64 + 64 + 2 * 64 + 64 * 10 + 10)
    assert result["buffers"].values[-1, -1] == EPOCHS * STEPS  # the counter of batches
    assert all(variable.attrs["units"] for variable in result.data_vars.values())


def test_snapshots_on_one_epoch_are_refused(digits, tmp_path):
    with pytest.raises(LimitcyclesError, match=r"training\.snapshots of tiny: \[0, 20, 40, 100\]"):
        sgd.train(digits, small_runs.run(epochs=2), 0, tmp_path, name="tiny")
    assert list(tmp_path.iterdir()) == []


def test_a_seed_decides_everything(digits, tmp_path):
    first = sgd.train(digits, small_runs.run(), 0, tmp_path / "first")
    torch.manual_seed(1234)  # what the caller drew before plays no part
    torch.rand(7)
    again = sgd.train(digits, small_runs.run(), 0, tmp_path / "again")
    assert again.identical(first)


def test_seeds_differ_in_weights_and_order(digits, plans, tmp_path):
    first = sgd.train(digits, small_runs.run(epochs=1, snapshots=[0]), 0, tmp_path)
    second = sgd.train(digits, small_runs.run(epochs=1, snapshots=[0]), 1, tmp_path)
    weights = first["weights"].values[0], second["weights"].values[0]
    assert np.mean(weights[0] == weights[1]) < 0.1  # those of batch normalisation start at 1 and 0
    assert not torch.equal(torch.cat(plans[0]), torch.cat(plans[1]))


def test_dropout_changes_neither_initial_weights_nor_order(large_digits, plans, tmp_path):
    settings = {"epochs": 2, "snapshots": [0, 100]}
    without = sgd.train(
        large_digits, small_runs.run(small_runs.lenet(0.0), **settings), 0, tmp_path
    )
    dropped = sgd.train(
        large_digits, small_runs.run(small_runs.lenet(0.5), **settings), 0, tmp_path
    )
    np.testing.assert_array_equal(without["weights"][0], dropped["weights"][0])
    assert not np.array_equal(without["weights"][1], dropped["weights"][1])
    orders = [torch.cat(plan) for plan in plans]
    assert torch.equal(orders[0], orders[2])
    assert torch.equal(orders[1], orders[3])
    assert not torch.equal(orders[0], orders[1])


def test_streams_of_a_seed_are_distinct():
    purposes = ("initialisation", "sampler", "dropout", "augmentation")
    streams = {sgd.stream(seed, purpose) for seed in range(50) for purpose in purposes}
    assert len(streams) == 200


@pytest.mark.parametrize("sampler", ["without-replacement", "with-replacement", "index-list"])
def test_sampler_of_the_settings_is_used(digits, plans, tmp_path, sampler):
    settings = small_runs.run(LINEAR, epochs=2, snapshots=[100], sampler=sampler)
    sgd.train(digits, settings, 0, tmp_path)
    each_once = [len(torch.cat(plan).unique()) == 320 for plan in plans]
    assert each_once == [sampler == "without-replacement"] * 2


def finite_or_absent(folder):
    """Whether every number of every checkpoint in the folder is finite."""
    states = [torch.load(path, weights_only=True) for path in folder.glob("*.pt")]
    snapshots = [s for state in states for s in state["record"]["snapshots"].values()]
    return all(
        torch.isfinite(tensor).all()
        for mapping in [*(state["network"] for state in states), *snapshots]
        for tensor in mapping.values()
    )


@pytest.mark.parametrize("sampler", ["full-batch", "gaussian"])
def test_samplers_of_trajectories_are_refused(digits, tmp_path, sampler):
    run = small_runs.run(LINEAR, sampler=sampler)
    with pytest.raises(LimitcyclesError, match=f"sampler {sampler} is for trajectories only"):
        sgd.train(digits, run, 0, tmp_path)


def test_loss_that_overflows_names_epoch_and_step(large_digits, tmp_path):
    rate = {"start": 1e9, "factor": 1, "at": []}
    settings = small_runs.run(small_runs.lenet(0.1), learning_rate=rate, checkpoint_seconds=0)
    with pytest.raises(sgd.DivergenceError) as first:
        sgd.train(large_digits, settings, 4, tmp_path, name="wild")
    assert "wild, seed 4: " in str(first.value)
    assert "training.learning_rate.start" in str(first.value)
    assert finite_or_absent(tmp_path)
    with pytest.raises(sgd.DivergenceError) as again:
        sgd.train(large_digits, settings, 4, tmp_path, name="wild")
    assert str(again.value) == str(first.value)  # found again where it was, after the checkpoint


def test_divergence_is_found_at_the_step_where_it_happens(digits, tmp_path, monkeypatch):
    real, batches = F.cross_entropy, []

    def cross_entropy(logits, target, **more):
        loss = real(logits, target, **more)
        if more:  # an evaluation
            return loss
        batches.append(len(target))
        return loss * torch.nan if len(batches) == STEPS + 4 else loss

    monkeypatch.setattr(sgd.F, "cross_entropy", cross_entropy)
    settings = small_runs.run()
    with pytest.raises(sgd.DivergenceError, match=r"the loss is nan in epoch 2, step 4\."):
        sgd.train(digits, settings, 0, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_weights_spoilt_by_a_step_are_not_kept(digits, tmp_path):
    """The loss of the step, taken before it, is finite; the next would not be."""
    grey = digits.assign(train_image=255 * digits["train_image"])
    settings = small_runs.run(
        LINEAR, checkpoint_seconds=0, learning_rate={"start": 3e38, "factor": 1, "at": []}
    )
    with pytest.raises(
        sgd.DivergenceError, match=r"a weight is not finite after epoch 1, step 1\."
    ):
        sgd.train(grey, settings, 0, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_pixel_that_is_no_number_is_found(digits, tmp_path, part):
    spoilt = digits.copy(deep=True)
    spoilt[f"{part}_image"][5, 0, 3, 3] = np.nan
    with pytest.raises(
        sgd.DivergenceError,
        match=rf"the {part} loss is nan before epoch 1, step 1\. .*pixels of the dataset",
    ):
        sgd.train(spoilt, small_runs.run(), 0, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_is_not_there(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(LimitcyclesError, match="use auto or cpu"):
        sgd.train(digits, small_runs.run(), 0, tmp_path, device="cuda")
    assert sgd.pick_device("auto").type == "cpu"


@pytest.mark.parametrize(
    ("images", "changes", "words"),
    [
        ((0, 9), {}, "no train images"),
        ((9, 0), {}, "no test images"),
        ((1, 9), {}, r"one training image.*training\.batch_size: 1"),
        ((9, 9), {"learning_rate": {"start": 1e39, "factor": 1.0, "at": []}},
         r"training\.learning_rate\.start: 1e\+39"),
        ((9, 9), {"weight_decay": 1e200}, r"training\.weight_decay: 1e\+200"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("long", [False, True])
def test_where_no_step_can_be_taken(images, changes, words, long, digits, tmp_path):
    data, run = (
        digits.isel(train=slice(images[0]), test=slice(images[1])),
        small_runs.run(**changes),
    )
    if long and images[1] == 0:
        recording.record(data, run, 0, tmp_path)  # takes no test images
        return
    with pytest.raises(LimitcyclesError, match=words):
        (recording.record if long else sgd.train)(data, run, 0, tmp_path)
    assert not list(tmp_path.iterdir())


def test_one_image_in_batches_of_one(digits, tmp_path):
    run = small_runs.run(LINEAR, batch_size=1)
    result = sgd.train(digits.isel(train=[0]), run, 0, tmp_path)
    assert np.abs(result["weights"].values[-1] - result["weights"].values[0]).max() > 0
