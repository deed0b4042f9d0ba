/* What the simulated AMD GPU counts of a run. It takes the place of AMD's run time, so that the tool finds its
 * counters in the library that the plugin has loaded, if it is the simulator; AMD's own has none. */
#include <dlfcn.h>
#include <stdlib.h>

#include "bench/bench.h"
#include "bench/format.h"
#include "tests/amdsim/amdsim.h"

/* In the order of amdsim.h. */
static const char *const parts[AMDSIM_PARTS] = {"vector", "matrix", "lds", "memory", "scalar"};

typedef int counters_fn(amdsim_kernel *kernels, int room);

_Static_assert((int)MODELLED_PARTS == (int)AMDSIM_PARTS, "bench.h has its own number");

typedef double bandwidth_fn(void);

static void *find(const target *t, const char *name)
{
    static const char library[] = "libamdhip64.so.5"; /* what the simulator calls itself */
    if (strcmp(t->props.backend, "hip") != 0) return NULL;
    void *loaded = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
    return loaded ? dlsym(loaded, name) : NULL;
}

static counters_fn *find_counters(const target *t) { return (counters_fn *)find(t, "amdsim_counters"); }

bool bench_is_modelled(const target *t) { return find_counters(t) != NULL; }

/* ---- A run ---- */

typedef struct snapshot {
    amdsim_kernel *kernels;
    int count;
} snapshot;

static bool take(snapshot *s, counters_fn *counters)
{
    int room = counters(NULL, 0);
    s->kernels = calloc((size_t)room + 1, sizeof *s->kernels);
    s->count = s->kernels ? counters(s->kernels, room) : 0;
    return s->kernels != NULL;
}

static void of_kernel(bench_modelled *m, const amdsim_kernel *k)
{
    snprintf(m->kernel, sizeof m->kernel, "%s", k->name);
    m->vgprs = k->vgprs;
    m->agprs = k->agprs;
    m->sgprs = k->sgprs;
    m->lds_bytes = k->lds;
    m->scratch_bytes = k->scratch;
    m->waves_per_simd = k->waves_per_simd;
    m->vgpr_spills = k->vgpr_spills;
    m->sgpr_spills = k->sgpr_spills;
}

static void add_kernel(bench_modelled *m, const amdsim_kernel *k, const amdsim_counts *before, double *longest)
{
    const amdsim_counts *c = &k->counts;
    double seconds = c->seconds - before->seconds;
    if (c->launches == before->launches) return;
    m->kernels++;
    m->launches += c->launches - before->launches;
    m->seconds += seconds;
    m->bytes_read += (double)(c->bytes_read - before->bytes_read);
    m->bytes_written += (double)(c->bytes_written - before->bytes_written);
    m->scratch_traffic += (double)(c->scratch_bytes - before->scratch_bytes);
    m->lds_traffic += (double)(c->lds_bytes - before->lds_bytes);
    m->lds_conflict_cycles += (double)(c->lds_conflicts - before->lds_conflicts);
    for (int u = 0; u < AMDSIM_UNITS; u++) m->instructions += (double)(c->instructions[u] - before->instructions[u]);
    for (int p = 0; p < AMDSIM_PARTS; p++) m->cycles[p] += (double)(c->part_cycles[p] - before->part_cycles[p]);
    if (seconds <= *longest) return;
    *longest = seconds;
    of_kernel(m, k);
}

void bench_model(bench_entry *e, const target *t, const test_case *c)
{
    static const amdsim_counts none;
    counters_fn *counters = find_counters(t);
    snapshot before = {NULL, 0}, after = {NULL, 0};
    double longest = 0;
    e->modelled = (bench_modelled){.kernels = 0};
    e->status = take(&before, counters) ? e->run(e->state, e->stream) : TRINE_ERROR_OUT_OF_MEMORY;
    if (e->status == TRINE_OK) e->status = trine_stream_synchronize(e->stream);
    if (e->status == TRINE_OK && !take(&after, counters)) e->status = TRINE_ERROR_OUT_OF_MEMORY;
    for (int k = 0; k < after.count; k++) /* a kernel keeps its place */
        add_kernel(&e->modelled, &after.kernels[k], k < before.count ? &before.kernels[k].counts : &none, &longest);
    free(before.kernels);
    free(after.kernels);
    bandwidth_fn *bandwidth = (bandwidth_fn *)find(t, "amdsim_memory_bytes_per_clock");
    if (bandwidth) e->modelled.memory_cycles = c->bytes / bandwidth();
}

