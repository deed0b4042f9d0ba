/* Philox: the oracle against the known answers of the authors' Random123 library, and the library's generator against the first
 * of them. Prints failures, and a count as its last line. */
#include "tests/cases/philox.h"
#include "tests/unit/expect.h"
#include "trine/trine.h"

typedef struct known_answer {
    uint32_t counter[4], key[2], words[4];
} known_answer;

/* kat_vectors of Random123 1.09, philox4x32 10 */
static const known_answer answers[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

static void test_oracle(void)
{
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        uint32_t words[4];
        philox_4x32_10(answers[i].counter, answers[i].key, words);
        for (int k = 0; k < 4; k++) CHECK(words[k] == answers[i].words[k], "answer %d, word %d: %08x", (int)i, k, words[k]);
    }
}

/* uniform shows the upper 24 bits of every word. Of the known answers only the first has an upper counter of 0, as all of Trine's
 * have. */
static void test_library(void)
{
    enum { N = 1021 };
    static float y[N];
    static const struct {
        uint64_t seed, offset;
    } starts[] = {{0, 0}, {0x123456789abcdef0u, 0xffffff80u}, {~(uint64_t)0, ~(uint64_t)0 - 100}};
    trine_stream *stream;
    CHECK(trine_stream_create(&(trine_stream_options){.backend = "cpu"}, &stream) == TRINE_OK, "no stream: %s",
          trine_error_text());
    for (size_t s = 0; s < sizeof starts / sizeof starts[0] && stream; s++) {
        trine_uniform_args args = {
            .y = trine_tensor_1d(y, TRINE_F32, N), .low = 0, .high = 1, .seed = starts[s].seed, .offset = starts[s].offset};
        EXPECT(trine_uniform(stream, &args) == TRINE_OK);
        for (int i = 0; i < N; i++)
            CHECK(y[i] == (float)(philox_word(starts[s].seed, starts[s].offset, (uint64_t)i) >> 8) * 0x1p-24f,
                  "start %d, element %d: %a", (int)s, i, (double)y[i]);
        for (int i = 0; s == 0 && i < 4; i++) EXPECT(y[i] == (float)(answers[0].words[i] >> 8) * 0x1p-24f);
    }
    trine_stream_destroy(stream);
}

int main(void)
{
    test_oracle();
    test_library();
    return finish();
}
