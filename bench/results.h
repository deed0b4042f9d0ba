/* Result files of `trine bench`, read and joined: a column for every target of every file, a row for every case. */
#ifndef TRINE_BENCH_RESULTS_H
#define TRINE_BENCH_RESULTS_H

#include <cjson/cJSON.h>
#include <stdbool.h>

enum { RESULTS_COLUMNS = 16 };

typedef struct results_column {
    char letter[4]; /* "A" */
    const char *file;
    const cJSON *header, *target; /* of the file; of its list of targets */
    bool modelled;                /* a simulator */
} results_column;

typedef struct results_row {
    const char *family, *op, *name;
    const cJSON *cell[RESULTS_COLUMNS]; /* the variant that runs by itself, else the fastest; NULL: no result */
} results_row;

typedef struct results {
    cJSON **lines; /* all of them, owned */
    int line_count;
    results_column column[RESULTS_COLUMNS];
    int columns;
    results_row *row;
    int rows;
} results;

/* Adds a file. False with a message on stderr if it can't be read or is none of ours. */
bool results_read(results *r, const char *path);
void results_free(results *r);

/* A member of an object: 0 and "" where there is none (null counts as none). */
double results_number(const cJSON *object, const char *name);
const char *results_text(const cJSON *object, const char *name);

/* What the simulator modelled is no measurement: such cells have no times but an object of the simulator's counts. */
bool results_modelled(const cJSON *cell);
/* The median, or the modelled seconds. */
double results_seconds(const cJSON *cell);

/* Speed of column i relative to column 0 in that row; 0 where either has no result, or one was measured and the other modelled.
 */
double results_speed(const results_row *row, int i);
/* Geometric mean of it over the rows of a family (NULL: all), and how many rows that are. */
double results_geomean(const results *r, const char *family, int i, int *rows);

/* Walks through the rows family by family, in the order of appearance; calls fn for each row, first set on a family's first. */
typedef void (*results_fn)(const results *r, const results_row *row, bool first, bool last, void *user);
void results_each(const results *r, results_fn fn, void *user);

#endif
