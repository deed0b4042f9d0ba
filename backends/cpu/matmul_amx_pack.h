/* Packing for amx: panels of a are blocks of 32 rows by 32 terms, in the order in which tiles are loaded; panels of b are those of
 * register_tiled (matmul_pack.h). What lacks of a last panel or of the last 32 terms is 0 on both sides. Bound by bytes. */
#ifndef TRINE_CPU_MATMUL_AMX_PACK_H
#define TRINE_CPU_MATMUL_AMX_PACK_H

#include "backends/cpu/matmul_amx_kernel.h"
#include "backends/cpu/matmul_register.h"

#if defined __AVX512F__

/* Pairs of terms that are packed at once: 32 KiB of a panel. */
enum { AMX_PART = 256 };

/* Terms lie densely, or are gathered along k: some pairs of a row, in pieces of 64 bytes; the least of them. */
static inline void pack_row(float *panel, const pack_source *s, int64_t row, vec_halves *least)
{
    enum { PIECE = 64 / (int)sizeof(float) };
    _Alignas(64) float buffer[AMX_PART];
    const char *line = line_in_place(s, row);
    if (!line) line = (const char *)source_line(buffer, s, row, 0, s->terms, true);
    const int64_t whole = s->terms / PIECE, rest = s->terms % PIECE;
    vec_halves piece, all = *least;
    for (int64_t i = 0; i < whole; i++, panel += AMX_BLOCK, line += 64) {
        memcpy(&piece, line, sizeof piece);
        all = less_halves(all, piece);
        memcpy(panel, &piece, sizeof piece);
    }
    if (rest > 0) {
        piece = (vec_halves){0};
        memcpy(&piece, line, (size_t)rest * sizeof *panel);
        all = less_halves(all, piece);
        memcpy(panel, &piece, sizeof piece);
    }
    *least = all;
}

/* 16 pairs, or the `left` last ones, of 32 rows: lines of the rows' pairs. */
static inline void pair_lines(float (*lines)[AMX_ROWS], const pack_source *s, int64_t row, int64_t rows, int64_t k, int64_t left)
{
    SPAN_BUFFER(buffer);
    const bool joins = !s->gather && s->row == 1;
    if (rows < AMX_ROWS || left < AMX_PAIRS) memset(lines, 0, AMX_BLOCK * sizeof **lines);
    for (int64_t i = 0; i < smaller(AMX_PAIRS, left); i++) {
        if (joins && (i + 1 < left || !s->odd)) {
            const uint16_t *one = (const uint16_t *)s->data + s->first + row + 2 * (k + i) * s->k;
            join_lines(lines[i], one, one + s->k, rows);
        } else {
            memcpy(lines[i], source_line(buffer, s, row, k + i, rows, false), (size_t)rows * sizeof **lines);
        }
    }
}

/* Rows lie densely, or nothing does: pairs of 32 rows are turned. */
static inline void pack_rows_turned(float *panel, const pack_source *s, int64_t first_row, int64_t rows)
{
    _Alignas(64) float lines[AMX_PAIRS][AMX_ROWS];
    for (int64_t k = 0; k < s->terms; k += AMX_PAIRS, panel += AMX_BLOCK) {
        const void *line[AMX_PAIRS];
        pair_lines(lines, s, first_row, rows, k, s->terms - k);
        for (int half = 0; half < 2; half++) {
            for (int i = 0; i < AMX_PAIRS; i++) line[i] = lines[i] + half * AMX_TILE;
            turn_square(panel + half * AMX_BLOCK / 2, AMX_PAIRS, AMX_PAIRS, line, 0, 0);
        }
    }
}

/* This member's part of a's panels, `apart` from each other. */
static void pack_tile_rows(const cpu_team *team, float *panels, int64_t apart, float *subnormal, const pack_source *s)
{
    const cpu_range mine = team_range(team, blocks_of(s->rows, AMX_ROWS), 1);
    for (int64_t i = mine.begin; i < mine.end; i++) {
        float *panel = panels + i * apart;
        const int64_t first = i * AMX_ROWS, rows = smaller(AMX_ROWS, s->rows - first),
                      size = blocks_of(s->terms, AMX_PAIRS) * AMX_BLOCK;
        vec_halves least = (vec_halves){0} - 1;
        for (int64_t r = 0; s->k == 1 && r < rows; r++) pack_row(panel + r * AMX_PAIRS, s, first + r, &least);
        for (int64_t k = 0; s->k == 1 && rows < AMX_ROWS && k < size; k += AMX_BLOCK)
            memset(panel + k + rows * AMX_PAIRS, 0, (size_t)((AMX_ROWS - rows) * AMX_PAIRS) * sizeof *panel);
        if (s->k != 1) pack_rows_turned(panel, s, first, rows);
        subnormal[i] = s->k == 1 ? is_least_subnormal(least) : any_subnormal(panel, size);
    }
}

/* b's: the last pairs are filled up with zeros. */
static void pack_tile_columns(const cpu_team *team, float *panels, int64_t apart, float *subnormal, pack_source *s)
{
    const int64_t size = s->terms * AMX_ROWS, filled = blocks_of(s->terms, AMX_PAIRS) * AMX_BLOCK,
                  count = blocks_of(s->rows, AMX_ROWS);
    s->panel = apart;
    pack_b(team, panels, subnormal, s);
    const cpu_range mine = team_range(team, count, 1);
    for (int64_t i = mine.begin; filled > size && i < mine.end; i++)
        memset(panels + i * apart + size, 0, (size_t)(filled - size) * sizeof *panels);
}

#endif

#endif