/* ---- Results ---- */

static double busiest(const bench_modelled *m)
{
    double most = 1;
    for (int p = 0; p < AMDSIM_PARTS; p++)
        if (m->cycles[p] > most) most = m->cycles[p];
    return most;
}

/* Of the time of the busiest part of the compute units, that in which a part is busy. */
static double share(const bench_modelled *m, int part) { return m->cycles[part] / busiest(m); }

/* Of the card's memory bandwidth, what issuing the instructions leaves at most. */
static double bandwidth_left(const bench_modelled *m)
{
    return m->memory_cycles < busiest(m) ? m->memory_cycles / busiest(m) : 1;
}

cJSON *bench_modelled_object(const bench_modelled *m)
{
    cJSON *o = cJSON_CreateObject(), *shares = cJSON_CreateObject();
    const struct {
        const char *name;
        double value;
    } numbers[] = {{"kernels", m->kernels},
                   {"launches", (double)m->launches},
                   {"seconds", m->seconds},
                   {"wave_instructions", m->instructions},
                   {"bytes_read", m->bytes_read},
                   {"bytes_written", m->bytes_written},
                   {"scratch_traffic", m->scratch_traffic},
                   {"lds_traffic", m->lds_traffic},
                   {"lds_conflict_cycles", m->lds_conflict_cycles},
                   {"bandwidth_at_most", bandwidth_left(m)},
                   {"vgprs", m->vgprs},
                   {"agprs", m->agprs},
                   {"sgprs", m->sgprs},
                   {"lds_bytes", m->lds_bytes},
                   {"scratch_bytes", m->scratch_bytes},
                   {"waves_per_simd", m->waves_per_simd},
                   {"vgpr_spills", m->vgpr_spills},
                   {"sgpr_spills", m->sgpr_spills}};
    cJSON_AddStringToObject(o, "kernel", m->kernel);
    for (size_t n = 0; n < sizeof numbers / sizeof numbers[0]; n++) cJSON_AddNumberToObject(o, numbers[n].name, numbers[n].value);
    for (int p = 0; p < AMDSIM_PARTS; p++) cJSON_AddNumberToObject(shares, parts[p], share(m, p));
    cJSON_AddItemToObject(o, "shares", shares);
    return o;
}

void bench_modelled_heading(void)
{
    printf(
        "modelled by the simulator in tests/amdsim, not measured. Columns: seconds; how busy units are beside the busiest; the\n"
        "part of the card's memory bandwidth that issuing leaves at most; registers, LDS, waves a SIMD and spills of the kernel\n"
        "that takes longest; bytes that lanes ask for, beside those that the op has to move\n");
    printf("%-48s %-14s %9s %6s %6s %5s %6s %6s %6s  %-9s %4s %6s %5s %6s %6s\n", "case", "variant", "modelled", "vector",
           "matrix", "lds", "memory", "scalar", "of bw", "vgpr+agpr", "sgpr", "lds", "waves", "spills", "bytes");
}

void bench_modelled_row(const test_case *c, const bench_entry *e)
{
    const bench_modelled *m = &e->modelled;
    char time[FORMAT_TEXT], registers[FORMAT_TEXT];
    snprintf(registers, sizeof registers, "%u+%u", m->vgprs - m->agprs, m->agprs);
    printf("%-48s %-14s %9s", c->name, e->name[0] ? e->name : "-", format_time(m->seconds, time));
    for (int p = 0; p < AMDSIM_PARTS; p++) printf(" %*.0f%%", p == 2 ? 4 : 5, 100 * share(m, p));
    printf(" %5.0f%%  %-9s %4u %6u %5u %6u %6.2f\n", 100 * bandwidth_left(m), registers, m->sgprs, m->lds_bytes,
           m->waves_per_simd, m->vgpr_spills + m->sgpr_spills, c->bytes > 0 ? (m->bytes_read + m->bytes_written) / c->bytes : 0);
}
