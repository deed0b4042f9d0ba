/* Softmax of four numbers on whatever backend TRINE_BACKEND chooses. */
#include <stdio.h>
#include <trine/trine.h>

#define TRY(call) \
    if ((call) != TRINE_OK) return fprintf(stderr, "%s\n", trine_error_text()), 1

int main(void)
{
    float values[4] = {1, 2, 3, 4};
    void *x;
    trine_stream *stream;
    TRY(trine_stream_create(NULL, &stream));
    TRY(trine_malloc(stream, sizeof values, &x));
    TRY(trine_memcpy(stream, x, values, sizeof values, TRINE_HOST_TO_DEVICE));
    trine_tensor t = trine_tensor_1d(x, TRINE_F32, 4);
    TRY(trine_softmax(stream, &(trine_softmax_args){.x = t, .y = t}));
    TRY(trine_memcpy(stream, values, x, sizeof values, TRINE_DEVICE_TO_HOST));
    TRY(trine_stream_synchronize(stream));
    printf("%.4f %.4f %.4f %.4f\n", values[0], values[1], values[2], values[3]);
    TRY(trine_free(stream, x));
    trine_stream_destroy(stream);
    return 0;
}
