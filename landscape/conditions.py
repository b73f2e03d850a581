"""The conditions of a measurement: the options that all commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from landscape.choices import Mode, Outputs
from landscape.compute.strategy import CudaGraphs, Hvp, Recompute, Shard, WeightsDtype
from landscape.fields import Options, option

DATA_FILES = (".safetensors", ".npz", ".pt")  # endings of files that may hold a batch
TEXT_FILES = (".txt", ".jsonl", ".parquet")  # endings of files with text
HUGGING_FACE = "hf:"  # prefix of the name of a model in a Hugging Face directory


@dataclass(frozen=True)
class Conditions(Options):
    """The model, the data, the loss and the numerical conditions, as the user names them.

    If `model`, `data` or `loss` is None, the checkpoint's own description names it.

    >>> import landscape
    >>> from landscape.conditions import Conditions
    >>> landscape.load("digits-mlp.pt", Conditions(params=("0.*",), dtype="float64")).theta.shape
    torch.Size([2080])
    """

    model: str | None = option(
        None,
        kind="reference",
        help="Model: pkg.mod:factory, path/file.py:factory, hf:DIR (a Hugging Face config.json), or a registered name "
        "(mlp, resnet, char-transformer).",
    )
    model_arg: tuple[str, ...] = option((), kind="pairs", help="Argument of the model factory, key=value. Repeatable.")
    data: str | None = option(
        None,
        kind="reference",
        help="Data: pkg.mod:factory or path/file.py:factory giving batches, a file with one (.safetensors, .npz, .pt), "
        "a text file (.txt, .jsonl, .parquet), or a registered name (digits, grammar).",
    )
    data_arg: tuple[str, ...] = option((), kind="pairs", help="Argument of the data factory, key=value. Repeatable.")
    tokenizer: str | None = option(
        None,
        kind="path",
        help="Tokenizer of text files: a directory with a tokenizer.json; default the checkpoint's own.",
    )
    text_field: str | None = option(
        None, help="Field of the text in the rows of .jsonl and .parquet files.", usual="text"
    )
    seq_len: int | None = option(
        None,
        help="Tokens of each sequence of a text file; default 512, or the model's positions if they are fewer.",
        min=2,
        title="seq-len {}",
    )
    padded: bool = option(
        False,
        help="Make one padded sequence of each document (of a .txt file, each line) instead of packing them.",
        title=lambda options: "padded" if options.get("padded") else "",
    )
    freeze_data: int | None = option(
        None,
        title="frozen passes {}",
        help="Run the data so many passes with a seed, keep what they give, and measure it: for data that shuffle, "
        "augment or stream. Kept in memory, or in a file beside the results until the command ends.",
        min=1,
    )
    loss: str | None = option(
        None,
        kind="reference",
        help="Loss: cross_entropy, mse, bce, hf (a Hugging Face model's own), or pkg.mod:function(output, target).",
    )
    objective: str | None = option(
        None,
        kind="reference",
        help="In the place of --loss: FILE.py:function(model, batch) that returns losses (N,), (sum, count), or a "
        "dictionary of such terms, which are added up.",
    )
    term: str | None = option(None, title="term {}", help="The one term of --objective that is measured, by its name.")
    weight_decay: float = option(
        0.0,
        help="Add X/2 times the sum of squares of the parameters to the loss: every eigenvalue rises by X.",
        min=0,
        title=lambda stored: f"weight decay {stored['weight_decay']:g}" if stored.get("weight_decay") else "",
    )
    decay_params: tuple[str, ...] = option(
        (), help="Glob over the parameters that --weight-decay takes, e.g. '*.weight'; default all. Repeatable."
    )
    mode: Mode = option(
        "eval",
        help="Mode of the model: eval, or train (batch statistics, and dropout with one mask for each batch).",
        title=lambda stored: "train mode" if stored.get("mode") == "train" else "",
    )
    outputs: Outputs | None = option(
        None,
        title="outputs {}",
        help="What the model returns to a built-in loss: logits, which it takes, or probabilities or "
        "log-probabilities, which are converted. Default: logits, refused where they look like probabilities.",
    )
    weights: str | None = option(
        None,
        title="weights {}",
        help="Weights of the file to measure: ema (averaged), raw, or the location of others in it, several joined by "
        "commas (encoder,decoder: each keeps its name in front); default the raw ones.",
    )
    ignore_tensors: tuple[str, ...] = option(
        (),
        title="ignore {}",
        aliases=("ignore",),
        help="Glob over names of tensors in the file that are left out; short: --ignore, but in surface. Repeatable.",
    )
    partial: bool = option(
        False,
        title="partial",
        help="Let the model's factory hold the weights that the file lacks (a new head, adapters); a note names them.",
    )
    base: str | None = option(
        None,
        kind="path",
        help="Directory of the model below a PEFT adapter; default the one that its adapter_config.json names.",
    )
    limit: int | None = option(
        None,
        help="Measure on the first N samples only; largest eigenvalues and worst cases are then biased upwards.",
        min=1,
        title="limit {}",
    )
    params: tuple[str, ...] = option(
        (), title="params {}", help="Glob over parameter names, e.g. 'layers.0.*'. Repeatable."
    )
    preconditioner: str | None = option(
        None,
        kind="path",
        help="File of positive tensors by parameter, for --operator preconditioned; default Adam's in the checkpoint.",
    )
    trusted_modules: tuple[str, ...] = option(
        (), help="Your own module, from which a checkpoint may name its model, data or loss. Repeatable."
    )
    trust: bool = option(
        False, help="Run code from the checkpoint, if its format requires it. Only as a flag.", typed=True
    )
    device: str = option("auto", help="Device: auto (CUDA where there is one), cpu, cuda, cuda:1.")
    dtype: Literal["float32", "float64"] = option("float32", help="Precision of weights, data and products.")
    hvp: Hvp = option(
        "auto",
        help="How Hessian-vector products take several vectors: one after the other (loop), batched (vmap), replayed "
        "(linearize, for the Hessian), or whichever a short trial finds fastest (auto). Results differ by rounding. "
        "difference: from two gradients each, for models without second derivatives; its error is measured and stored.",
    )
    compile: bool = option(
        False,
        help="Also try Hessian-vector products compiled by torch.compile: 10 s or more at first, then less for each.",
    )
    cuda_graphs: CudaGraphs = option(
        "auto", help="Record the products of small nets as CUDA graphs; auto lets a trial decide."
    )
    recompute: Recompute = option(
        "auto",
        help="Keep only the inputs of the model's repeated blocks, and compute their insides again in each backward "
        "pass: less memory, half as much time again; auto does so where a sample's activations need it.",
    )
    weights_dtype: WeightsDtype | None = option(
        None,
        title="weights in {}",
        help="Keep the weights in fewer bits and cast them layer by layer, in eig, trace and density; the weights are "
        "rounded, unless the checkpoint holds them so. Default: as --dtype.",
    )
    shard: Shard = option(
        "auto",
        help="Keep weights, vectors and basis of eig, trace and density in parts on the ranks, and gather the weights "
        "module by module; host: in the memory of the host, also for one GPU. auto does so where a device has no room.",
    )
    tf32: bool = option(False, help="Let CUDA multiply float32 numbers with ten bits of mantissa: faster and rougher.")
    micro_batch: int | None = option(
        None,
        help="Largest number of samples in memory at once; default planned from memory. Results do not depend on it.",
        min=1,
    )
