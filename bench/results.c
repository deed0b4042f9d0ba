#include "bench/results.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

double results_number(const cJSON *object, const char *name)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(member) ? member->valuedouble : 0;
}

const char *results_text(const cJSON *object, const char *name)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(member) ? member->valuestring : "";
}

static const cJSON *modelled_of(const cJSON *cell) { return cJSON_GetObjectItemCaseSensitive(cell, "modelled"); }

bool results_modelled(const cJSON *cell) { return cJSON_IsObject(modelled_of(cell)); }

double results_seconds(const cJSON *cell)
{
    return results_modelled(cell) ? results_number(modelled_of(cell), "seconds") : results_number(cell, "median");
}

static bool is(const cJSON *object, const char *name, const char *value)
{
    return strcmp(results_text(object, name), value) == 0;
}

static void *grow(void *array, int count, size_t size)
{
    void *larger = realloc(array, (size_t)(count + 1) * size);
    if (larger) return larger;
    fprintf(stderr, "trine compare: no memory\n");
    exit(3);
}

/* ---- Reading ---- */

static bool complain(const char *path, int line, const char *what)
{
    fprintf(stderr, "trine compare: %s, line %d: %s\n", path, line, what);
    return false;
}

static bool add_header(results *r, const char *path, const cJSON *header)
{
    const cJSON *target;
    if (!is(header, "type", "header") || results_number(header, "format") != 1)
        return complain(path, 1, "not the header of a result file of `trine bench` (format 1)");
    cJSON_ArrayForEach(target, cJSON_GetObjectItemCaseSensitive(header, "targets"))
    {
        if (r->columns == RESULTS_COLUMNS) return complain(path, 1, "too many targets to compare");
        results_column *c = &r->column[r->columns];
        snprintf(c->letter, sizeof c->letter, "%c", 'A' + r->columns++);
        c->file = path;
        c->header = header;
        c->target = target;
        c->modelled = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(target, "modelled"));
    }
    return true;
}

static results_row *find_row(results *r, const cJSON *line)
{
    const char *op = results_text(line, "op"), *name = results_text(line, "case");
    for (int i = 0; i < r->rows; i++)
        if (strcmp(r->row[i].op, op) == 0 && strcmp(r->row[i].name, name) == 0) return &r->row[i];
    r->row = grow(r->row, r->rows, sizeof *r->row);
    r->row[r->rows] = (results_row){.family = results_text(line, "family"), .op = op, .name = name};
    return &r->row[r->rows++];
}

static bool is_winner(const cJSON *line) { return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(line, "winner")); }

static bool add_result(results *r, const char *path, int number, const cJSON *line, int first_column)
{
    if (!is(line, "type", "result")) return complain(path, number, "neither a header nor a result");
    if (!is(line, "status", "ok")) return true;
    if (!results_text(line, "op")[0] || !results_text(line, "case")[0] || results_seconds(line) <= 0)
        return complain(path, number, "a result without op, case or time");
    for (int i = first_column; i < r->columns; i++) {
        const cJSON *target = r->column[i].target;
        if (!is(target, "backend", results_text(line, "backend")) || !is(target, "arch", results_text(line, "arch"))) continue;
        const cJSON **cell = &find_row(r, line)->cell[i];
        bool faster = !*cell || results_seconds(line) < results_seconds(*cell);
        if (is_winner(line) || (faster && !(*cell && is_winner(*cell)))) *cell = line;
        return true;
    }
    return complain(path, number, "a result of a target that the header does not list");
}

static bool read_lines(results *r, const char *path, FILE *file)
{
    char *text = NULL;
    size_t room = 0;
    int number = 0, first_column = r->columns;
    bool right = true;
    while (right && getline(&text, &room, file) > 0) {
        number++;
        if (text[strspn(text, " \t\r\n")] == '\0') continue;
        cJSON *line = cJSON_Parse(text);
        if (!line) {
            right = complain(path, number, "not a JSON object");
            continue;
        }
        r->lines = grow(r->lines, r->line_count, sizeof *r->lines);
        r->lines[r->line_count++] = line;
        right = r->columns == first_column ? add_header(r, path, line) : add_result(r, path, number, line, first_column);
    }
    free(text);
    if (right && ferror(file)) right = complain(path, number + 1, strerror(errno));
    if (right && r->columns == first_column) right = complain(path, 1, "no target in it");
    return right;
}

bool results_read(results *r, const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file) {
        fprintf(stderr, "trine compare: %s: %s\n", path, strerror(errno));
        return false;
    }
    bool right = read_lines(r, path, file);
    fclose(file);
    return right;
}

void results_free(results *r)
{
    for (int i = 0; i < r->line_count; i++) cJSON_Delete(r->lines[i]);
    free(r->lines);
    free(r->row);
    *r = (results){0};
}

/* ---- Comparing ---- */

double results_speed(const results_row *row, int i)
{
    const cJSON *first = row->cell[0], *cell = row->cell[i];
    if (!first || !cell || results_modelled(first) != results_modelled(cell)) return 0;
    return results_seconds(first) / results_seconds(cell);
}

double results_geomean(const results *r, const char *family, int i, int *rows)
{
    double sum = 0;
    *rows = 0;
    for (int k = 0; k < r->rows; k++) {
        double speed = results_speed(&r->row[k], i);
        if (speed <= 0 || (family && strcmp(family, r->row[k].family) != 0)) continue;
        sum += log(speed);
        ++*rows;
    }
    return *rows ? exp(sum / *rows) : 0;
}

void results_each(const results *r, results_fn fn, void *user)
{
    for (int i = 0; i < r->rows; i++) {
        bool seen = false, first = true;
        int last = i;
        for (int k = 0; k < r->rows; k++) {
            if (strcmp(r->row[k].family, r->row[i].family) != 0) continue;
            seen = seen || k < i;
            last = k;
        }
        for (int k = i; k <= last && !seen; k++) {
            if (strcmp(r->row[k].family, r->row[i].family) != 0) continue;
            fn(r, &r->row[k], first, k == last, user);
            first = false;
        }
    }
}
