// Linear equations in double precision.
#define REAL double
#include "linpack.h"
