// Bodies under gravity in single precision.
#define REAL float
#define SQRT sqrtf
#include "nbody.h"
