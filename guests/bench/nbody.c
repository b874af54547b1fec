// Bodies under gravity in double precision.
#define REAL double
#define SQRT sqrt
#include "nbody.h"
