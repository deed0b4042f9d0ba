/* A case's tensors in a device's memory: laid out as the case says, surrounded by canaries, outputs poisoned. */
#ifndef TRINE_TESTS_PLACE_H
#define TRINE_TESTS_PLACE_H

#include "tests/cases/cases.h"

typedef struct placed_tensor {
    trine_tensor view;    /* data is a device pointer */
    unsigned char *image; /* what was written to the device, guards included: inputs and canaries once for all runs */
    unsigned char *back;  /* what came back */
    size_t bytes, begin;  /* of the image; where element 0 is */
    void *device;
    bool borrowed;        /* in place: memory of another tensor */
    bool written;         /* an output, or in place by one */
    bool made;            /* the image */
    unsigned char poison; /* of an output's elements in it */
} placed_tensor;

typedef struct placement {
    trine_stream *stream;
    const test_case *c;
    placed_tensor *tensor; /* one for each of the case */
    unsigned char *args;   /* the op's struct, and behind it the tensors of its lists */
    size_t args_bytes;
} placement;

/* Shape and strides of a layout, data NULL; *offset is where element 0 lies, in elements. */
trine_tensor place_view(const case_tensor *t, int64_t *offset);
/* The case's arguments with its tensors' views, data NULL (for queries: such pointers count as aligned and disjoint). To be freed;
 * ends the program when there is no memory. */
void *place_shape_args(const test_case *c, size_t *bytes);
/* Where tensor k of the case is in arguments of its op. */
trine_tensor *place_tensor_of(const test_case *c, void *args, int32_t k);
/* What of a placement is of no device: views, and the host's memory. */
trine_status place_prepare(placement *p, const test_case *c);
/* Allocates on the stream's device and fills placement->args; for as many devices, one after the other, as there are. */
trine_status place_attach(placement *p, trine_stream *stream);
void place_detach(placement *p);
/* Both. */
trine_status place_create(placement *p, trine_stream *stream, const test_case *c);
/* Everything; poison fills outputs' elements. The case's data must not change from the first time on. */
trine_status place_upload(placement *p, unsigned char poison);
/* Waits, and brings everything back. */
trine_status place_download(placement *p);
/* The same of those tensors that a run writes: for another one, after all else was found undamaged. */
trine_status place_upload_outputs(placement *p, unsigned char poison);
trine_status place_download_outputs(placement *p);
/* Elements of tensor k as they came back, dense and row-major. */
void place_gather(const placement *p, int32_t k, void *dense);
/* NULL if all that should not have been written is as it was; else a text saying what was. What came back is lost. */
const char *place_damage(placement *p, char text[160]);
void place_destroy(placement *p);

#endif
