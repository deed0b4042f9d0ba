"""More of torch_ops.TABLE: gradients, losses, batch norm and optimizer steps, as PyTorch's own operators."""
import re

import torch

ATEN = torch.ops.aten
MEAN, NONE = 1, 0


def first(c, name):
    """Channels first, as PyTorch names axes, of a case's tensor."""
    t = getattr(c, name)
    return t.movedim(-1, 1) if "channels last" in c.name else t


# ---- Gradients of rows ----

def gated_backward(c):
    """The two gradients that autograd would ask for, and what it keeps of the forward pass computed before."""
    name = c.name.split()[1]
    of = {"silu": ATEN.silu_backward, "gelu": ATEN.gelu_backward}.get(name)
    f = {"silu": ATEN.silu, "gelu": ATEN.gelu}.get(name)
    if of is None:
        return None
    half = c.gate.shape[-1] // 2
    gate, up = (c.gate, c.up) if hasattr(c, "up") else (c.gate[..., :half], c.gate[..., half:])
    kept = f(gate)
    if hasattr(c, "up"):
        return lambda: (of(c.dy * up, gate), c.dy * kept)
    dgate, dup = c.dgate[..., :half], c.dgate[..., half:]

    def run():
        torch.mul(c.dy, kept, out=dup)
        dgate.copy_(of(c.dy * up, gate))
    return run


def l2_normalize_backward(c):
    x = c.x.detach().requires_grad_()
    y = torch.nn.functional.normalize(x, dim=-1)
    return lambda: torch.autograd.grad(y, x, c.dy, retain_graph=True)


def cross_entropy_backward(c):
    """From the kept log probabilities, as autograd has it: the loss's gradient, then that of log_softmax."""
    labels = c.labels.clamp(0, c.logits.shape[-1] - 1).to(torch.int64)
    kept = torch.log_softmax(c.logits, -1)
    dloss = c.dloss.to(kept.dtype)
    weight = torch.tensor(0.0, device=c.logits.device)

    def run():
        d = ATEN.nll_loss_backward(dloss, kept, labels, None, NONE, -100, weight)
        return ATEN._log_softmax_backward_data(d, kept, -1, kept.dtype)
    return run


# ---- Losses ----

def loss(operator, *more):
    def make(c):
        reduction = MEAN if "mean" in c.name else NONE
        if reduction == NONE and c.x.dtype != c.loss.dtype:
            return None  # PyTorch rounds the loss to the input's type: fewer bytes
        return lambda: operator(c.x, c.target, reduction, *more)
    return make


def loss_backward(operator, *more):
    def make(c):
        reduction = MEAN if "mean" in c.name else NONE
        if reduction == NONE and c.x.dtype != c.dloss.dtype:
            return None
        dloss = c.dloss.reshape(()) if reduction == MEAN else c.dloss
        return lambda: operator(dloss.to(c.x.dtype), c.x, c.target, reduction, *more)
    return make


def kl_div(c):
    log = c.name.endswith(" log")
    if "mean" not in c.name and c.x.dtype != c.loss.dtype:
        return None
    target = c.target if log else c.target.abs()
    return lambda: ATEN.kl_div(c.x, target, MEAN if "mean" in c.name else NONE, log_target=log)


# ---- Norms of channels ----

def batchnorm(c):
    x, dtype = first(c, "x"), torch.float32
    if "inference" in c.name:
        return lambda: ATEN.native_batch_norm(x, c.weight, c.bias, c.running_mean, c.running_var.abs(), False, 0.1, 1e-5)
    mean, var = torch.zeros(x.shape[1], dtype=dtype), torch.ones(x.shape[1], dtype=dtype)
    mean, var = mean.to(x.device), var.to(x.device)
    return lambda: ATEN.native_batch_norm(x, c.weight, c.bias, mean, var, True, 0.1, 1e-5)


def batchnorm_backward(c):
    x, dy = first(c, "x"), first(c, "dy")
    _, mean, rstd = ATEN.native_batch_norm(x, c.weight, torch.zeros_like(c.weight), None, None, True, 0.1, 1e-5)
    return lambda: ATEN.native_batch_norm_backward(dy, x, c.weight, None, None, mean, rstd, True, 1e-5, [True, True, True])


def groupnorm_backward(c):
    if "channels last" in c.name:
        return None
    groups = int(re.search(r"groups (\d+)", c.name).group(1))
    n, channels = c.x.shape[:2]
    plane = c.x[0, 0].numel()
    weight = c.weight.to(c.x.dtype)
    _, mean, rstd = ATEN.native_group_norm(c.x, weight, torch.zeros_like(weight), n, channels, plane, groups, 1e-5)
    return lambda: ATEN.native_group_norm_backward(c.dy, c.x, mean, rstd, weight, n, channels, plane, groups, [True, True, True])


# ---- Pooling ----

