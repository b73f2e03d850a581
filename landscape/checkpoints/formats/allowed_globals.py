"""Names in a pickle: those that stand for data, and those that no checkpoint needs. None is ever imported or called."""

from __future__ import annotations

from landscape.checkpoints.formats.tensor_refs import ITEMSIZE

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
TENSOR_CLASSES = {"torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"}
KNOWN = {
    *TENSOR_CLASSES,
    *(f"torch.{dtype}" for dtype in ITEMSIZE),
    *(f"torch.per_{part}_{kind}" for part in ("tensor", "channel") for kind in ("affine", "symmetric")),
    *("torch.device", "torch.strided", "torch.serialization._get_layout", "typing.Any", "numpy.dtype", "numpy.ndarray"),
    *(f"numpy.{kind}{bits}" for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)),
    *(f"numpy.{kind}" for kind in ("bool", "bool_", "str_", "complex64", "complex128")),
    *(f"builtins.{kind}" for kind in ("bool", "bytearray", "complex", "dict", "float", "frozenset", "int", "list")),
    *(f"builtins.{kind}" for kind in ("long", "xrange", "Ellipsis", "unicode", "NoneType", "object", "range", "set")),
    *(f"builtins.{kind}" for kind in ("slice", "str", "tuple", "type")),
}  # parts of tensors and of plain values, which say nothing; every other name is reported, and all that is called
# names that run commands or code and have no place in a checkpoint; refused so that the user is told of an attack
FORBIDDEN = {
    *(f"{module}.*" for module in ("subprocess", "pty", "runpy", "importlib", "socket", "shutil", "webbrowser", "pdb")),
    *(f"builtins.{function}" for function in ("eval", "exec", "execfile", "compile", "open", "input", "breakpoint")),
    *(f"builtins.{function}" for function in ("__import__", "globals", "locals", "vars", "delattr", "setattr")),
    *(
        f"{module}.{function}"
        for module in ("os", "posix", "nt")
        for function in (
            *("system", "popen", "startfile", "posix_spawn", "fork", "forkpty", "kill", "killpg", "open"),
            *("remove", "unlink", "rmdir", "removedirs", "rename", "renames", "replace", "putenv", "abort", "_exit"),
            *(f"{kind}{form}" for kind in ("exec", "spawn") for form in ("l", "le", "lp", "lpe", "v", "ve", "vp")),
        )
    ),
    *("pickle.load", "pickle.loads", "_pickle.load", "_pickle.loads", "marshal.loads", "ctypes.CDLL"),
    *("io.open", "_io.open", "io.FileIO", "_io.FileIO"),
    *("torch.load", "torch.storage._load_from_bytes", "torch.serialization.load", "torch.jit.load", "torch.hub.load"),
    *(f"commands.{function}" for function in ("Popen", "run", "call", "check_call", "check_output", "getoutput")),
    *("sys.exit", "sys.settrace", "sys.setprofile", "requests.api.get", "urllib.request.urlopen"),
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
CLASSES = ("torch.nn.modules.", "torch.optim.", "torch.nn.functional.")  # named in settings (`nn.ReLU`)
