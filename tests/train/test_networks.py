"""Networks by name and pretrained weights."""

from __future__ import annotations

import pytest
import torch

from fastaug.train.networks import PRESETS, classifier_names, input_statistics, load_pretrained, make_network

# Parameters with 1000 classes, as torchvision and timm list them; MobileNetV1: as Keras' mobilenet 0.25.
COUNTS = {
    "ResNet50": 25_557_032,
    "ResNet50_vd": 25_576_264,
    "ResNet18": 11_689_512,
    "MobileNetV1_x0_25": 470_072,
    "MobileNetV2_x0_25": 1_519_112,
    "MobileNetV3": 5_483_032,
}


@pytest.mark.parametrize("name", COUNTS)
def test_the_six_networks_of_the_advice(name):
    network = make_network(name, 1000)
    assert sum(p.numel() for p in network.parameters()) == COUNTS[name]
    assert network.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)


def test_residual_networks_for_small_images():
    for name, million in (
        ("ResNet8", 0.08),
        ("ResNet20", 0.27),
    ):  # He et al. 2016, table 6: 20 layers, 0.27 M
        network = make_network(name, 10)
        assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(million, abs=0.005)
        assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(
    "name", ["squeezenet1_1", "timm:resnet10t", "torchvision:shufflenet_v2_x0_5", "lcnet_035"]
)
def test_torchvisions_and_timms_names(name):
    assert make_network(name, 7).eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


@pytest.mark.parametrize(
    ("name", "near"), [("resnet5o", "resnet50"), ("timm:vgg1", "vgg11"), ("raft_large", "ResNet50")]
)
def test_an_unknown_network_is_answered_with_near_names(name, near):
    with pytest.raises(ValueError, match=name) as error:
        make_network(name, 7)
    assert near in str(error.value)


def test_timms_networks_know_their_input():
    assert input_statistics(make_network("tf_efficientnet_lite0", 3)) == ((0.5,) * 3, (0.5,) * 3)
    assert input_statistics(make_network("ResNet18", 3)) is None


@pytest.mark.parametrize(
    "name", [*PRESETS, "timm:vit_tiny_patch16_224", "squeezenet1_1", "tf_efficientnet_lite0"]
)
def test_all_but_the_classifier_is_loaded(name, tmp_path):
    torch.manual_seed(1)
    donor = make_network(name, 5)
    torch.save(donor.state_dict(), tmp_path / "w.pt")
    torch.manual_seed(2)
    network = make_network(name, 3)
    report = load_pretrained(network, name, str(tmp_path / "w.pt"))
    head = set(classifier_names(network))
    assert head
    assert set(report.classifier) == head == set(report.unused)
    assert not report.missing
    assert not report.by_order
    for key, value in network.state_dict().items():
        expected = torch.zeros_like(value) if key in head else donor.state_dict()[key]
        assert torch.equal(value, expected), key


@pytest.mark.parametrize("wrap", ["safetensors", "nested", "ddp", "compiled", "renamed"])
def test_the_forms_that_weights_come_in(wrap, tmp_path):
    donor = make_network("ResNet8", 10)
    state = donor.state_dict()
    file = tmp_path / ("w.safetensors" if wrap == "safetensors" else "w.pt")
    if wrap == "safetensors":
        from safetensors.torch import save_file

        save_file(state, file)
    elif wrap == "nested":
        torch.save({"epoch": 3, "state_dict": state}, file)
    elif wrap == "renamed":
        torch.save({f"part{k}": value for k, value in enumerate(state.values())}, file)
    else:
        prefix = {"ddp": "module.", "compiled": "_orig_mod."}[wrap]
        torch.save({prefix + key: value for key, value in state.items()}, file)
    network = make_network("ResNet8", 4)
    report = load_pretrained(network, "ResNet8", str(file))
    assert report.by_order == (wrap == "renamed")
    assert ("matched by order" in str(report)) == (wrap == "renamed")
    head = classifier_names(network)
    for key, value in network.state_dict().items():
        assert key in head or torch.equal(value, state[key]), key


@pytest.mark.parametrize("name", ["average", "ema", "state_dict_ema", "model_ema"])
@pytest.mark.parametrize("weights", ["network", "state_dict", "model"])
def test_the_average_is_taken_where_there_is_one(tmp_path, name, weights):
    """It is what was tested. torch's AveragedModel holds a counter, too."""
    tested, raw = make_network("ResNet8", 10), make_network("ResNet8", 10)
    average = torch.optim.swa_utils.AveragedModel(tested).state_dict()
    torch.save({weights: raw.state_dict(), "epoch": 3, name: average}, tmp_path / "both.pt")
    torch.save({weights: raw.state_dict(), "epoch": 3}, tmp_path / "one.pt")
    for file, donor, words in (
        ("both.pt", tested, f"'{name}', the average of the weights"),
        ("one.pt", raw, f"('{weights}')"),
    ):
        network = make_network("ResNet8", 4)
        report = load_pretrained(network, "ResNet8", str(tmp_path / file))
        assert words in str(report).splitlines()[0]
        assert not report.missing
        assert set(report.unused) == set(report.classifier)
        head = classifier_names(network)
        for key, value in network.state_dict().items():
            assert key in head or torch.equal(value, donor.state_dict()[key]), key


def test_what_does_not_fit_is_reported(tmp_path):
    state = make_network("ResNet8", 10).state_dict()
    lost = "3.conv1.weight"
    state["more"] = state.pop(lost)
    torch.save(state, tmp_path / "w.pt")
    report = load_pretrained(make_network("ResNet8", 10), "ResNet8", str(tmp_path / "w.pt"))
    assert report.missing == [lost]
    assert "more" in report.unused
    assert lost in str(report)


def test_a_file_in_which_nothing_matches_is_refused(tmp_path):
    torch.save(make_network("squeezenet1_1", 10).state_dict(), tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"no weight of .* fits ResNet8"):
        load_pretrained(make_network("ResNet8", 10), "ResNet8", str(tmp_path / "w.pt"))


class Surprise:
    def __reduce__(self):
        return (print, ("code in a pickle was run",))


@pytest.mark.parametrize("content", [b"", b"not weights", "pickle", "list"])
def test_other_files_are_refused_and_nothing_in_them_is_run(content, tmp_path, capsys):
    file = tmp_path / "w.pt"
    if content == "pickle":
        torch.save({"weight": Surprise()}, file)
    elif content == "list":
        torch.save([torch.zeros(2)], file)
    else:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"w\.pt"):
        load_pretrained(make_network("ResNet8", 10), "ResNet8", str(file))
    assert "was run" not in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match="timm or torchvision"):
        load_pretrained(make_network("ResNet8", 10), "ResNet8", str(tmp_path / "absent.pt"))
