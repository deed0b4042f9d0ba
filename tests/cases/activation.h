/* The activations in f64, for the oracles of families that contain them, and the errors that their f32 forms may have. */
#ifndef TRINE_TESTS_CASES_ACTIVATION_H
#define TRINE_TESTS_CASES_ACTIVATION_H

#include "tests/cases/cases.h"

double case_activation(trine_activation_kind kind, double alpha, double x);
/* At kinks as trine/activation.h says; compared with differences of the function by case_check_slopes, which exits on an error.
 */
double case_activation_slope(trine_activation_kind kind, double alpha, double x);
void case_check_slopes(void);

/* |error| <= rtol |f| + atol of the function, or of its slope, computed in f32 for a result of `dtype`. */
typedef struct activation_error {
    double rtol, atol;
} activation_error;
activation_error case_activation_error(trine_activation_kind kind, trine_dtype dtype, bool slope);
/* Rough operations an element. */
double case_activation_work(trine_activation_kind kind);

#endif
