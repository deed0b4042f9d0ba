/* What an instruction costs: units and modelled issue cycles. */
#ifndef AMDSIM_COST_H
#define AMDSIM_COST_H

#include "sim.h"

void cost_set(inst *i);

#endif
