/* An oracle's gradients against central differences of its forward, both in f64. */
#ifndef TRINE_TESTS_GRADIENTS_H
#define TRINE_TESTS_GRADIENTS_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* gradient[i] is that of loss(at, user) by at[i], i < n. Ends the program if one is not; the loss is to be of the size of 1. */
static void check_differences(const char *what, double (*loss)(const double *at, const void *user), const void *user, double *at,
                              const double *gradient, int n)
{
    const double h = 0x1p-17;
    for (int i = 0; i < n; i++) {
        const double x = at[i];
        at[i] = x + h;
        const double above = loss(at, user);
        at[i] = x - h;
        const double want = (above - loss(at, user)) / (2 * h);
        at[i] = x;
        if (fabs(gradient[i] - want) <= 1e-8 * (1 + fabs(want))) continue;
        fprintf(stderr, "trine: oracle of %s: gradient %d is %.12g, but differences give %.12g\n", what, i, gradient[i], want);
        exit(3);
    }
}

#endif
