/* photo: reads a PNG, works on it on any backend, and writes what came out:
 *   gray.png      luma, ITU-R BT.601
 *   blur.png      gaussian blur of radius 3
 *   invert.png    the negative; an alpha channel stays
 *   pattern.png   a frame of the colour pattern, as large as the photo
 * The images stay on the device between upload and download; every op is asynchronous there. */
#include <errno.h>
#include <getopt.h>
#include <png.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <trine/trine.h>

typedef struct picture {
    int64_t height, width, channels; /* 1 gray, 3 RGB, 4 RGBA */
    unsigned char *pixels;           /* interleaved rows */
} picture;

static bool fail(const char *what, const char *why)
{
    fprintf(stderr, "photo: %s: %s\n", what, why);
    return false;
}

static bool ok(const char *what, trine_status status) { return status == TRINE_OK || fail(what, trine_error_text()); }

static size_t bytes_of(const picture *p) { return (size_t)p->height * (size_t)p->width * (size_t)p->channels; }

static bool allocate(picture *p, const char *what)
{
    p->pixels = malloc(bytes_of(p));
    return p->pixels || fail(what, "no memory");
}

/* ---- PNG ---- */

/* 8-bit gray, palette, RGB and RGBA; deeper ones are reduced. Gray and palettes become RGB, or RGBA if they are transparent
 * somewhere. */
static bool read_png(const char *path, picture *p)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    *p = (picture){0};
    if (!png_image_begin_read_from_file(&image, path)) return fail(path, image.message);
    bool alpha = image.format & PNG_FORMAT_FLAG_ALPHA;
    image.format = alpha ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB;
    *p = (picture){.height = image.height, .width = image.width, .channels = alpha ? 4 : 3};
    if (allocate(p, path) && png_image_finish_read(&image, NULL, p->pixels, 0, NULL)) return true;
    if (p->pixels) fail(path, image.message);
    png_image_free(&image);
    free(p->pixels);
    p->pixels = NULL;
    return false;
}

static bool write_png(const char *path, const picture *p)
{
    png_image image = {.version = PNG_IMAGE_VERSION, .width = (png_uint_32)p->width, .height = (png_uint_32)p->height};
    image.format = p->channels == 1 ? PNG_FORMAT_GRAY : p->channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_RGBA;
    if (png_image_write_to_file(&image, path, 0, p->pixels, 0, NULL)) return true;
    return fail(path, image.message);
}

/* A disc on two gradients, to try this program with. */
static bool make_test_image(const char *path)
{
    picture p = {.height = 120, .width = 161, .channels = 3};
    if (!allocate(&p, path)) return false;
    for (int64_t y = 0; y < p.height; y++)
        for (int64_t x = 0; x < p.width; x++) {
            unsigned char *pixel = p.pixels + (y * p.width + x) * p.channels;
            bool disc = (x - 80) * (x - 80) + (y - 60) * (y - 60) < 40 * 40;
            pixel[0] = (unsigned char)(x * 255 / p.width);
            pixel[1] = (unsigned char)(y * 255 / p.height);
            pixel[2] = disc ? 240 : 30;
        }
    bool done = write_png(path, &p);
    free(p.pixels);
    return done;
}

/* ---- The device ---- */

static trine_tensor tensor_of(void *data, const picture *p)
{
    if (p->channels == 1) return trine_tensor_2d(data, TRINE_U8, p->height, p->width);
    return trine_tensor_3d(data, TRINE_U8, p->height, p->width, p->channels);
}

typedef trine_status (*step_fn)(trine_stream *stream, trine_tensor x, trine_tensor y, int32_t time);

static trine_status to_gray(trine_stream *stream, trine_tensor x, trine_tensor y, int32_t time)
{
    (void)time;
    return trine_rgb_to_gray(stream,
                             &(trine_rgb_to_gray_args){.x = x, .y = y, .layout = TRINE_IMAGE_HWC, .weights = TRINE_GRAY_BT601});
}

static trine_status blurred(trine_stream *stream, trine_tensor x, trine_tensor y, int32_t time)
{
    (void)time;
    return trine_gaussian_blur(
        stream, &(trine_gaussian_blur_args){.x = x, .y = y, .layout = TRINE_IMAGE_HWC, .radius = 3, .sigma = 1.5f});
}

static trine_status inverted(trine_stream *stream, trine_tensor x, trine_tensor y, int32_t time)
{
    (void)time;
    return trine_invert(stream, &(trine_invert_args){.x = x, .y = y, .keep_alpha = x.shape[2] == 4});
}

