"""Triton kernels as a user would write them for the ops whose rows fit a program: one program a row, the row in registers. For
other ops Triton's part is what torch.compile makes."""
import torch
import triton
import triton.language as tl

LONGEST = 65536  # columns that a program holds


@triton.jit
def softmax_kernel(x, y, n, logarithm: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * n
    at = tl.arange(0, BLOCK)
    v = tl.load(x + row + at, mask=at < n, other=-float("inf")).to(tl.float32)
    v -= tl.max(v, 0)
    e = tl.exp(v)
    total = tl.sum(e, 0)
    r = v - tl.log(total) if logarithm else e / total
    tl.store(y + row + at, r.to(y.dtype.element_ty), mask=at < n)


@triton.jit
def norm_kernel(x, weight, bias, y, n, eps, centred: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * n
    at = tl.arange(0, BLOCK)
    inside = at < n
    v = tl.load(x + row + at, mask=inside, other=0.0).to(tl.float32)
    if centred:
        v = tl.where(inside, v - tl.sum(v, 0) / n, 0.0)
    r = v * tl.rsqrt(tl.sum(v * v, 0) / n + eps) * tl.load(weight + at, mask=inside, other=0.0).to(tl.float32)
    if centred:
        r += tl.load(bias + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + row + at, r.to(y.dtype.element_ty), mask=inside)


@triton.jit
def cross_entropy_kernel(logits, labels, loss, n, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    v = tl.load(logits + row * n + at, mask=at < n, other=-float("inf")).to(tl.float32)
    most = tl.max(v, 0)
    lse = most + tl.log(tl.sum(tl.exp(v - most), 0))
    own = tl.load(logits + row * n + tl.load(labels + row)).to(tl.float32)
    tl.store(loss + row, lse - own)


@triton.jit
def silu_gate_kernel(gate, up, y, n, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    g = tl.load(gate + at, mask=at < n).to(tl.float32)
    u = tl.load(up + at, mask=at < n).to(tl.float32)
    tl.store(y + at, (g * tl.sigmoid(g) * u).to(y.dtype.element_ty), mask=at < n)


def rows_of(x):
    n = x.shape[-1]
    block = triton.next_power_of_2(n)
    return x.numel() // n, n, block, max(1, min(32, block // 512))


def row_op(launch):
    def make(c):
        x = c.logits if hasattr(c, "logits") else c.x
        if x.shape[-1] > LONGEST or not x.is_contiguous() or hasattr(c, "residual"):
            return None
        return launch(c, *rows_of(x))
    return make


def softmax(logarithm):
    return row_op(lambda c, rows, n, block, warps: lambda: softmax_kernel[(rows,)](c.x, c.y, n, logarithm, block, num_warps=warps))


def norm(centred):
    return row_op(lambda c, rows, n, block, warps: lambda: norm_kernel[(rows,)](
        c.x, c.weight, c.bias if centred else c.weight, c.y, n, 1e-5, centred, block, num_warps=warps))


def cross_entropy(c, rows, n, block, warps):
    labels = c.labels.clamp(0, n - 1)
    loss = torch.empty(rows, device=labels.device)

    def run():
        cross_entropy_kernel[(rows,)](c.logits, labels, loss, n, block, num_warps=warps)
    run.check = lambda want: torch.testing.assert_close(loss, want.float(), rtol=2e-2, atol=2e-2)
    return run


def gated(c):
    if "silu" not in c.name or not hasattr(c, "up"):
        return None
    n = c.y.numel()
    return lambda: silu_gate_kernel[(triton.cdiv(n, 4096),)](c.gate, c.up, c.y, n, 4096, num_warps=8)


TABLE = {"softmax": softmax(False), "log_softmax": softmax(True), "layernorm": norm(True), "rmsnorm": norm(False),
         "cross_entropy": row_op(cross_entropy), "gated": gated}
