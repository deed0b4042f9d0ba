"""What PyTorch makes of Trine's bench cases: for each op a function that takes a Case and returns what to time, a call without
arguments, or None for a case that PyTorch has nothing for. Only ready-made operators or the lines that a user would write;
torch_peers.py runs them as they are and through torch.compile."""
import re

import torch
import torch.nn.functional as F

import torch_training

ATEN = torch.ops.aten


def words(case):
    return case.name.split()


def axis_of(case):
    return None if " all" in case.name else int(re.search(r"axis (-?\d+)", case.name).group(1))


# ---- Elementwise ----

def binary(f):
    return lambda c: lambda: f(c.a, c.b, out=c.y)


def copy(c):
    return lambda: c.y.copy_(c.x)


def fill(c):
    return lambda: c.y.fill_(1.5)


def add_scalar(c):
    return lambda: torch.add(c.x, 0.7, out=c.y)


def scale(c):
    return lambda: torch.mul(c.x, 0.7, out=c.y)


ACTIVATIONS = {
    "relu": F.relu, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu, "sigmoid": torch.sigmoid,
    "tanh": torch.tanh, "exp": torch.exp, "abs": torch.abs, "mish": F.mish, "softplus": F.softplus, "elu": F.elu, "selu": F.selu,
}
GRADIENTS = {"gelu": ATEN.gelu_backward, "silu": ATEN.silu_backward}


def activation(c):
    f = ACTIVATIONS.get(words(c)[1])
    return f and (lambda: f(c.x))


def activation_backward(c):
    f = GRADIENTS.get(words(c)[1])
    return f and (lambda: f(c.dy, c.x))


def gated(c):
    f = ACTIVATIONS.get(words(c)[1])
    if not f:
        return None
    if hasattr(c, "up"):
        return lambda: f(c.gate) * c.up
    half = c.gate.shape[-1] // 2
    return lambda: f(c.gate[..., :half]) * c.gate[..., half:]


def dyt(c):
    return lambda: c.gamma * torch.tanh(c.alpha * c.x) + c.beta


# ---- Rows ----

def softmax(c):
    return lambda: torch.softmax(c.x, -1)


def log_softmax(c):
    return lambda: torch.log_softmax(c.x, -1)


def softmax_backward(c):
    return lambda: ATEN._softmax_backward_data(c.dy, c.y, -1, c.y.dtype)


def log_softmax_backward(c):
    return lambda: ATEN._log_softmax_backward_data(c.dy, c.y, -1, c.y.dtype)


def layernorm(c):
    if hasattr(c, "residual"):
        def run():
            total = c.x + c.residual
            return total, F.layer_norm(total, c.x.shape[-1:], c.weight.to(c.x.dtype), c.bias.to(c.x.dtype), 1e-5)
        return run
    return lambda: F.layer_norm(c.x, c.x.shape[-1:], c.weight.to(c.x.dtype), c.bias.to(c.x.dtype), 1e-5)


def rmsnorm(c):
    if hasattr(c, "residual"):
        def run():
            total = c.x + c.residual
            return total, F.rms_norm(total, c.x.shape[-1:], c.weight.to(c.x.dtype), 1e-5)
        return run
    return lambda: F.rms_norm(c.x, c.x.shape[-1:], c.weight.to(c.x.dtype), 1e-5)


def layernorm_backward(c):
    weight = c.weight.to(c.x.dtype)
    bias = torch.zeros_like(weight)
    _, mean, rstd = ATEN.native_layer_norm(c.x, c.x.shape[-1:], weight, bias, 1e-5)
    return lambda: ATEN.native_layer_norm_backward(c.dy, c.x, c.x.shape[-1:], mean, rstd, weight, bias, [True, True, True])


def gradient_of(f, c, *of):
    """Of a function without an operator for it: autograd over one forward, made before."""
    leaves = [t.detach().requires_grad_() for t in of]
    y = f(*leaves)
    return lambda: torch.autograd.grad(y, leaves, c.dy, retain_graph=True)


def rmsnorm_backward(c):
    weight = c.weight.to(c.x.dtype)
    return gradient_of(lambda x, w: F.rms_norm(x, x.shape[-1:], w, 1e-5), c, c.x, weight)


def dyt_backward(c):
    gamma = c.gamma.to(c.x.dtype)
    return gradient_of(lambda x, a, g: g * torch.tanh(a * x), c, c.x, c.alpha.to(c.x.dtype), gamma)


def l2_normalize(c):
    return lambda: F.normalize(c.x, dim=-1)


def groupnorm(c):
    groups = int(re.search(r"groups (\d+)", c.name).group(1))
    if "channels last" in c.name:
        return None
    return lambda: F.group_norm(c.x, groups, c.weight.to(c.x.dtype), c.bias.to(c.x.dtype))


def cross_entropy(c):
    labels = c.labels.clamp(0, c.logits.shape[-1] - 1).to(torch.int64)
    return lambda: F.cross_entropy(c.logits, labels, reduction="none")


