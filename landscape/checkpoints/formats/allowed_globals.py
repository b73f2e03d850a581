"""Names that stand for data in a pickle. Nothing that they name is ever imported or called."""

from __future__ import annotations

STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "ComplexHalfStorage": "complex32",
    "UntypedStorage": "uint8",
    "QInt8Storage": "int8",
    "QUInt8Storage": "uint8",
    "QInt32Storage": "int32",
}
DICTIONARIES = {
    "collections.OrderedDict",
    "collections.defaultdict",
    "collections.Counter",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
}
# kinds of value that training scripts keep beside the weights; they are passed over, never made
BYSTANDERS = {
    *("argparse.Namespace", "types.SimpleNamespace", "collections.deque", "typing.Any", "uuid.UUID"),
    *(f"builtins.{kind}" for kind in ("bool", "bytearray", "complex", "dict", "float", "frozenset", "int", "list")),
    *("builtins.long", "builtins.xrange", "builtins.Ellipsis", "builtins.unicode", "builtins.NoneType"),
    *(f"numpy.{kind}{bits}" for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)),
    *("numpy.bool", "numpy.str_", "numpy.complex64", "numpy.complex128"),
    *(f"torch.per_{part}_{kind}" for part in ("tensor", "channel") for kind in ("affine", "symmetric")),
    *(f"builtins.{kind}" for kind in ("object", "range", "set", "slice", "str", "tuple")),
    *(f"datetime.{kind}" for kind in ("date", "datetime", "time", "timedelta", "timezone")),
    *("decimal.Decimal", "fractions.Fraction"),
    *(
        f"pathlib{place}.{kind}Path"
        for place in ("", "._local")
        for kind in ("", "Posix", "Windows", "Pure", "PurePosix", "PureWindows")
    ),
    *("numpy.dtype", "numpy.ndarray", "numpy.bool_"),
    *(f"numpy.{c}.multiarray.{f}" for c in ("core", "_core") for f in ("scalar", "_reconstruct")),
    *("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"),
    *("torch.device", "torch.strided", "torch.torch_version.TorchVersion", "torch.serialization._get_layout"),
    *("torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"),
    *(f"omegaconf.{place}" for place in ("dictconfig.DictConfig", "listconfig.ListConfig", "base.ContainerMetadata")),
    *(f"omegaconf.{place}" for place in ("base.Metadata", "nodes.AnyNode", "nodes.IntegerNode", "nodes.FloatNode")),
    *(f"omegaconf.nodes.{kind}Node" for kind in ("String", "Boolean", "Path", "Bytes", "Enum")),
}
ODD_TENSORS = {
    "torch._utils._rebuild_sparse_tensor": "sparse",
    "torch._utils._rebuild_sparse_csr_tensor": "sparse",
    "torch._utils._rebuild_nested_tensor": "nested",
    "torch._utils._rebuild_qtensor": "quantized",
    "torch._utils._rebuild_meta_tensor_no_storage": "meta (without values)",
    "torch._utils._rebuild_device_tensor_from_numpy": "device",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": "device",
    "torch._utils._rebuild_wrapper_subclass": "wrapped",
}
CLASSES = ("torch.nn.modules.", "torch.optim.", "torch.nn.functional.")  # named in settings (`nn.ReLU`), never called
