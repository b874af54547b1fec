// The Mandelbrot set in single precision.
#define REAL float
#include "mandelbrot.h"
