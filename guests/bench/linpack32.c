// Linear equations in single precision.
#define REAL float
#include "linpack.h"
