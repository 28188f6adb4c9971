"""TorchScript archives: read and explained without trust, refused where they could do more than compute."""

import zipfile

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid import PellucidError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ROWS = torch.linspace(-2, 2, 12).reshape(3, 4)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Dropout(), nn.Linear(6, 3)).eval()


@pytest.fixture
def kept(tmp_path):
    def keep(module, name="net.pt"):
        torch.jit.save(module, str(tmp_path / name))
        return tmp_path / name

    return keep


@pytest.mark.parametrize("name", ["net.pt", "net.ts", "net"])
@pytest.mark.parametrize(
    "made",
    [torch.jit.script, lambda net: torch.jit.trace(net, ROWS), lambda net: torch.jit.freeze(torch.jit.script(net))],
    ids=["scripted", "traced", "frozen"],
)
def test_it_explains_as_the_module_that_was_saved(made, name, kept):
    net = network()
    model = pellucid.load(kept(made(net), name), outputs=("a", "b", "c"))
    assert model.name == "net" and model.labels == ("a", "b", "c")
    for method in ("exact_shapley", "integrated_gradients", "deeplift"):
        found, wanted = (pellucid.explain(one, ROWS, method, target=1).values for one in (model, net))
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    with pytest.raises(PellucidError, match="give the torch module as it was written, before it was scripted"):
        pellucid.explain(model, ROWS, "layer_activation")


class Long(nn.Module):
    """Has what TorchScript writes in words of its own: loops, texts, refusals, dictionaries, two modules of a kind."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 4, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.net = nn.Sequential(nn.Conv1d(2, 2, 3, padding="same"), nn.BatchNorm1d(2), nn.SiLU(), nn.BatchNorm1d(2))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        if x.dim() != 3:
            raise ValueError(f"three axes are needed, not {x.dim()}")
        hidden, _ = self.lstm(self.net(x))
        found: list[torch.Tensor] = []
        for place in range(hidden.shape[1]):
            found.append(self.layer(hidden)[:, place])
        return {"logits": torch.cat(found, 1)}


def test_a_long_program_is_read(kept):
    torch.manual_seed(1)
    net, rows = Long().eval(), torch.randn(3, 2, 4)
    model = pellucid.load(kept(torch.jit.script(net)))
    torch.testing.assert_close(model.outputs({"inputs": rows}), net(rows)["logits"])


class Saves(nn.Module):
    def forward(self, x):
        torch.save(x, "anywhere")
        return x


class Reads(nn.Module):
    def forward(self, x):
        return torch.from_file("/etc/passwd", False, 4) + x


class Threads(nn.Module):
    def forward(self, x):
        return torch.jit.wait(torch.jit.fork(torch.relu, x))


class Prints(nn.Module):
    def forward(self, x):
        print(x)  # noqa: T201
        return x


@pytest.mark.parametrize(
    ("module", "name"), [(Saves, "torch.save"), (Reads, "torch.from_file"), (Threads, "fork"), (Prints, "print")]
)
def test_code_that_does_more_than_compute_is_refused(module, name, kept):
    with pytest.raises(
        PellucidError, match=rf"__torch__\S*\.py:\d+: the code uses '{name}', which is not known to compute"
    ):
        pellucid.load(kept(torch.jit.script(module())))


def rewritten(path, change):
    """The archive with its members changed by ``change``, checksums made anew."""
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, content in parts.items():
            file.writestr(name, change(name, content))
    return path


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("(x).save('f')", "x.save"),
        ("getattr(x, 'save')('f')", "save"),
        ("ops.prim.rpc_sync(x)", "ops.prim.rpc_sync"),
        ("ops.prim.PythonOp(x)", "ops.prim.PythonOp"),
        ("ops.quantized.linear(x)", "ops.quantized.linear"),
        ("ops", "ops"),
        ("torch.classes.a.b(x)", "torch.classes.a.b"),
        ("__torch__.torch.classes.a.b(x)", "__torch__.torch.classes.a.b"),
        ("torch.os(x)", "torch.os"),
        ("eval('1')", "eval"),
    ],
)
def test_names_that_torch_would_look_up_are_refused(line, name, kept):
    def change(member, content):
        return content.replace(b"    return", f"    y = {line}\n    return".encode(), 1)

    path = rewritten(kept(torch.jit.script(network())), lambda m, c: change(m, c) if m.endswith(".py") else c)
    with pytest.raises(PellucidError, match=rf"the code uses '{name}'"):
        pellucid.load(path)


def test_a_pickle_in_the_archive_names_its_own_classes_only(kept):
    def change(member, content):
        return b"cposix\nsystem\n(S'true'\ntR." if member.endswith("data.pkl") else content

    with pytest.raises(PellucidError, match=r"data\.pkl: the archive names 'posix system'"):
        pellucid.load(rewritten(kept(torch.jit.script(network())), change))


def test_what_debuggers_read_is_left_out(kept):
    def change(member, content):
        return b"cposix\nsystem\n(S'true'\ntR." if member.endswith("debug_pkl") else content

    model = pellucid.load(rewritten(kept(torch.jit.script(network())), change))
    torch.testing.assert_close(model.outputs({"inputs": ROWS}), network()(ROWS))


def test_a_program_is_no_weights(kept):
    with pytest.raises(PellucidError, match="the file is a TorchScript program, not weights"):
        pellucid.load(network, weights=kept(torch.jit.script(network())))


def test_damage_is_told_with_its_place(kept, tmp_path):
    good = kept(torch.jit.script(network())).read_bytes()
    dice = np.random.default_rng(0)
    for place in [*dice.integers(0, len(good), 20), *np.linspace(0, len(good) - 1, 20).astype(int)]:
        cut, flipped = good[:place], bytearray(good)
        flipped[place] ^= 1 << int(dice.integers(8))
        for content in (cut, bytes(flipped)):
            (tmp_path / "bad.pt").write_bytes(content)
            try:
                model = pellucid.load(tmp_path / "bad.pt")
            except PellucidError as error:
                assert "bad.pt" in str(error)
            else:
                torch.testing.assert_close(model.outputs({"inputs": ROWS}), network()(ROWS))
