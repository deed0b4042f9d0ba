#!/usr/bin/env python3
"""PyTorch (as it is, and through torch.compile) and Triton on the cases of a `trine bench --json` file, with the same tensors,
the same cold caches and the same JSON, so that `trine compare` shows them beside Trine:

    trine bench --backend cuda --json trine.json
    bench/peers/torch_peers.py trine.json --json peers.json
    trine compare trine.json peers.json

Run it right after the bench on the same machine. Rates are of the bytes that Trine's case counts. PyTorch's own operators are
taken as right; the Triton kernels are checked against them before they are timed. Needs torch; Triton and torch.compile only on a GPU.
On a CPU most of PyTorch's time for large tensors is the kernel's, which hands out new pages for each result, unless the C library keeps
what was freed: GLIBC_TUNABLES=glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=100000000000:glibc.malloc.hugetlb=1
"""
import argparse
import ctypes
import datetime
import fcntl
import json
import math
import re
import statistics
import sys
import time

import torch

import torch_ops

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "f64": torch.float64, "u8": torch.uint8,
          "i8": torch.int8, "i32": torch.int32, "i64": torch.int64, "bool": torch.bool, "f8_e4m3fn": torch.float8_e4m3fn,
          "f8_e5m2": torch.float8_e5m2}


BLOCK = 1 << 22


def normal(shape, dtype, device):
    """On the CPU a block of random numbers again and again: they take longer than what is timed."""
    count = math.prod(shape)
    if device == "cuda" or count <= BLOCK:
        return torch.randn(shape, device=device).to(dtype)
    flat = torch.empty(count, dtype=dtype)
    flat[:BLOCK] = torch.randn(BLOCK).to(dtype)
    for at in range(BLOCK, count, BLOCK):
        flat[at:at + BLOCK] = flat[:min(BLOCK, count - at)]
    return flat.view(shape)


class Case:
    """The tensors of a bench line by their names, normal random data; ids and labels within their table."""

    def __init__(self, line, device):
        self.name = line["case"]
        if not line["shape"].endswith("]"):
            raise ValueError("its list of shapes was cut")
        found = re.findall(r"(\w+)(\[\d+\])? (\w+)\[([\d,]*)\]", line["shape"])
        rows = {name + place: [int(n) for n in shape.split(",") if n] for name, place, _, shape in found}
        for name, place, dtype, _ in found:
            if dtype not in DTYPES:
                raise KeyError(dtype)
            tensor = self.tensor(name + place, DTYPES[dtype], rows, line["op"], device)
            if place:
                getattr(self, name, None) or setattr(self, name, [])
                getattr(self, name).append(tensor)
            else:
                setattr(self, name, tensor)

    @staticmethod
    def tensor(name, dtype, shapes, op, device):
        shape = shapes[name]
        if dtype.is_floating_point:
            return normal(shape, dtype, device)
        if name in ("ids", "labels", "indices"):
            table = {"gather": ("x", 1), "embedding": ("weight", 0), "embedding_backward": ("dweight", 0),
                     "scatter_add": ("y", 1), "segment_sum": ("y", 0), "cross_entropy": ("logits", -1)}.get(op)
            limit = shapes[table[0]][table[1]] if table else 2
            ids = torch.randint(0, limit, shape, device=device)
            return (ids.sort().values if op == "segment_sum" else ids).to(dtype)
        return torch.randint(0, 2 if dtype == torch.bool else 100, shape, device=device).to(dtype)


class Clock:
    """Medians of repetitions, each after the caches were filled with something else. That takes so long (0.3 ms on an H100) that
    the host has enqueued what is timed before the device comes to it, though Python and its wrappers take tens of us a call.
    What a kernel reads as to be evicted last, as torch.compile's loops do with what they read twice, outlives any flush of NVIDIA's
    L2 cache, and the next repetition finds it there, unless the driver is asked to forget it: rmsnorm of 512 rows of 4096 bf16
    took 5.4 us, as of forty inputs in turn 6.8."""

    def __init__(self, device, seconds):
        self.cuda, self.seconds = device == "cuda", seconds
        self.driver = ctypes.CDLL("libcuda.so.1") if self.cuda and not torch.version.hip else None
        self.flush = torch.empty(8 * torch.cuda.get_device_properties(0).L2_cache_size if self.cuda else 0, dtype=torch.uint8,
                                 device=device)

    def once(self, run):
        if not self.cuda:
            begin = time.perf_counter()
            run()
            return time.perf_counter() - begin
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        if self.driver:
            self.driver.cuCtxResetPersistingL2Cache()
        for _ in range(2):
            self.flush.fill_(51)
        begin.record()
        run()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e-3

    def times(self, run):
        for _ in range(3 if self.cuda else 1):
            self.once(run)
        samples, begin = [], time.perf_counter()
        while len(samples) < 5 or (time.perf_counter() - begin < self.seconds and len(samples) < 1000):
            samples.append(self.once(run))
        samples.sort()
        at = lambda part: samples[min(len(samples) - 1, int(part * len(samples)))]
        return {"median": statistics.median(samples), "min": samples[0], "p10": at(0.1), "p90": at(0.9), "graph": None,
                "repetitions": len(samples)}