def pool_backward(c):
    if c.dx.dim() != 4:
        return None
    number = {key: int(re.search(rf"{key} (\d+)", c.name).group(1)) for key in ("kernel", "stride", "padding")}
    k, s, p = ([number[key]] * 2 for key in ("kernel", "stride", "padding"))
    x = torch.randn(c.dx.shape, device=c.dx.device).to(c.dx.dtype)
    x, dy = (x.movedim(-1, 1), c.dy.movedim(-1, 1)) if "channels last" in c.name else (x, c.dy)
    _, indices = ATEN.max_pool2d_with_indices(x, k, s, p)
    dy = dy[:, :, :indices.shape[2], :indices.shape[3]].clone(memory_format=torch.preserve_format)  # a case may add a row
    if "average" in c.name:
        return lambda: ATEN.avg_pool2d_backward(dy, x, k, s, p, False, True, None)
    return lambda: ATEN.max_pool2d_with_indices_backward(dy, x, k, s, p, [1, 1], False, indices)


# ---- Optimizers: PyTorch's fused steps over lists ----

def one_dtype(*lists):
    return len({t.dtype for tensors in lists for t in tensors}) == 1


def adamw(c):
    """PyTorch's fused kernel wants moments of the parameter's type; one tensor without it takes the lines of its own loop."""
    if hasattr(c, "master"):
        return None
    v = [t.abs_() for t in c.v]
    if one_dtype(c.param, c.m):
        steps = [torch.tensor(1.0, device=t.device) for t in c.param]
        return lambda: torch._fused_adamw_(c.param, c.grad, c.m, v, [], steps, lr=1e-3, beta1=0.9, beta2=0.999,
                                           weight_decay=0.01, eps=1e-8, amsgrad=False, maximize=False)
    if len(c.param) > 1:
        return None
    param, grad, m = c.param[0], c.grad[0], c.m[0]

    def run():
        g, p = grad.float(), param.float() * (1 - 1e-3 * 0.01)
        m.lerp_(g, 0.1)
        v[0].mul_(0.999).addcmul_(g, g, value=0.001)
        param.copy_(p - 1e-3 / (1 - 0.9 ** 7) * m / (v[0].sqrt() / (1 - 0.999 ** 7) ** 0.5 + 1e-8))
    return run


def sgd(c):
    if hasattr(c, "master") or hasattr(c, "buffer") and not one_dtype(c.param, c.buffer):
        return None
    momentum = 0.9 if hasattr(c, "buffer") else 0.0
    buffers = c.buffer if hasattr(c, "buffer") else []
    return lambda: torch._fused_sgd_(c.param, c.grad, buffers, weight_decay=0.01, momentum=momentum, lr=1e-3, dampening=0.0,
                                     nesterov=False, maximize=False, is_first_step=False)


def global_norm(c):
    return lambda: torch.linalg.vector_norm(torch.stack(torch._foreach_norm(c.x)))


def scale_list(c):
    return lambda: torch._foreach_mul_(c.x, 0.999)


# ---- Codes ----

def fp8_quantize(c):
    """Scales by tensor or by row; those of blocks take a view."""
    if not hasattr(c, "q"):
        return None
    largest = torch.finfo(c.q.dtype).max
    if hasattr(c, "given_scale"):
        scale = c.given_scale.reshape(())
        return lambda: (c.x.float() / scale).clamp_(-largest, largest).to(c.q.dtype)
    rows, n = c.x.shape
    tall, wide = rows // c.scale.shape[0], n
    if c.scale.dim() == 2:
        wide = n // c.scale.shape[1]
    x = c.x.view(rows // tall, tall, n // wide, wide)

    def run():
        scale = x.abs().amax((1, 3), keepdim=True).float() / largest
        return (x.float() / scale).to(c.q.dtype), scale
    return run


def fp8_dequantize(c):
    if not hasattr(c, "q"):
        return None
    rows, n = c.q.shape
    wide = n // c.scale.shape[1] if c.scale.dim() == 2 else n
    x = c.q.view(c.scale.shape[0], rows // c.scale.shape[0], n // wide, wide)
    scale = c.scale.view(c.scale.shape[0], 1, -1, 1)
    return lambda: (x.float() * scale).to(c.y.dtype)


# ---- Images ----

def invert(c):
    return None if "alpha" in c.name else lambda: ATEN.bitwise_not(c.x)


TABLE = {
    "gated_backward": gated_backward, "l2_normalize_backward": l2_normalize_backward,
    "cross_entropy_backward": cross_entropy_backward, "huber": loss(ATEN.huber_loss, 1.0), "kl_div": kl_div,
    "mse_backward": loss_backward(ATEN.mse_loss_backward), "huber_backward": loss_backward(ATEN.huber_loss_backward, 1.0),
    "batchnorm": batchnorm, "batchnorm_backward": batchnorm_backward, "groupnorm_backward": groupnorm_backward,
    "pool_backward": pool_backward, "adamw": adamw, "sgd": sgd, "global_norm": global_norm, "scale_list": scale_list,
    "fp8_quantize": fp8_quantize, "fp8_dequantize": fp8_dequantize, "invert": invert,
}
