"""Checks the description of a network in a Keras file, because it names the classes that Keras will build.

Keras looks up ``module`` and ``class_name`` and calls what it finds. Here everything that is named must stand in a
closed list of Keras' own layers, operations and their settings: none of them runs code that the file brings, or
opens a file that it names. Whatever else is found is refused by its name, before Keras sees the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..records.errors import LoadError, shorten

LARGEST, DEEPEST, MOST_PARTS = 64 * 2**20, 64, 100_000
"""Bytes of a description, objects in objects, and objects in all."""

MODELS = "Functional Sequential Model"
LAYERS = """
Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention AlphaDropout Attention Average
AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization Bidirectional CategoryEncoding CenterCrop
Concatenate Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D
Cropping1D Cropping2D Cropping3D Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout ELU EinsumDense
Embedding Flatten GRU GRUCell GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D
GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization
GroupQueryAttention GroupedQueryAttention Identity InputLayer LSTM LSTMCell LayerNormalization LeakyReLU Masking
MaxPooling1D MaxPooling2D MaxPooling3D Maximum MelSpectrogram Minimum MultiHeadAttention Multiply Normalization PReLU
Permute RMSNormalization RNN RandomBrightness RandomContrast RandomCrop RandomFlip RandomGaussianBlur RandomGrayscale
RandomHue RandomRotation RandomSaturation RandomSharpness RandomShear RandomTranslation RandomZoom ReLU RepeatVector
Rescaling Reshape Resizing ReversibleEmbedding STFTSpectrogram SeparableConv1D SeparableConv2D SimpleRNN SimpleRNNCell
Softmax SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells Subtract
ThresholdedReLU TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D
ZeroPadding3D
"""
OPERATIONS = """
Abs Absolute Add Amax Amin Append Arange Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Argmax Argmin Average
BroadcastTo Cast Ceil Celu Clip Concatenate Cos Cosh Cumprod Cumsum DepthToSpace Diagonal Diff Divide DivideNoNan Dot
DotProductAttention Einsum Elu Equal Erf Erfc Exp Exp2 ExpandDims Expm1 Flip Floor FloorDivide FullLike Gelu GetItem
Glu Greater GreaterEqual HardSigmoid HardSilu HardTanh Hstack Hypot LayerNorm LeakyRelu Less LessEqual Log Log10 Log1p
Log2 LogSigmoid LogSoftmax Logaddexp LogicalAnd LogicalNot LogicalOr Logsumexp Matmul Max Maximum Mean Min Minimum Mod
Moments Moveaxis Multiply NanToNum Negative Norm Normalize NotEqual OneHot OnesLike Outer Pad Polar Power Prod RMSNorm
RGBToGrayscale Reciprocal Relu Relu6 Repeat Reshape Resize Roll Round Rsqrt Selu Sigmoid Sign Silu Sin Sinh Softmax
Softplus Softsign SpaceToDepth Split Sqrt Square Squeeze Stack Std StopGradient Subtract Sum Swapaxes Take
TakeAlongAxis Tan Tanh Tensordot Tile TopK Transpose Tril Triu TrueDivide Unstack Var Vstack Where ZerosLike
"""
SETTINGS = """
Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer LecunNormal LecunUniform Ones
Orthogonal OrthogonalInitializer RandomNormal RandomUniform STFT STFTInitializer TruncatedNormal VarianceScaling Zeros
L1 L1L2 L2 OrthogonalRegularizer MaxNorm MinMaxNorm NonNeg UnitNorm DTypePolicy FloatDTypePolicy
"""
PLAIN = "__keras_tensor__ __tensor__ __numpy__ __ellipsis__ __slice__ __tuple__ TensorShape"
"""What Keras writes for values that are no classes."""
ACTIVATIONS = """
celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear log_sigmoid
log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign sparse_plus sparse_sigmoid
sparsemax squareplus swish tanh tanh_shrink threshold
"""
OPERATION_MODULES = {f"keras.src.ops.{part}" for part in ("core", "image", "linalg", "math", "nn", "numpy")}
PROGRAMS = {
    "Lambda": "a Lambda layer holds a program",
    "__lambda__": "it holds a program",
    "TorchModuleWrapper": "it holds a pickled torch module",
    "TFSMLayer": "it loads a TensorFlow program",
    "JaxLayer": "it holds a program",
    "FlaxLayer": "it holds a program",
}
"""What is refused for a reason of its own."""
LOAD_IT = (
    "where you trust it, load it yourself (keras.saving.load_model, with custom_objects= or safe_mode=False) and give "
    "the model: pellucid.wrap(model)"
)
_NAMES: dict[str, set[str]] = {
    name: set(listed.split()) for name, listed in (("layer", LAYERS), ("model", MODELS), ("setting", SETTINGS))
}
_OPERATIONS: set[str] = set(OPERATIONS.split())
_PLAIN: set[str] = set(PLAIN.split())
_ACTIVATIONS: set[str] = set(ACTIVATIONS.split())


def clean_config(text: bytes, where: str) -> dict[str, Any]:
    """The description in ``text`` (JSON), once everything it names stands in the lists; what concerns training
    only is left out.

    Raises :class:`LoadError` that names ``where`` (file and member), the class and its layer.
    """
    if len(text) > LARGEST:
        raise LoadError(f"the description of the network has {len(text)} bytes", where=where, why=f"at most {LARGEST}")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        why = shorten(str(error) or type(error).__name__, 160)
        raise LoadError("the description of the network is no JSON", where=where, why=why) from error
    if not isinstance(found, dict) or found.get("class_name") not in _NAMES["model"]:
        named = found.get("class_name") if isinstance(found, dict) else None
        if isinstance(named, str):
            raise _refused(named, found.get("module"), "", where)
        raise LoadError("the description is not that of a network", where=where, why="it names no model of Keras'")
    for part, layer in _objects(found, where):
        _check(part, layer, where)
    return found


def _objects(found: dict[str, Any], where: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Every object in the description, with the name of the layer it belongs to; walked without recursion."""
    waiting: list[tuple[Any, str, int]] = [(found, "", 0)]
    count = 0
    while waiting:
        part, layer, depth = waiting.pop()
        if isinstance(part, list):
            waiting += [(one, layer, depth + 1) for one in part if isinstance(one, (dict, list))]
        elif isinstance(part, dict):
            count += 1
            layer = _layer_of(part) or layer
            part.pop("compile_config", None)
            yield part, layer
            waiting += [(one, layer, depth + 1) for one in part.values() if isinstance(one, (dict, list))]
        if count > MOST_PARTS or depth > 2 * DEEPEST:
            raise LoadError("the description of the network is too large or too deep", where=where)


