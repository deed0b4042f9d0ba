/* The matmul family's portable kernels. matmul_ladder.h has naive, coalesced and tiled, matmul_register.h and
 * matmul_register_run.h register_tiled, matmul_gemv.h gemv; what they share is in matmul_product.h (what a kernel is given, the
 * epilogue), matmul_tile.h (tiles of an operand) and matmul_split.h (sums over K that are divided among blocks).
 *
 * Each variant is a function matmul_<name>(call, args) for the vendor's table; a vendor's file puts its kernels for matrix units
 * before them. */
#ifndef TRINE_SIMT_MATMUL_H
#define TRINE_SIMT_MATMUL_H

#include "backends/simt/matmul_gemv.h"
#include "backends/simt/matmul_ladder.h"
#include "backends/simt/matmul_register_run.h"

#endif