def mse(c):
    if "none" in c.name and c.x.dtype != c.loss.dtype:
        return None  # PyTorch rounds the loss to the input's type: fewer bytes
    reduction = "mean" if "mean" in c.name else "none"
    return lambda: F.mse_loss(c.x, c.target, reduction=reduction)


# ---- Reductions and scans ----

def reduction(f, every=None):
    def make(c):
        axis = axis_of(c)
        if axis is None:
            return lambda: (every or f)(c.x)
        return lambda: f(c.x, axis)
    return make


def dot(c):
    axis = axis_of(c)
    if axis is None:
        return lambda: torch.dot(c.a.view(-1), c.b.view(-1))
    return lambda: torch.linalg.vecdot(c.a, c.b, dim=axis)


def scan(c):
    """The axis is the size that a case's name marks with a star."""
    if "exclusive" in c.name or "reverse" in c.name:
        return None
    axis = words(c)[3].split("x").index(next(size for size in words(c)[3].split("x") if size.endswith("*")))
    f = {"sum": torch.cumsum, "max": torch.cummax}.get(words(c)[2])
    if f is torch.cummax:
        return lambda: f(c.x, axis)
    return f and (lambda: f(c.x, axis, dtype=c.x.dtype))


# ---- Layout ----

def transpose(c):
    return lambda: c.y.copy_(c.x.transpose(-1, -2))


def permute(c):
    spec = [tuple(map(int, part.split(":"))) for part in words(c)[2].split(",")]  # each size with its place in x
    order = [place for _, place in spec]
    if tuple(c.x.permute(order).shape) == tuple(c.y.shape):
        return lambda: c.y.copy_(c.x.permute(order))
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return (lambda: c.y.copy_(c.x.permute(inverse))) if tuple(c.x.permute(inverse).shape) == tuple(c.y.shape) else None


def concat(c):
    parts = [getattr(c, f"x{i}") for i in range(8) if hasattr(c, f"x{i}")]
    return lambda: torch.cat(parts, axis_of(c))


def split(c):
    sizes = [getattr(c, f"y{i}").shape[axis_of(c)] for i in range(8) if hasattr(c, f"y{i}")]
    return lambda: [part.clone(memory_format=torch.contiguous_format) for part in torch.split(c.x, sizes, axis_of(c))]


def gather(c):
    return lambda: torch.index_select(c.x, 1, c.ids)


def embedding(c):
    return lambda: F.embedding(c.ids, c.weight)


def embedding_backward(c):
    return lambda: ATEN.embedding_dense_backward(c.dy, c.ids, c.dweight.shape[0], -1, False)


def scatter_add(c):
    onto = c.x if hasattr(c, "x") else torch.zeros_like(c.y)
    return lambda: torch.index_add(onto, 1, c.ids, c.src.to(onto.dtype))


def segment_sum(c):
    return lambda: torch.zeros_like(c.y).index_add_(0, c.ids, c.x.to(c.y.dtype))


# ---- Random, pooling, rope, quantisation ----

def dropout(c):
    return lambda: ATEN.native_dropout(c.x, 0.1, True) if hasattr(c, "mask") else F.dropout(c.x, 0.1)


def pool(c):
    if c.x.dim() != 4:
        return None
    last = "channels last" in c.name
    x = c.x.permute(0, 3, 1, 2) if last else c.x
    number = {key: int(re.search(rf"{key} (\d+)", c.name).group(1)) for key in ("kernel", "stride", "padding")}
    ceil = (c.y.shape[1] if last else c.y.shape[2]) > (x.shape[2] + 2 * number["padding"] - number["kernel"]) // number["stride"] + 1
    f = F.max_pool2d if words(c)[1] == "max" else F.avg_pool2d
    return lambda: f(x, number["kernel"], number["stride"], number["padding"], ceil_mode=ceil)


def conv_call(c):
    """(x, weight or None, dy or None) as PyTorch has them, channels first in name, and the attributes."""
    number = {key: max(int(re.search(rf"{key} (\d+)", c.name).group(1)), 0 if key == "padding" else 1)
              for key in ("stride", "padding", "dilation", "groups")}
    torch.backends.cudnn.benchmark = True  # the fastest of its algorithms
    torch.backends.cudnn.allow_tf32 = "as tf32" in c.name
    last = "channels last" in c.name

    def view(name):
        t = getattr(c, name, None)
        return t.movedim(-1, 1) if last and t is not None and t.dim() > 1 else t
    return view, number


def conv(c):
    view, n = conv_call(c)
    f = F.conv1d if c.x.dim() == 3 else F.conv2d
    x, weight, bias = view("x"), view("weight"), getattr(c, "bias", None)
    return lambda: f(x, weight, bias, n["stride"], n["padding"], n["dilation"], n["groups"])


def conv_gradient(c, x, weight, mask):
    view, n = conv_call(c)
    rank = x.dim() - 2
    dy = view("dy")
    return lambda: ATEN.convolution_backward(dy, x, weight, None, [n["stride"]] * rank, [n["padding"]] * rank,
                                             [n["dilation"]] * rank, False, [0] * rank, n["groups"], mask)