def _layer_of(part: Mapping[str, Any]) -> str:
    inner = part.get("config")
    name = inner.get("name") if isinstance(inner, Mapping) and "class_name" in part else None
    return name if isinstance(name, str) else ""


def _check(part: Mapping[str, Any], layer: str, where: str) -> None:
    """Raise :class:`LoadError` where an object is of a class, or from a module, that is not in the lists."""
    name, module, registered = part.get("class_name"), part.get("module"), part.get("registered_name")
    if "class_name" not in part:
        if module is not None or "safe_mode" in part or part.get("registered_name") is not None:
            raise LoadError("a part of the description names a module and no class", where=where, why=_in(layer))
        return
    if not isinstance(name, str) or not isinstance(module, (str, type(None))):
        raise LoadError("a part of the description names a class by no text", where=where, why=_in(layer))
    if name in PROGRAMS:
        raise _refused(name, module, layer, where)
    if name == "function":
        chosen = part.get("config")
        if chosen in _ACTIVATIONS and module in (None, "builtins", "keras.activations"):
            return
        raise _refused(chosen, module, layer, where)
    if registered is not None and registered != name:
        raise _refused(registered, module, layer, where)
    if name not in _allowed(module):
        raise _refused(name, module, layer, where)
    if isinstance(inner := part.get("config"), Mapping) and "safe_mode" in inner:
        raise LoadError("the file wants to say how safely it is loaded", where=where, why=_in(layer))


def _allowed(module: str | None) -> set[str]:
    """The names that a module may give; a description by an old Keras names classes without their module."""
    if module in OPERATION_MODULES:
        return _OPERATIONS
    if module is None:
        return _NAMES["layer"] | _NAMES["model"] | _NAMES["setting"] | _PLAIN
    lists: dict[str, set[str]] = {
        "keras": _NAMES["model"] | {"DTypePolicy"},
        "keras.models": _NAMES["model"],
        "keras.src.models.functional": _NAMES["model"],
        "keras.src.models.sequential": _NAMES["model"],
        "keras.layers": _NAMES["layer"],
        **{f"keras.{room}": _NAMES["setting"] for room in ("initializers", "regularizers", "constraints")},
        "keras.dtype_policies": {"DTypePolicy", "FloatDTypePolicy"},
    }
    return lists.get(module, set())


def _refused(name: Any, module: Any, layer: str, where: str) -> LoadError:
    full = f"{module}.{name}" if module else str(name)
    why = PROGRAMS.get(str(name), "only Keras' own layers are built from a file: a class it names would be a program")
    return LoadError(
        f"the file asks for {shorten(full, 80)!r}{f', the layer {shorten(layer, 40)!r}' if layer else ''}",
        where=where,
        why=why,
        fix=LOAD_IT,
    )


def _in(layer: str) -> str:
    return f"in the layer {shorten(layer, 40)!r}" if layer else ""
