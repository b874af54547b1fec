// The Mandelbrot set in double precision.
#define REAL double
#include "mandelbrot.h"