static trine_status pattern(trine_stream *stream, trine_tensor x, trine_tensor y, int32_t time)
{
    (void)x;
    return trine_color_pattern(stream, &(trine_color_pattern_args){.y = y, .time = time});
}

static const struct {
    const char *file;
    step_fn run;
    int64_t channels; /* of the result; 0: as many as the photo has */
} steps[] = {{"gray.png", to_gray, 1}, {"blur.png", blurred, 0}, {"invert.png", inverted, 0}, {"pattern.png", pattern, 3}};
enum { STEPS = sizeof steps / sizeof steps[0] };

/* One step: from x on the device to a file. `scratch` has room for any result. */
static bool run_step(trine_stream *stream, int step, trine_tensor x, void *scratch, picture *result, const char *folder,
                     int32_t time)
{
    char path[4096];
    result->channels = steps[step].channels ? steps[step].channels : x.shape[2];
    int length = snprintf(path, sizeof path, "%s/%s", folder, steps[step].file);
    if (length < 0 || (size_t)length >= sizeof path) return fail(folder, "the name is too long");
    return ok(steps[step].file, steps[step].run(stream, x, tensor_of(scratch, result), time)) &&
           ok("download", trine_memcpy(stream, result->pixels, scratch, bytes_of(result), TRINE_DEVICE_TO_HOST)) &&
           ok("synchronize", trine_stream_synchronize(stream)) && write_png(path, result);
}

static bool process(trine_stream *stream, const picture *photo, picture *result, const char *folder, int32_t time)
{
    void *x = NULL, *scratch = NULL;
    bool done = ok("memory", trine_malloc(stream, bytes_of(photo), &x)) &&
                ok("memory", trine_malloc(stream, bytes_of(photo), &scratch)) &&
                ok("upload", trine_memcpy(stream, x, photo->pixels, bytes_of(photo), TRINE_HOST_TO_DEVICE));
    for (int step = 0; step < STEPS && done; step++)
        done = run_step(stream, step, tensor_of(x, photo), scratch, result, folder, time);
    trine_free(stream, scratch);
    trine_free(stream, x);
    return done;
}

static bool run(const char *backend, const char *file, const char *folder, int32_t time)
{
    picture photo, result;
    trine_stream *stream = NULL;
    trine_device_props props;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) return fail(folder, strerror(errno));
    if (!read_png(file, &photo)) return false;
    result = photo;
    bool done = allocate(&result, "result") &&
                ok("stream", trine_stream_create(&(trine_stream_options){.backend = backend}, &stream)) &&
                ok("stream", trine_stream_get_props(stream, &props)) && process(stream, &photo, &result, folder, time);
    if (done)
        printf("%s (%lldx%lld) on %s, %s: %d images in %s\n", file, (long long)photo.width, (long long)photo.height,
               props.backend, props.name, STEPS, folder);
    trine_stream_destroy(stream);
    free(result.pixels);
    free(photo.pixels);
    return done;
}

/* ---- Arguments ---- */

static const char usage[] =
    "usage: photo [options] PHOTO.png FOLDER\n"
    "       photo --make-test-image FILE.png\n"
    "Writes gray.png, blur.png, invert.png and pattern.png into FOLDER.\n"
    "  --backend B            cuda, hip, cpu, auto, name:index or a list (default: the variable TRINE_BACKEND, or auto)\n"
    "  --time T               time of the colour pattern, a whole number (default 40)\n"
    "  --make-test-image F    writes a picture to try this program with\n"
    "  --help\n";

static bool parse_time(const char *text, int32_t *time)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    *time = (int32_t)value;
    return (*text && !*end && !errno && *time == value) || fail(text, "is no time");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"backend", required_argument, NULL, 'b'},
                                            {"time", required_argument, NULL, 't'},
                                            {"make-test-image", required_argument, NULL, 'm'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *backend = NULL, *test_image = NULL;
    int32_t time = 40;
    for (int key; (key = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (key) {
        case 'b': backend = optarg; break;
        case 't':
            if (!parse_time(optarg, &time)) return 2;
            break;
        case 'm': test_image = optarg; break;
        case 'h': fputs(usage, stdout); return 0;
        default: fputs(usage, stderr); return 2;
        }
    }
    if (test_image && optind == argc) return make_test_image(test_image) ? 0 : 1;
    if (test_image || argc - optind != 2) {
        fputs(usage, stderr);
        return 2;
    }
    return run(backend, argv[optind], argv[optind + 1], time) ? 0 : 1;
}