class Lock:
    """Held by one process at a time; without a file by anybody."""

    def __init__(self, path):
        self.file = open(path, "w") if path else None

    def __enter__(self):
        if self.file:
            fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *error):
        if self.file:
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
            fcntl.flock(self.file, fcntl.LOCK_UN)


def roofline(clock, device):
    """Bytes a second of a copy of 1 GiB, and multiply-adds by the largest f32 product that PyTorch makes without tf32."""
    x = torch.ones(1 << 28, device=device)  # memory that was never written may be one page of zeros
    y = torch.ones_like(x)
    copy = 2 * x.numel() * 4 / clock.times(lambda: y.copy_(x))["median"]
    torch.backends.cuda.matmul.allow_tf32 = False
    n = 4096 if device == "cuda" else 1024
    a = torch.randn(n, n, device=device)
    return copy, 2 * n ** 3 / clock.times(lambda: a @ a)["median"]


def makers(device):
    """name -> a function that makes what to time of an op and a case."""
    def eager(op, case):
        make = torch_ops.TABLE.get(op)
        return make and make(case)

    def compiled(op, case):
        run = eager(op, case)
        if run is None or ("backward" in op and op not in torch_ops.TRACED_GRADIENTS):
            return None
        torch._dynamo.reset()
        return torch.compile(run, dynamic=False)

    found = {"eager": eager}
    if device == "cuda":
        import triton_ops
        found["compile"] = compiled
        found["triton"] = lambda op, case: triton_ops.TABLE[op](case) if op in triton_ops.TABLE else None
    return found


def check_triton(case, op, run):
    """A kernel that is not right is not timed."""
    run()
    want = torch_ops.TABLE[op](case)()
    if op == "cross_entropy":
        return run.check(want)
    torch.testing.assert_close(case.y.float(), want.float(), rtol=2e-2, atol=2e-2)


def header(targets, copy, fma, device):
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    arch = "sm_{}{}".format(*torch.cuda.get_device_capability()) if device == "cuda" else "x86-64"
    described = [{"backend": f"{t}:0", "name": f"PyTorch {t}" if t != "triton" else "Triton", "arch": arch,
                  "driver": f"torch {torch.__version__} on {name}", "copy_bytes_per_second": copy,
                  "copy_bytes_per_second_best": copy, "fma_f32_flops_per_second": fma, "fma_f32_flops_per_second_best": fma}
                 for t in targets]
    return {"type": "header", "format": 1, "version": torch.__version__, "commit": "", "compiler": "",
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), "targets": described}, arch


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", help="a file of trine bench --json")
    parser.add_argument("--json", required=True, help="write the peers' results there")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cuda", "cpu"])
    parser.add_argument("--time", type=float, default=0.05, help="seconds a case and peer (0.05)")
    parser.add_argument("--op", action="append", help="one op or family; may be given several times")
    parser.add_argument("--only", action="append", choices=["eager", "compile", "triton"], help="one peer; may be given several times")
    parser.add_argument("--least", type=float, default=0, help="leave out cases that move fewer bytes")
    parser.add_argument("--part", default="0/1", help="I/N: case I and every Nth after it")
    parser.add_argument("--lock", help="a file: of several runs with the same one, only one uses the device at a time, while the "
                        "others compile")
    options = parser.parse_args()
    part, parts = map(int, options.part.split("/"))
    device_free = Lock(options.lock)
    if options.device == "cuda":
        torch._dynamo.config.cache_size_limit = 1000
    clock = Clock(options.device, options.time)
    with device_free:
        copy, fma = roofline(clock, options.device)
    use = {k: v for k, v in makers(options.device).items() if not options.only or k in options.only}
    top, arch = header(use, copy, fma, options.device)
    seen = set()
    with open(options.results) as source, open(options.json, "w") as out:
        out.write(json.dumps(top) + "\n")
        for line in map(json.loads, source):
            key = (line.get("op"), line.get("case"))
            if line["type"] != "result" or key in seen or line["op"] not in torch_ops.TABLE:
                continue
            if options.op and line["op"] not in options.op and line["family"] not in options.op:
                continue
            seen.add(key)
            if line["bytes"] < options.least or (len(seen) - 1) % parts != part:
                continue
            for name, make in use.items():
                run_case(line, name, make, clock, device_free, copy, arch, options.device, out)


def run_case(line, name, make, clock, device_free, copy, arch, device, out):
    try:
        with device_free:
            case = Case(line, device)
            run = make(line["op"], case)
        if run is None:
            return
        run()  # compiles
        if name == "triton":
            check_triton(case, line["op"], run)
        with device_free:
            times = clock.times(run)
    except Exception as error:  # one case that a peer can't do is no reason to lose the others
        print(f"{name} left out of {line['case']}: {type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}",
              file=sys.stderr)
        return
    rate = line["bytes"] / times["median"]
    out.write(json.dumps({"type": "result", "status": "ok", "backend": f"{name}:0", "arch": arch, "family": line["family"],
                          "op": line["op"], "case": line["case"], "dtype": line["dtype"], "shape": line["shape"],
                          "bytes": line["bytes"], "flops": line["flops"], "variant": name, "winner": True, **times,
                          "gbps": rate * 1e-9, "tflops": line["flops"] / times["median"] * 1e-12, "bound": "memory",
                          "percent_of_roofline": 100 * rate / copy}) + "\n")
    out.flush()


if __name__ == "__main__":
    main()