def conv_backward_data(c):
    view, _ = conv_call(c)
    return conv_gradient(c, view("dx"), view("weight"), [True, False, False])


def conv_backward_weight(c):
    view, _ = conv_call(c)
    return conv_gradient(c, view("x"), view("dweight"), [False, True, False])


def rope(c):
    if "interleaved" in c.name or "computed" in c.name:
        return None
    half = c.x.shape[-1] // 2
    position = c.x.shape[1] if "axis -3" in c.name else c.x.shape[2]
    angle = torch.outer(torch.arange(position, device=c.x.device).float(),
                        10000.0 ** (-torch.arange(half, device=c.x.device).float() / half))
    shape = (1, position, 1, half) if "axis -3" in c.name else (1, 1, position, half)
    cos, sin = angle.cos().to(c.x.dtype).view(shape), angle.sin().to(c.x.dtype).view(shape)

    def run():
        a, b = c.x[..., :half], c.x[..., half:]
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
    return run


def int8_quantize(c):
    def run():
        amax = c.x.abs().amax(-1, keepdim=True) if "rows" in c.name else c.x.abs().amax()
        step = amax.float() / 127
        return (c.x / step).round().to(torch.int8), step
    return run


def grouped_matmul(c):
    """Sizes as the case's: equal, or growing with the square of the group's number."""
    function = getattr(torch, "_grouped_mm", None)
    if function is None or c.a.dtype != torch.bfloat16:
        return None
    b = c.b if "nn" in words(c) or "tn" in words(c) else c.b.transpose(1, 2).contiguous().transpose(1, 2)
    if hasattr(c, "counts"):
        return lambda: torch.bmm(c.a, b)
    groups, sums = c.offsets.numel() - 1, c.b.dim() == 2
    a = c.a.t().contiguous().t() if sums else c.a
    total = a.shape[1] if sums else a.shape[0]
    i = torch.arange(1, groups + 1, dtype=torch.float64)
    ends = i * (total // groups) if "even" in words(c) else ((total + 1) * (i / (groups + 1)) ** 2).floor()
    ends = ends.to(c.a.device, torch.int32)
    return lambda: function(a, b, offs=ends)


NF4_VALUES = (-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
              -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
              0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0)


def nf4_matmul(c):
    """The weight dequantised in every call, then a product of 16 bits."""
    if c.absmax.dtype != torch.float32:
        return None
    values = torch.tensor(NF4_VALUES, device=c.x.device)

    def run():
        codes = torch.stack((c.codes >> 4, c.codes & 15), -1).view(-1, 64)
        weight = (values[codes.int()] * c.absmax[:, None]).to(c.x.dtype)
        return F.linear(c.x, weight.view(-1, c.x.shape[1]))
    return run


TABLE = {
    "copy": copy, "fill": fill, "add_scalar": add_scalar, "scale": scale, "add": binary(torch.add), "sub": binary(torch.sub),
    "mul": binary(torch.mul), "div": binary(torch.div), "minimum": binary(torch.minimum), "maximum": binary(torch.maximum),
    "activation": activation, "activation_backward": activation_backward, "gated": gated, "dyt": dyt, "dyt_backward": dyt_backward,
    "softmax": softmax, "log_softmax": log_softmax, "softmax_backward": softmax_backward,
    "log_softmax_backward": log_softmax_backward, "layernorm": layernorm, "rmsnorm": rmsnorm,
    "layernorm_backward": layernorm_backward, "rmsnorm_backward": rmsnorm_backward, "l2_normalize": l2_normalize,
    "groupnorm": groupnorm, "cross_entropy": cross_entropy, "mse": mse, "sum": reduction(torch.sum), "mean": reduction(torch.mean),
    "amax": reduction(torch.amax, torch.max), "amin": reduction(torch.amin, torch.min), "argmax": reduction(torch.argmax),
    "norm_l1": reduction(lambda x, d=None: torch.linalg.vector_norm(x, 1, d)),
    "norm_l2": reduction(lambda x, d=None: torch.linalg.vector_norm(x, 2, d)), "dot": dot, "scan": scan, "transpose": transpose,
    "permute": permute, "concat": concat, "split": split, "gather": gather, "embedding": embedding,
    "embedding_backward": embedding_backward, "scatter_add": scatter_add, "segment_sum": segment_sum, "dropout": dropout,
    "uniform": lambda c: lambda: c.y.uniform_(), "normal": lambda c: lambda: c.y.normal_(), "pool": pool, "rope": rope,
    "conv": conv, "conv_backward_data": conv_backward_data, "conv_backward_weight": conv_backward_weight,
    "int8_quantize": int8_quantize, "grouped_matmul": grouped_matmul, "nf4_matmul": nf4_matmul, **torch_training.TABLE,
}

# Gradients that are operators of their own, so that torch.compile can take them; others go through autograd.
TRACED_GRADIENTS = ("activation_backward", "softmax_backward", "log_softmax_backward", "layernorm_backward")
